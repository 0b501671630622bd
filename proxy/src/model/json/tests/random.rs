//! Texts that nobody thought of, from a seed so that a failure comes again.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value as Whole};

use super::*;

/// Builds again what it is shown.
#[derive(Debug, Default)]
struct Rebuild {
    open: Vec<(Whole, String)>,
    name: String,
    done: Vec<Whole>,
}

impl Rebuild {
    fn put(&mut self, value: Whole) {
        match self.open.last_mut() {
            Some((Whole::Object(members), _)) => {
                members.insert(self.name.clone(), value);
            }
            Some((Whole::Array(elements), _)) => elements.push(value),
            _ => self.done.push(value),
        }
    }
}

impl Visitor for Rebuild {
    type Place = Spot;

    fn member(&mut self, _of: Spot, name: &[u8]) -> Spot {
        self.name = String::from_utf8_lossy(name).into_owned();
        Spot::Short
    }

    fn element(&mut self, of: Spot) -> Spot {
        of
    }

    fn open(&mut self, _at: Spot, container: Container) {
        let empty = match container {
            Container::Object => Whole::Object(Map::new()),
            Container::Array => Whole::Array(Vec::new()),
        };
        self.open.push((empty, std::mem::take(&mut self.name)));
    }

    fn close(&mut self, _at: Spot, _container: Container) {
        let (value, name) = self.open.pop().unwrap();
        self.name = name;
        self.put(value);
    }

    fn value(&mut self, _at: Spot, value: Value<'_>) {
        self.put(match value {
            Value::Null => Whole::Null,
            Value::True => Whole::Bool(true),
            Value::False => Whole::Bool(false),
            Value::Number(text) => serde_json::from_slice(text).unwrap(),
            Value::String(text) => Whole::String(String::from_utf8(text.to_vec()).unwrap()),
            Value::Word(text) => panic!("{text:?}"),
        });
    }
}

fn anything(dice: &mut StdRng, depth: usize) -> Whole {
    let texts = ["", "a", "\"", "\\", "é你😀", "{}[],:", "\n\u{0}\u{7f}"];
    match dice.random_range(0..(if depth == 0 { 6 } else { 8 })) {
        0 => Whole::Null,
        1 => Whole::Bool(dice.random_range(0..2) == 0),
        2 => dice.random_range(0..100_000).into(),
        3 => (dice.random_range(0..100_000) as f64 / -8.0).into(),
        4 | 5 => texts[dice.random_range(0..texts.len())]
            .repeat(dice.random_range(0..3))
            .into(),
        6 => (0..dice.random_range(0..4))
            .map(|_| anything(dice, depth - 1))
            .collect(),
        _ => (0..dice.random_range(0..4))
            .map(|_| {
                let name = texts[dice.random_range(0..texts.len())].repeat(2);
                (name, anything(dice, depth - 1))
            })
            .collect(),
    }
}

#[test]
fn documents_are_what_another_reader_takes_them_for() {
    let mut dice = StdRng::seed_from_u64(3);
    for _ in 0..2_000 {
        let documents: Vec<Whole> = (0..3).map(|_| anything(&mut dice, 5)).collect();
        let text: String = documents
            .iter()
            .map(|document| match dice.random_range(0..2) {
                0 => format!("{document}\n"),
                _ => format!("{document:#} "),
            })
            .collect();
        let mut rest = text.as_bytes();
        let (mut scanner, mut rebuild) = (Scanner::new(), Rebuild::default());
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
fn any_bytes_at_all_are_read_without_harm() {
    let mut dice = StdRng::seed_from_u64(5);
    let seed =
        r#"{"a":[{"text":"\ud83d\ude00 x","nowhere":[1,{"b":"]"}]},-1.5e3,null],"c":"\"d\\"}"#;
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
