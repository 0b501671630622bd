//! Labels of alerts.

use serde_json::{Value, json};

use crate::alert::identity::RESERVED;
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::values::{pattern, plain_text};

/// The name of a label, as Prometheus and Alertmanager have them, that no alert has by itself.
#[derive(Clone, Debug)]
pub(super) struct LabelName(pub(super) String);

impl FromScalar for LabelName {
    fn expected() -> String {
        "a label name of letters, digits and _ that begins with none of the digits, such as team"
            .to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        if RESERVED.contains(&text) {
            return Err(Invalid::Because(format!(
                "an alert has a label `{text}` by itself; take another name"
            )));
        }
        if text.starts_with("__") {
            return Err(Invalid::Because(
                "label names that begin with __ are Prometheus' own; take another name".to_owned(),
            ));
        }
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let begins_well = text
            .bytes()
            .next()
            .is_some_and(|byte| !byte.is_ascii_digit());
        match begins_well && text.len() <= 64 && text.bytes().all(is_word) {
            true => Ok(LabelName(text.to_owned())),
            false => Err(Invalid::Unexpected),
        }
    }

    fn schema() -> Value {
        pattern("^[A-Za-z_][A-Za-z0-9_]{0,63}$")
    }
}

/// The value of a label: one line, and no template.
#[derive(Clone, Debug)]
pub(super) struct LabelValue(pub(super) String);

impl FromScalar for LabelValue {
    fn expected() -> String {
        "a text of at most 256 characters".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        if text.contains("{{") {
            return Err(Invalid::Because(
                "Prometheus takes {{ for the beginning of a template; leave it out".to_owned(),
            ));
        }
        let text = plain_text(text)?;
        match text.chars().count() <= 256 {
            true => Ok(LabelValue(text)),
            false => Err(Invalid::Unexpected),
        }
    }

    fn schema() -> Value {
        json!({"type": "string", "maxLength": 256})
    }
}
