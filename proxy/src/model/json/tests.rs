use super::*;

mod random;

/// Members named `ignored` are ignored, strings in `text` are passed in pieces, all else is passed as short values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TestPosition {
    Root,
    Short,
    Text,
    Ignored,
}

impl JsonPosition for TestPosition {
    const ROOT: Self = TestPosition::Root;
    const IGNORED: Self = TestPosition::Ignored;

    fn interest(self) -> Interest {
        match self {
            TestPosition::Root | TestPosition::Short => Interest::Short,
            TestPosition::Text => Interest::Text,
            TestPosition::Ignored => Interest::Nothing,
        }
    }
}

/// Logs the calls of the parser; the pieces of one string are joined.
#[derive(Debug, Default, PartialEq, Eq)]
struct Log {
    lines: Vec<String>,
    text: Vec<u8>,
}

impl Log {
    fn line(&mut self, line: String) {
        if !self.text.is_empty() {
            let text = String::from_utf8_lossy(&self.text).into_owned();
            self.lines.push(format!("text {text}"));
            self.text.clear();
        }
        self.lines.push(line);
    }
}

impl Visitor for Log {
    type Position = TestPosition;

    fn member(&mut self, _of: TestPosition, name: &[u8]) -> TestPosition {
        self.line(format!("name {}", String::from_utf8_lossy(name)));
        match name {
            b"ignored" => TestPosition::Ignored,
            b"text" => TestPosition::Text,
            _ => TestPosition::Short,
        }
    }

    fn element(&mut self, of: TestPosition) -> TestPosition {
        of
    }

    fn open(&mut self, _at: TestPosition, container: Container) {
        self.line(format!("open {container:?}"));
    }

    fn close(&mut self, _at: TestPosition, container: Container) {
        self.line(format!("close {container:?}"));
    }

    fn value(&mut self, _at: TestPosition, value: JsonValue<'_>) {
        let line = match value {
            JsonValue::Number(text) => format!("number {}", String::from_utf8_lossy(text)),
            JsonValue::String(text) => format!("string {}", String::from_utf8_lossy(text)),
            JsonValue::Word(text) => format!("word {}", String::from_utf8_lossy(text)),
            other => format!("{other:?}"),
        };
        self.line(line);
    }

    fn text(&mut self, _at: TestPosition, piece: &[u8]) {
        assert!(!piece.is_empty());
        self.text.extend_from_slice(piece);
    }

    fn end(&mut self, end: DocumentEnd) {
        self.line(format!("end {end:?}"));
    }
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut log = Log::default();
    let mut scanner = JsonScanner::new();
    for piece in pieces {
        scanner.feed(piece, &mut log);
        assert!(scanner.held_bytes() < 1024);
    }
    scanner.end(&mut log);
    log.line(String::new());
    log.lines.pop();
    log.lines
}

/// Reads a text at once, byte by byte, and split at every byte.
fn read_split_anywhere(text: &[u8]) -> Vec<String> {
    let whole = read([text]);
    let shown = String::from_utf8_lossy(text).into_owned();
    assert_eq!(read(text.chunks(1)), whole, "{shown} byte by byte");
    for at in 0..=text.len() {
        let (first, second) = text.split_at(at);
        assert_eq!(read([first, b"", second]), whole, "{shown} cut at {at}");
    }
    whole
}

/// The log of an object, without the object itself.
fn members(text: &str) -> String {
    let lines = read_split_anywhere(text.as_bytes());
    let inside = lines.strip_prefix(&["open Object".to_owned()]);
    let inside = inside
        .and_then(|rest| rest.strip_suffix(&["close Object".to_owned(), "end Closed".to_owned()]));
    inside.unwrap_or(&lines).join(", ")
}

