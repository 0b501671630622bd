//! The canonical text, compared with serde_json on randomly generated documents.

use std::fmt::Write;

use crate::cache::canonical::{self, NotCanonical};

fn canonical(source: &[u8]) -> Result<Vec<u8>, NotCanonical> {
    canonical::text_of(source)
}

/// xorshift64: the same documents in every run.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Document {
    Scalar(&'static str),
    Text(String),
    Array(Vec<Document>),
    Object(Vec<(String, Document)>),
}

/// serde_json writes each of these as it reads it.
const SCALARS: [&str; 8] = ["null", "true", "false", "0", "-1", "10", "0.5", "123456789"];
const CHARACTERS: [char; 14] = [
    'a', 'b', '"', '\\', '/', '\n', '\t', '\u{1}', '\u{7f}', 'é', '你', '🌊', '{', ',',
];

fn text(dice: &mut Dice) -> String {
    let length = [0, 1, 2, 3, 9, 30][dice.below(6)];
    (0..length)
        .map(|_| CHARACTERS[dice.below(CHARACTERS.len())])
        .collect()
}

fn document(dice: &mut Dice, depth: usize) -> Document {
    match dice.below(if depth == 0 { 2 } else { 5 }) {
        0 => Document::Scalar(SCALARS[dice.below(SCALARS.len())]),
        1 => Document::Text(text(dice)),
        2 => Document::Array(
            (0..dice.below(4))
                .map(|_| document(dice, depth - 1))
                .collect(),
        ),
        _ => object(dice, depth),
    }
}

fn object(dice: &mut Dice, depth: usize) -> Document {
    let mut members: Vec<(String, Document)> = Vec::new();
    for _ in 0..dice.below(6) {
        let name = text(dice);
        if members.iter().all(|(other, _)| *other != name) {
            members.push((name, document(dice, depth.saturating_sub(1))));
        }
    }
    Document::Object(members)
}

/// Serialises a document with random formatting, escapes and member order.
fn write(document: &Document, dice: &mut Dice, out: &mut String) {
    space(dice, out);
    match document {
        Document::Scalar(scalar) => out.push_str(scalar),
        Document::Text(text) => write_text(text, dice, out),
        Document::Array(items) => {
            out.push('[');
            for (position, item) in items.iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                write(item, dice, out);
            }
            space(dice, out);
            out.push(']');
        }
        Document::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            for end in (1..members.len()).rev() {
                members.swap(end, dice.below(end + 1));
            }
            out.push('{');
            for (position, (name, value)) in members.into_iter().enumerate() {
                out.push_str(if position == 0 { "" } else { "," });
                space(dice, out);
                write_text(name, dice, out);
                space(dice, out);
                out.push(':');
                write(value, dice, out);
            }
            space(dice, out);
            out.push('}');
        }
    }
    space(dice, out);
}

fn space(dice: &mut Dice, out: &mut String) {
    out.push_str(["", "", "", " ", "\n", "\r\n\t "][dice.below(6)]);
}

