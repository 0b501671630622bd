//! Random texts, from a fixed seed so that failures are reproducible.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value as SerdeValue};

use super::*;

/// Rebuilds the documents.
#[derive(Debug, Default)]
struct Rebuild {
    open: Vec<(SerdeValue, String)>,
    name: String,
    done: Vec<SerdeValue>,
}

impl Rebuild {
    fn put(&mut self, value: SerdeValue) {
        match self.open.last_mut() {
            Some((SerdeValue::Object(members), _)) => {
                members.insert(self.name.clone(), value);
            }
            Some((SerdeValue::Array(elements), _)) => elements.push(value),
            _ => self.done.push(value),
        }
    }
}

impl Visitor for Rebuild {
    type Position = TestPosition;

    fn member(&mut self, _of: TestPosition, name: &[u8]) -> TestPosition {
        self.name = String::from_utf8_lossy(name).into_owned();
        TestPosition::Short
    }

    fn element(&mut self, of: TestPosition) -> TestPosition {
        of
    }

    fn open(&mut self, _at: TestPosition, container: Container) {
        let empty = match container {
            Container::Object => SerdeValue::Object(Map::new()),
            Container::Array => SerdeValue::Array(Vec::new()),
        };
        self.open.push((empty, std::mem::take(&mut self.name)));
    }

    fn close(&mut self, _at: TestPosition, _container: Container) {
        let (value, name) = self.open.pop().unwrap();
        self.name = name;
        self.put(value);
    }

    fn value(&mut self, _at: TestPosition, value: JsonValue<'_>) {
        self.put(match value {
            JsonValue::Null => SerdeValue::Null,
            JsonValue::True => SerdeValue::Bool(true),
            JsonValue::False => SerdeValue::Bool(false),
            JsonValue::Number(text) => serde_json::from_slice(text).unwrap(),
            JsonValue::String(text) => {
                SerdeValue::String(String::from_utf8(text.to_vec()).unwrap())
            }
            JsonValue::Word(text) => panic!("{text:?}"),
        });
    }
}

fn random_value(dice: &mut StdRng, depth: usize) -> SerdeValue {
    let texts = ["", "a", "\"", "\\", "é你😀", "{}[],:", "\n\u{0}\u{7f}"];
    match dice.random_range(0..(if depth == 0 { 6 } else { 8 })) {
        0 => SerdeValue::Null,
        1 => SerdeValue::Bool(dice.random_range(0..2) == 0),
        2 => dice.random_range(0..100_000).into(),
        3 => (dice.random_range(0..100_000) as f64 / -8.0).into(),
        4 | 5 => texts[dice.random_range(0..texts.len())]
            .repeat(dice.random_range(0..3))
            .into(),
        6 => (0..dice.random_range(0..4))
            .map(|_| random_value(dice, depth - 1))
            .collect(),
        _ => (0..dice.random_range(0..4))
            .map(|_| {
                let name = texts[dice.random_range(0..texts.len())].repeat(2);
                (name, random_value(dice, depth - 1))
            })
            .collect(),
    }
}

#[test]
fn random_documents_are_parsed_as_by_serde_json() {
    let mut dice = StdRng::seed_from_u64(3);
    for _ in 0..2_000 {
        let documents: Vec<SerdeValue> = (0..3).map(|_| random_value(&mut dice, 5)).collect();
        let text: String = documents
            .iter()
            .map(|document| match dice.random_range(0..2) {
                0 => format!("{document}\n"),
                _ => format!("{document:#} "),
            })
            .collect();
        let mut rest = text.as_bytes();
        let (mut scanner, mut rebuild) = (JsonScanner::new(), Rebuild::default());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + dice.random_range(0..20.min(rest.len())));
            scanner.feed(piece, &mut rebuild);
            rest = after;
        }
        assert!(scanner.is_between_documents(), "{text}");
        assert_eq!(rebuild.done, documents, "{text}");
    }
}

#[test]
fn damaged_texts_give_the_same_result_in_one_piece_and_in_two() {
    let mut dice = StdRng::seed_from_u64(5);
    let seed =
        r#"{"a":[{"text":"\ud83d\ude00 x","ignored":[1,{"b":"]"}]},-1.5e3,null],"c":"\"d\\"}"#;
    for _ in 0..20_000 {
        let mut text = seed.as_bytes().to_vec();
        for _ in 0..=dice.random_range(0..4) {
            let at = dice.random_range(0..text.len());
            match dice.random_range(0..3) {
                0 => text[at] = b"\"\\{}[],:\nu0\xff"[dice.random_range(0..12)],
                1 if text.len() > 1 => drop(text.remove(at)),
                _ => text.truncate(at + 1),
            }
        }
        let whole = read([&*text]);
        let (first, second) = text.split_at(dice.random_range(0..text.len() + 1));
        assert_eq!(
            read([first, second]),
            whole,
            "{}",
            String::from_utf8_lossy(&text)
        );
    }
}