#[test]
fn values_are_passed_with_their_names() {
    for (text, expected) in [
        ("{}", ""),
        (r#"{"a":1}"#, "name a, number 1"),
        (
            " { \"a\" :\r\n\t-1.50e+3 , \"b\": null }",
            "name a, number -1.50e+3, name b, Null",
        ),
        (
            r#"{"a":[true,false,[],{}]}"#,
            "name a, open Array, True, False, open Array, close Array, open Object, close Object, close Array",
        ),
        (r#"{"a":"","b":"é"}"#, "name a, string , name b, string é"),
        (
            r#"{"a":"\"\\\/\b\f\n\r\t\u0041\u00e9\u4f60"}"#,
            "name a, string \"\\/\u{8}\u{c}\n\r\tAé你",
        ),
        (r#"{"a":"x\ud83d\ude00y"}"#, "name a, string x😀y"),
        // Lone surrogates.
        (
            r#"{"a":"\ud83dx\ude00\ud83d\ud83d\ude00\ud83d\n\ud83d"}"#,
            "name a, string \u{fffd}x\u{fffd}\u{fffd}😀\u{fffd}\n\u{fffd}",
        ),
        (r#"{"\u0061\"":0}"#, "name a\", number 0"),
        (
            r#"{"text":"a\nb","c":1}"#,
            "name text, text a\nb, name c, number 1",
        ),
        (r#"{"text":"","c":1}"#, "name text, name c, number 1"),
        (
            r#"{"text":["a",7,null]}"#,
            "name text, open Array, text a, number 7, Null, close Array",
        ),
        (
            r#"{"ignored":{"a":["}","\"}\\",{"b":[1,{}]}]},"c":1}"#,
            "name ignored, name c, number 1",
        ),
        (
            r#"{"ignored":[[1,2],"]",[{"a":"\\"}]],"ignored":"x\"","ignored":-2,"c":1}"#,
            "name ignored, name ignored, name ignored, name c, number 1",
        ),
    ] {
        assert_eq!(members(text), expected, "{text}");
    }
}

#[test]
fn documents_follow_each_other() {
    for (text, expected) in [
        ("", ""),
        (" \n ", ""),
        ("\u{feff}{}", "open Object, close Object, end Closed"),
        ("1", "number 1, end Closed"),
        ("1 \"a\"", "number 1, end Closed, string a, end Closed"),
        (
            "{}\n{}{}\r\n[]\n",
            "open Object, close Object, end Closed, open Object, close Object, end Closed, \
             open Object, close Object, end Closed, open Array, close Array, end Closed",
        ),
        // An array of documents is one document.
        (
            "[{}\n,\r\n{}]",
            "open Array, open Object, close Object, open Object, close Object, close Array, end Closed",
        ),
        ("{\"a\":", "open Object, name a, end Truncated"),
        ("{\"a\":12", "open Object, name a, end Truncated"),
        ("{\"a\":\"x", "open Object, name a, end Truncated"),
        (
            "{\"ignored\":{\"x\"",
            "open Object, name ignored, end Truncated",
        ),
    ] {
        assert_eq!(
            read_split_anywhere(text.as_bytes()).join(", "),
            expected,
            "{text}"
        );
    }
}

#[test]
fn invalid_json_loses_as_little_as_possible() {
    for (text, expected) in [
        (
            "{\"a\":,\"b\":1}",
            "open Object, name a, name b, number 1, close Object, end Flawed",
        ),
        (
            "{\"b\":1,}",
            "open Object, name b, number 1, close Object, end Flawed",
        ),
        (
            "[1,,2,]",
            "open Array, number 1, number 2, close Array, end Flawed",
        ),
        ("[,]", "open Array, close Array, end Flawed"),
        (
            "[NaN,-Infinity,01,1.,.5,1e,+1,-,tru,1]",
            "open Array, word NaN, word -Infinity, word 01, word 1., word .5, word 1e, word +1, \
             word -, word tru, number 1, close Array, end Flawed",
        ),
        ("[DONE]", "open Array, word DONE, close Array, end Flawed"),
        (
            "{\"ignored\":NaN,\"b\":1}",
            "open Object, name ignored, name b, number 1, close Object, end Flawed",
        ),
        (
            r#"["\x","\u00zz"]"#,
            "open Array, string x, string zz, close Array, end Flawed",
        ),
        // The parser resumes at the next line.
        (
            "{\"a\":1]}{}\n{}",
            "open Object, name a, number 1, end Malformed, open Object, close Object, end Closed",
        ),
        ("{\"a\" 1}", "open Object, name a, end Malformed"),
        ("{1:2}", "open Object, end Malformed"),
        (
            "{\"a\":1 \"b\":2}",
            "open Object, name a, number 1, end Malformed",
        ),
        ("[1}", "open Array, number 1, end Malformed"),
        ("[}", "open Array, end Malformed"),
        ("<html>\n</html>", "end Malformed, end Malformed"),
        ("}", "end Malformed"),
        (",", "end Malformed"),
        ("data: x", "word data, end Flawed, end Malformed"),
        ("{\"a\":\u{1}}", "open Object, name a, end Malformed"),
    ] {
        assert_eq!(
            read_split_anywhere(text.as_bytes()).join(", "),
            expected,
            "{text}"
        );
    }
}

#[test]
fn long_names_numbers_and_strings_are_truncated() {
    let long = "é".repeat(5_000);
    let number = "1".repeat(300);
    let text =
        format!(r#"{{"{long}":1,"a":"{long}","b":"\n{long}","c":{number},"text":"{long}"}}"#);
    for size in [1, 7, 256, 257, 1_000, text.len()] {
        let lines = read(text.as_bytes().chunks(size));
        let [_, a, string, b, escaped, c, word, name, pieces, _, end] = &lines[..] else {
            panic!("{lines:?}");
        };
        assert_eq!((&**a, &**b, &**c), ("name a", "name b", "name c"));
        assert_eq!(string.len(), "string ".len() + SHORT_BYTES_MAX);
        assert_eq!(*escaped, format!("string \n{}\u{fffd}", "é".repeat(127)));
        assert_eq!(word.len(), "word ".len() + SHORT_BYTES_MAX);
        assert_eq!(
            (&**name, pieces.len()),
            ("name text", "text ".len() + long.len())
        );
        assert_eq!(end, "end Flawed");
    }
}

#[test]
fn deeply_nested_values_are_skipped() {
    for depth in [DEPTH_MAX, DEPTH_MAX + 1, 100_000] {
        let text = format!("{}7{}", "[".repeat(depth), "]".repeat(depth));
        let lines = read([text.as_bytes()]);
        assert_eq!(lines.contains(&"number 7".to_owned()), depth == DEPTH_MAX);
        assert_eq!(lines.last().map(String::as_str), Some("end Closed"));
    }
    let lines = read(["{\"a\":".repeat(100_000).as_bytes()]);
    assert_eq!(lines.last().map(String::as_str), Some("end Truncated"));
}
