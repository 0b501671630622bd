//! Extracts the texts in a JSON body: what people wrote and what models responded.

use serde_json::Value;

/// How much of the text of a request or a response is read.
pub(crate) const TEXT_BYTES_MAX: usize = 16 * 1024;
/// A larger body contains images or files and is not searched for texts.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// How deeply JSON in strings of JSON is parsed; platforms nest it once.
const NESTED_MAX: usize = 2;

/// Keys of texts in the formats of model APIs and chat platforms.
const TEXT_KEYS: [&str; 13] = [
    "content",
    "input",
    "instructions",
    "message",
    "messages",
    "output",
    "output_text",
    "parts",
    "prompt",
    "query",
    "question",
    "system",
    "text",
];

/// The texts of a request, one per line; empty if there are none.
#[must_use]
pub fn request_text(body: &[u8]) -> String {
    let mut texts = TextCollector::joined_by("\n");
    if body.len() <= BODY_BYTES_MAX
        && body.trim_ascii_start().first() == Some(&b'{')
        && let Ok(value) = serde_json::from_slice(body)
    {
        texts.walk(&value, KeyKind::Other, 0);
    }
    texts.text
}

/// Whether the nearest key is that of a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    Text,
    Other,
}

/// Collects texts.
#[derive(Debug)]
pub(crate) struct TextCollector {
    pub(crate) text: String,
    between: &'static str,
}

impl TextCollector {
    pub(crate) fn joined_by(between: &'static str) -> Self {
        TextCollector {
            text: String::new(),
            between,
        }
    }

    pub(crate) fn is_full(&self) -> bool {
        self.text.len() >= TEXT_BYTES_MAX
    }

    pub(crate) fn push(&mut self, text: &str) {
        if self.is_full() || text.is_empty() {
            return;
        }
        if !self.text.is_empty() {
            self.text.push_str(self.between);
        }
        let room = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        // The last character is kept whole and may exceed the limit.
        self.text.push_str(&text[..text.ceil_char_boundary(room)]);
    }

    /// Adds the texts in a value. serde_json limits the nesting of JSON itself to 128.
    pub(crate) fn walk(&mut self, value: &Value, named: KeyKind, nested: usize) {
        match value {
            Value::String(text) if named == KeyKind::Text => {
                let inner = match text.starts_with(['{', '[']) && nested < NESTED_MAX {
                    true => serde_json::from_str(text).ok(),
                    false => None,
                };
                match inner {
                    Some(inner) => self.walk(&inner, KeyKind::Other, nested + 1),
                    None => self.push(text),
                }
            }
            Value::Array(values) => values
                .iter()
                .for_each(|value| self.walk(value, named, nested)),
            Value::Object(members) => {
                for (key, value) in members {
                    let named = match TEXT_KEYS.contains(&key.as_str()) {
                        true => KeyKind::Text,
                        false => KeyKind::Other,
                    };
                    self.walk(value, named, nested);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_in_all_formats() {
        for (body, expected) in [
            (
                r#"{"model":"m","messages":[{"role":"system","content":"be kind"},{"role":"user","content":[{"type":"text","text":"hi"},{"type":"image_url","image_url":{"url":"data:x"}}]}]}"#,
                "be kind\nhi",
            ),
            (r#"{"prompt":["a","b"],"suffix":"c"}"#, "a\nb"),
            (r#"{"input":"embed me","model":"m"}"#, "embed me"),
            (
                r#"{"instructions":"be kind","input":[{"role":"user","content":"hi"}]}"#,
                "hi\nbe kind",
            ),
            (
                r#"{"system":"be kind","messages":[{"role":"user","content":"hi"}]}"#,
                "hi\nbe kind",
            ),
            // Feishu: the text is JSON in a string, with escapes of its own.
            (
                r#"{"event":{"message":{"content":"{\"text\":\"\\u0031\\u0033812345678\"}","message_id":"om_1"}},"header":{"token":"t"}}"#,
                "13812345678",
            ),
            (r#"{"text":{"content":"hi"},"msgtype":"text"}"#, "hi"),
            ("[\"content\"]", ""),
            ("{\"content\":", ""),
            ("{\"content\":7,\"text\":null}", ""),
            ("no json", ""),
            ("", ""),
        ] {
            assert_eq!(request_text(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn the_text_is_bounded() {
        let body = format!(
            r#"{{"messages":[{{"content":"{}"}}]}}"#,
            "é".repeat(100_000)
        );
        let read = request_text(body.as_bytes());
        assert!((TEXT_BYTES_MAX..TEXT_BYTES_MAX + 4).contains(&read.len()));
        let body = format!(r#"{{"content":"{}"}}"#, "x".repeat(BODY_BYTES_MAX));
        assert_eq!(request_text(body.as_bytes()), "");
        let deep = "[".repeat(100_000);
        assert_eq!(request_text(format!("{{\"content\":{deep}").as_bytes()), "");
        let nested = r#"{"text":"{\"text\":\"{\\\"text\\\":\\\"{}\\\"}\"}"}"#;
        assert_eq!(request_text(nested.as_bytes()), "{}");
    }
}
