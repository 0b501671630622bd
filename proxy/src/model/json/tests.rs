use super::*;

mod random;

/// Where the tests stand: everything is of interest but what is named `nowhere`, and what is named `text`
/// comes in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Spot {
    Root,
    Short,
    Text,
    Nowhere,
}

impl Place for Spot {
    const ROOT: Self = Spot::Root;
    const NOWHERE: Self = Spot::Nowhere;

    fn wants(self) -> Wants {
        match self {
            Spot::Root | Spot::Short => Wants::Short,
            Spot::Text => Wants::Text,
            Spot::Nowhere => Wants::Nothing,
        }
    }
}

/// Writes down what it is shown; pieces of one text as one.
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
    type Place = Spot;

    fn member(&mut self, _of: Spot, name: &[u8]) -> Spot {
        self.line(format!("name {}", String::from_utf8_lossy(name)));
        match name {
            b"nowhere" => Spot::Nowhere,
            b"text" => Spot::Text,
            _ => Spot::Short,
        }
    }

    fn element(&mut self, of: Spot) -> Spot {
        of
    }

    fn open(&mut self, _at: Spot, container: Container) {
        self.line(format!("open {container:?}"));
    }

    fn close(&mut self, _at: Spot, container: Container) {
        self.line(format!("close {container:?}"));
    }

    fn value(&mut self, _at: Spot, value: Value<'_>) {
        let said = match value {
            Value::Number(text) => format!("number {}", String::from_utf8_lossy(text)),
            Value::String(text) => format!("string {}", String::from_utf8_lossy(text)),
            Value::Word(text) => format!("word {}", String::from_utf8_lossy(text)),
            other => format!("{other:?}"),
        };
        self.line(said);
    }

    fn text(&mut self, _at: Spot, piece: &[u8]) {
        assert!(!piece.is_empty());
        self.text.extend_from_slice(piece);
    }

    fn end(&mut self, end: End) {
        self.line(format!("end {end:?}"));
    }
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
    let mut log = Log::default();
    let mut scanner = Scanner::new();
    for piece in pieces {
        scanner.feed(piece, &mut log);
        assert!(scanner.held_bytes() < 1024);
    }
    scanner.end(&mut log);
    log.line(String::new());
    log.lines.pop();
    log.lines
}

/// The same, whole, byte by byte and cut once anywhere.
fn read_all_ways(text: &[u8]) -> Vec<String> {
    let whole = read([text]);
    let shown = String::from_utf8_lossy(text).into_owned();
    assert_eq!(read(text.chunks(1)), whole, "{shown} byte by byte");
    for at in 0..=text.len() {
        let (first, second) = text.split_at(at);
        assert_eq!(read([first, b"", second]), whole, "{shown} cut at {at}");
    }
    whole
}

/// The lines behind the first, which opens an object, without the last two.
fn members(text: &str) -> String {
    let lines = read_all_ways(text.as_bytes());
    let inside = lines.strip_prefix(&["open Object".to_owned()]);
    let inside = inside
        .and_then(|rest| rest.strip_suffix(&["close Object".to_owned(), "end Closed".to_owned()]));
    inside.unwrap_or(&lines).join(", ")
}

#[test]
fn values_are_shown_where_they_stand() {
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
        // Halves without their others.
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
            r#"{"nowhere":{"a":["}","\"}\\",{"b":[1,{}]}]},"c":1}"#,
            "name nowhere, name c, number 1",
        ),
        (
            r#"{"nowhere":[[1,2],"]",[{"a":"\\"}]],"nowhere":"x\"","nowhere":-2,"c":1}"#,
            "name nowhere, name nowhere, name nowhere, name c, number 1",
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
        // An array of documents is one text.
        (
            "[{}\n,\r\n{}]",
            "open Array, open Object, close Object, open Object, close Object, close Array, end Closed",
        ),
        ("{\"a\":", "open Object, name a, end Cut"),
        ("{\"a\":12", "open Object, name a, end Cut"),
        ("{\"a\":\"x", "open Object, name a, end Cut"),
        ("{\"nowhere\":{\"x\"", "open Object, name nowhere, end Cut"),
    ] {
        assert_eq!(
            read_all_ways(text.as_bytes()).join(", "),
            expected,
            "{text}"
        );
    }
}

#[test]
fn what_is_no_json_costs_as_little_as_possible() {
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
            "{\"nowhere\":NaN,\"b\":1}",
            "open Object, name nowhere, name b, number 1, close Object, end Flawed",
        ),
        (
            r#"["\x","\u00zz"]"#,
            "open Array, string x, string zz, close Array, end Flawed",
        ),
        // Up to the next line nothing is taken.
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
            read_all_ways(text.as_bytes()).join(", "),
            expected,
            "{text}"
        );
    }
}

#[test]
fn what_is_long_is_cut() {
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
fn what_lies_deep_is_skipped() {
    for depth in [DEPTH_MAX, DEPTH_MAX + 1, 100_000] {
        let text = format!("{}7{}", "[".repeat(depth), "]".repeat(depth));
        let lines = read([text.as_bytes()]);
        assert_eq!(lines.contains(&"number 7".to_owned()), depth == DEPTH_MAX);
        assert_eq!(lines.last().map(String::as_str), Some("end Closed"));
    }
    let lines = read(["{\"a\":".repeat(100_000).as_bytes()]);
    assert_eq!(lines.last().map(String::as_str), Some("end Cut"));
}
