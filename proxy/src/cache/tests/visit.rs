//! The values that the canonical parser passes to a visitor, compared with those of the JSON scanner.

use super::canonical::documents;
use crate::cache::canonical;
use crate::cache::statefulness::Statefulness;
use crate::model::json::{
    Container, DEPTH_MAX, DocumentEnd, Interest, JsonPosition, JsonScanner, JsonValue,
    SHORT_BYTES_MAX, Visitor,
};

/// A position identified by a hash of its path.
#[derive(Clone, Copy, Debug, PartialEq)]
struct HashedPosition(u64);

impl HashedPosition {
    fn below(self, name: &[u8]) -> HashedPosition {
        let bytes = self.0.to_le_bytes().into_iter().chain(name.iter().copied());
        let hash = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        match hash % 7 {
            0 => HashedPosition::IGNORED,
            _ => HashedPosition(hash),
        }
    }
}

impl JsonPosition for HashedPosition {
    const ROOT: Self = HashedPosition(1);
    const IGNORED: Self = HashedPosition(0);

    fn interest(self) -> Interest {
        match self.0 % 3 {
            _ if self == HashedPosition::IGNORED => Interest::Nothing,
            0 => Interest::Nothing,
            1 => Interest::Short,
            _ => Interest::Text,
        }
    }
}

/// The log of all calls; the pieces of a string are joined.
#[derive(Debug, Default, PartialEq)]
struct EventLog {
    events: Vec<String>,
    text: Vec<u8>,
}

impl EventLog {
    fn add(&mut self, event: String) {
        let text = std::mem::take(&mut self.text);
        if !text.is_empty() {
            self.events.push(format!("text {}", text.escape_ascii()));
        }
        self.events.push(event);
    }
}

impl Visitor for EventLog {
    type Position = HashedPosition;

    fn member(&mut self, of: HashedPosition, name: &[u8]) -> HashedPosition {
        assert_ne!(of, HashedPosition::IGNORED);
        self.add(format!("member {of:?} {}", name.escape_ascii()));
        of.below(name)
    }

    fn element(&mut self, of: HashedPosition) -> HashedPosition {
        assert_ne!(of, HashedPosition::IGNORED);
        self.add(format!("element {of:?}"));
        of.below(b"[]")
    }

    fn open(&mut self, at: HashedPosition, container: Container) {
        self.add(format!("open {at:?} {container:?}"));
    }

    fn close(&mut self, at: HashedPosition, container: Container) {
        self.add(format!("close {at:?} {container:?}"));
    }

    fn value(&mut self, at: HashedPosition, value: JsonValue<'_>) {
        self.add(format!("value {at:?} {value:?}"));
    }

    fn text(&mut self, at: HashedPosition, piece: &[u8]) {
        assert!(!piece.is_empty());
        assert_eq!(at.interest(), Interest::Text);
        self.text.extend_from_slice(piece);
    }

    fn end(&mut self, _end: DocumentEnd) {
        self.add("end".to_owned());
    }
}

fn assert_same(source: &str) {
    let mut scanned = EventLog::default();
    JsonScanner::new().feed(source.as_bytes(), &mut scanned);
    let mut visited = EventLog::default();
    let statefulness = Statefulness::new(None);
    let read = canonical::canonical(source.as_bytes(), statefulness, &mut visited, |_, _| ());
    assert_eq!(read, Ok(()));
    let source: String = source.chars().take(400).collect();
    for (visited, scanned) in visited.events.iter().zip(&scanned.events) {
        assert_eq!(visited, scanned, "{source}");
    }
    assert_eq!(visited.events.len(), scanned.events.len(), "{source}");
}

#[test]
fn the_visitor_gets_the_same_values_as_from_the_scanner() {
    for source in documents(2_000) {
        assert_same(&source);
    }
    let long = "x".repeat(SHORT_BYTES_MAX);
    let digits = "1".repeat(SHORT_BYTES_MAX);
    let names = (0..40).map(|number| {
        format!(
            r#""n{number}":["{long}","{long}y","\"{long}","{long}\\",{digits},{digits}1,-0.5e+7]"#
        )
    });
    assert_same(&format!("{{{}}}", names.collect::<Vec<_>>().join(",")));
    let names = (0..40).map(|number| {
        format!(
            r#""{number}\\\"\u00e9\ud83c\udf0a":{{"{long}":true,"{long}y":false,"\u0022":null}}"#
        )
    });
    assert_same(&format!("{{{}}}", names.collect::<Vec<_>>().join(",")));
    for depth in DEPTH_MAX - 2..DEPTH_MAX + 2 {
        for name in ["a", "b", "c", "d", "e", "f"] {
            let (opening, closing) = (format!(r#"{{"{name}":"#).repeat(depth), "}".repeat(depth));
            assert_same(&format!(r#"{opening}"value"{closing}"#));
        }
    }
}

#[test]
fn the_end_is_passed_on_only_for_a_complete_object() {
    for source in [
        r#"{"a":1"#,
        r#"{"a":1}x"#,
        r#"{"a":1,"a":2}"#,
        r#"[1]"#,
        r#"{"a":"\ud800"}"#,
        "",
    ] {
        let mut visited = EventLog::default();
        let statefulness = Statefulness::new(None);
        let read = canonical::canonical(source.as_bytes(), statefulness, &mut visited, |_, _| ());
        assert!(read.is_err(), "{source}");
        let ended = visited.events.iter().any(|event| event.starts_with("end"));
        assert!(!ended, "{source}");
    }
}