fn write_text(text: &str, dice: &mut Dice, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let must = character < ' ' || matches!(character, '"' | '\\');
        match character {
            _ if dice.below(4) == 0 => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = match dice.below(2) {
                        0 => write!(out, "\\u{unit:04x}"),
                        _ => write!(out, "\\u{unit:04X}"),
                    };
                }
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '"' | '\\' => out.extend(['\\', character]),
            '/' if dice.below(2) == 0 => out.push_str("\\/"),
            _ if must => {
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn written(document: &Document, dice: &mut Dice) -> String {
    let mut out = String::new();
    write(document, dice, &mut out);
    out
}

/// Generates this many random objects, each serialised with random formatting.
pub(super) fn documents(count: usize) -> impl Iterator<Item = String> {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    (0..count).map(move |_| {
        let document = object(&mut dice, 4);
        written(&document, &mut dice)
    })
}

/// Replaces one scalar or text, or adds a member or item.
fn change(document: &mut Document, dice: &mut Dice) {
    match document {
        Document::Scalar(scalar) => *scalar = if *scalar == "0" { "1" } else { "0" },
        Document::Text(text) => text.push('!'),
        Document::Array(items) if items.is_empty() => items.push(Document::Scalar("null")),
        Document::Array(items) => {
            let item = dice.below(items.len());
            change(&mut items[item], dice);
        }
        Document::Object(members) if members.is_empty() => {
            members.push((String::new(), Document::Scalar("null")));
        }
        Document::Object(members) => {
            let member = dice.below(members.len());
            change(&mut members[member].1, dice);
        }
    }
}

#[test]
fn equal_documents_have_the_same_text() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..2_000 {
        let mut original = object(&mut dice, 4);
        let source = written(&original, &mut dice);
        let text = canonical(source.as_bytes()).expect("valid");
        assert!(text.len() <= source.len());
        let other = written(&original, &mut dice);
        assert_eq!(
            canonical(other.as_bytes()),
            Ok(text.clone()),
            "{source}\n{other}"
        );
        let value: serde_json::Value = serde_json::from_str(&source).expect("valid");
        assert_eq!(
            canonical(value.to_string().as_bytes()),
            Ok(text.clone()),
            "{source}"
        );
        change(&mut original, &mut dice);
        let changed = written(&original, &mut dice);
        assert_ne!(
            canonical(changed.as_bytes()),
            Ok(text),
            "{source}\n{changed}"
        );
    }
}

#[test]
fn damaged_documents_are_rejected_as_by_serde_json() {
    let mut dice = Dice(42);
    let (mut refused, mut accepted) = (0, 0);
    for _ in 0..20_000 {
        let document = object(&mut dice, 3);
        let mut source = written(&document, &mut dice).into_bytes();
        let at = dice.below(source.len());
        match dice.below(3) {
            0 => source[at] = b"{}[]\":,\\u0-1.eE \x00\x1f\x80"[dice.below(19)],
            1 => drop(source.remove(at)),
            _ => source.truncate(at),
        }
        let known = match serde_json::from_slice::<serde_json::Value>(&source) {
            Ok(value) => value.is_object(),
            // JSON has no largest number; the canonical text does not evaluate numbers.
            Err(error) => error.to_string().starts_with("number out of range"),
        };
        let ours = canonical(&source);
        if ours != Err(NotCanonical::DuplicateMember) {
            assert_eq!(ours.is_ok(), known, "{}", String::from_utf8_lossy(&source));
            *if known { &mut accepted } else { &mut refused } += 1;
        }
    }
    assert!(refused > 1_000 && accepted > 1_000, "{refused} {accepted}");
}

/// Valid and invalid values.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "1", "01", "-", "-0", "+1", "1.", ".5", "1.5e", "1e+", "1E-05", "1e05", "0x1", "1 2", "--1",
    "NaN", "Infinity", "nul", "nulll", "True", "\"", "\"\\\"", "\"\\x\"", "\"\\", "\"\\u",
    "\"\\u12\"", "\"\\u12g4\"", "\"\\ud800\"", "\"\\ud800\\n\"", "\"\\ud800\\u0041\"",
    "\"\\udc00\"", "\"\\ud83c\\udf0a\"", "\"\\ud83c\\ud83c\"", "\"\\u0000\"", "\"\n\"",
    "\"\u{7f}\"", "\"\u{2028}\"", "'a'", "[1,]", "[,1]", "[", "]", "[1 2]", "{", "{\"b\"}",
    "{\"b\":}", "{\"b\":1,}", "{,}", "{b:1}", "{1:1}", "/**/1", "1//", "", " ", "\u{a0}1",
    "\u{feff}1", "\u{c}1", "[[[]]]", "{\"\":{}}", "\"12345678\"", "\"1234567\\u0022\"",
    "\"12345678901234\u{1}5\"",
];

#[test]
fn hostile_texts_are_rejected_as_by_serde_json() {
    for text in VALUES {
        let source = format!("{{\"a\":{text}}}");
        let known = serde_json::from_str::<serde_json::Value>(&source).is_ok();
        assert_eq!(canonical(source.as_bytes()).is_ok(), known, "{source}");
    }
    for source in [
        &b""[..],
        b" ",
        b"\xef\xbb\xbf{}",
        b"{}{}",
        b"{} x",
        b"{}\0",
        b"{\"a\":\"\xff\"}",
        b"{\"a\":\"\xc0\x80\"}",
        b"{\"a\":\"\xed\xa0\x80\"}",
        b"{\"a\xff\":1}",
        b"}",
        b"\"a\":1",
        b"{",
        b"{\"",
        b"{\"a\":\"\\u00",
    ] {
        assert_eq!(
            canonical(source),
            Err(NotCanonical::NotJson),
            "{}",
            String::from_utf8_lossy(source)
        );
        assert!(serde_json::from_slice::<serde_json::Value>(source).is_err());
    }
    for source in ["1", "\"a\"", "null", "[]", "[{}]", "[{\"b\":1,\"a\":2}]"] {
        assert_eq!(
            canonical(source.as_bytes()),
            Err(NotCanonical::NotAnObject),
            "{source}"
        );
    }
}

