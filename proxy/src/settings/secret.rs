//! Secrets of the configuration: never shown, erased from memory when dropped.

use http::HeaderValue;
use http::header::InvalidHeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::decode::{FromScalar, Invalid};
use super::diagnostic::Diagnostics;
use super::node::FilePosition;

/// What every example in the documentation uses for a secret.
const EXAMPLE_SECRET: &str = "change-me";

/// A secret, or a text that may contain one. `Debug` shows nothing of it, and it is erased from memory when it is
/// dropped.
#[derive(Clone, Debug)]
pub struct SecretText(SecretString);

impl SecretText {
    #[must_use]
    pub fn expose_secret(&self) -> &str {
        self.0.expose_secret()
    }

    /// The value of a header, which is redacted wherever headers are shown.
    ///
    /// # Errors
    /// No header can have this value.
    pub fn header_value(&self) -> Result<HeaderValue, InvalidHeaderValue> {
        let mut value = HeaderValue::from_str(self.expose_secret())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        SecretText(SecretString::from(text))
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        SecretText(SecretString::from(text))
    }
}

/// For comparing configurations; credentials of requests are compared in constant time, elsewhere.
impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        self.expose_secret() == other.expose_secret()
    }
}

impl Eq for SecretText {}

impl FromScalar for SecretText {
    const SECRET: bool = true;

    fn expected() -> String {
        "a secret".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        Ok(SecretText::from(text))
    }

    fn schema() -> Value {
        json!({"type": ["string", "number"]})
    }

    fn notice(text: &str, place: FilePosition, diagnostics: &mut Diagnostics) {
        notice_example(text, place, diagnostics);
        if let Some(does) = never_matches(text) {
            let path = diagnostics.path().to_owned();
            diagnostics.warn(&path, place, does);
        }
    }
}

/// Whether it is, or contains, the example secret.
pub(crate) fn is_example(text: &str) -> bool {
    text.contains(EXAMPLE_SECRET)
}

pub(crate) fn notice_example(text: &str, place: FilePosition, diagnostics: &mut Diagnostics) {
    if is_example(text) {
        let path = diagnostics.path().to_owned();
        let does = "is the example secret `change-me`, which is public; set your own";
        diagnostics.warn(&path, place, does);
    }
}

/// Why a secret can never match, such as characters that were copied with it by mistake.
pub(crate) fn never_matches(text: &str) -> Option<&'static str> {
    let is_in = |quote: char| text.len() > 1 && text.starts_with(quote) && text.ends_with(quote);
    let scheme = text.split_at_checked(7).map(|(scheme, _)| scheme);
    if text.contains(['\r', '\n']) {
        Some("contains a line break, which no header can carry; write it on one line")
    } else if text.trim() != text {
        Some(
            "begins or ends with white space, which is part of the value; remove it unless that is intended",
        )
    } else if is_in('"') || is_in('\'') {
        Some(
            "is enclosed in quotes that are part of the value; remove them unless that is intended",
        )
    } else if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer ")) {
        Some("begins with `Bearer `, which is not part of the key; remove it")
    } else {
        None
    }
}
