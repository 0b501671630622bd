//! Secrets of the file, and what comes along when one is copied.

use serde_json::{Value, json};

use super::decode::{Scalar, Wrong};
use super::mistake::Findings;
use super::node::Place;

/// What every example in the documentation uses for a secret.
const EXAMPLE_SECRET: &str = "change-me";

/// Never shown, never empty.
#[derive(Clone)]
pub(crate) struct Secret(pub(crate) String);

impl Scalar for Secret {
    const SECRET: bool = true;

    fn expected() -> String {
        "a secret".to_owned()
    }

    fn read(text: &str) -> Result<Self, Wrong> {
        Ok(Secret(text.to_owned()))
    }

    fn schema() -> Value {
        json!({"type": ["string", "number"]})
    }

    fn notice(text: &str, place: Place, findings: &mut Findings) {
        notice_example(text, place, findings);
        if let Some(does) = never_matches(text) {
            let path = findings.path().to_owned();
            findings.warn(&path, place, does);
        }
    }
}

pub(crate) fn notice_example(text: &str, place: Place, findings: &mut Findings) {
    if text.contains(EXAMPLE_SECRET) {
        let path = findings.path().to_owned();
        let does =
            "is the example secret `change-me`, which everybody knows; give it a value of your own";
        findings.warn(&path, place, does);
    }
}

/// What came along with a secret when it was copied: the other side has it without.
pub(crate) fn never_matches(text: &str) -> Option<&'static str> {
    let is_in = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    let scheme = text.split_at_checked(7).map(|(scheme, _)| scheme);
    if text.contains(['\r', '\n']) {
        Some("has the end of a line in it, which no header carries; write it on one line")
    } else if text.trim() != text {
        Some(
            "begins or ends with white space, which is part of it; leave it out unless it is meant",
        )
    } else if is_in('"') || is_in('\'') {
        Some("stands in quotes that are part of it; leave them out unless they are meant")
    } else if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")) {
        Some("begins with `Bearer `, which is no part of a key; leave it out")
    } else {
        None
    }
}