#[test]
fn formatting_is_normalised_and_values_are_not() {
    let text = |source: &str| canonical(source.as_bytes()).expect(source);
    assert_eq!(text("{}"), b"{}");
    assert_eq!(
        text(" { \"b\" : [ 1 , {\"d\":1,\"c\":2} ] , \"a\" : null } "),
        br#"{"a":null,"b":[1,{"c":2,"d":1}]}"#
    );
    assert_eq!(text(r#"{"\u0061":"\u0041"}"#), text(r#"{"a":"A"}"#));
    assert_eq!(
        text(r#"{"a":"\ud83c\udf0a\/\u0022"}"#),
        text("{\"a\":\"🌊/\\\"\"}")
    );
    for (one, other) in [
        (r#"{"a":1}"#, r#"{"a":1.0}"#),
        (r#"{"a":100}"#, r#"{"a":1e2}"#),
        (r#"{"a":0}"#, r#"{"a":-0}"#),
        (r#"{"a":1}"#, r#"{"a":"1"}"#),
        (r#"{"a":"\n"}"#, r#"{"a":"\\n"}"#),
        (r#"{"a":"b"}"#, r#"{"a":"b "}"#),
        (r#"{"a":[1,2]}"#, r#"{"a":[2,1]}"#),
        (r#"{"a":{"b":1},"c":2}"#, r#"{"a":{"b":1,"c":2}}"#),
        (r#"{"a":"1\",\"b\":\"2"}"#, r#"{"a":"1","b":"2"}"#),
        (r#"{"e":"é"}"#, "{\"e\":\"e\u{301}\"}"),
    ] {
        assert_ne!(text(one), text(other), "{one} {other}");
    }
}

#[test]
fn duplicate_members_are_rejected() {
    for source in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"b":2,"a":3}"#,
        r#"{"c":1,"a":2,"b":3,"a":4}"#,
        r#"{"a":1,"\u0061":2}"#,
        r#"{"x":[{"":1,"":2}]}"#,
    ] {
        assert_eq!(
            canonical(source.as_bytes()),
            Err(NotCanonical::DuplicateMember),
            "{source}"
        );
    }
    assert!(canonical(br#"{"a":{"a":{"a":1}},"b":{"a":1}}"#).is_ok());
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |depth: usize, open: &str, close: &str| {
        canonical(format!("{}1{}", open.repeat(depth), close.repeat(depth)).as_bytes())
    };
    assert!(nested(64, "{\"a\":", "}").is_ok());
    assert_eq!(nested(65, "{\"a\":", "}"), Err(NotCanonical::TooDeep));
    assert_eq!(nested(1_000_000, "[", "]"), Err(NotCanonical::TooDeep));
    assert!(
        nested(64, "{\"b\":0,\"a\":", "}").is_ok(),
        "out of order at every level"
    );

    let objects = |count: usize| {
        let items = "{\"d\":1,\"c\":2},".repeat(count);
        canonical(format!("{{\"a\":[{items}1]}}").as_bytes())
    };
    assert!(objects(32_000).is_ok());
    assert_eq!(objects(33_000), Err(NotCanonical::TooLarge));
    let members = |count: usize| {
        let members: Vec<_> = (0..count)
            .map(|number| format!("\"{number:06}\":1"))
            .collect();
        canonical(format!("{{{}}}", members.join(",")).as_bytes())
    };
    assert!(members(65_536).is_ok());
    assert_eq!(members(65_537), Err(NotCanonical::TooLarge));

    let long = "x".repeat(2_000_000);
    let source = format!(
        "{{\"b\":\"{long}\",\"a\":[{}1]}}",
        "{\"d\":1,\"c\":2},".repeat(30_000)
    );
    let text = canonical(source.as_bytes()).expect("valid");
    assert_eq!(text.len(), source.len());
    assert!(text.starts_with(b"{\"a\":[{\"c\":2,\"d\":1},{"));
}
