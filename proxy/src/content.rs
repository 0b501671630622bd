//! Recorded prompts and responses, as `events.content` configures it: nothing, hashes, or redacted text.
//!
//! Requests and responses are parsed in the formats of model APIs (OpenAI and Anthropic) and of chat platforms;
//! anything else is ignored. This module is not called for requests whose content is not recorded.

use sha2::{Digest as _, Sha256};

pub mod redact;
pub(crate) mod texts;

use texts::TEXT_BYTES_MAX;
pub use texts::{BODY_BYTES_MAX, request_text};

/// The maximum length of a recorded text.
pub const KEPT_BYTES_MAX: usize = 8 * 1024;
/// A number or key at the end of a truncated text may be cut beyond recognition: this much of the end is dropped.
const UNCERTAIN_BYTES: usize = 256;

/// The checked `events.content`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    None,
    Hash,
    Redacted,
}

/// The recorded form of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecordedText {
    /// SHA-256 of the first 16 KiB of the text in UTF-8. Equal texts have equal hashes; a short text can be guessed.
    Hash([u8; 32]),
    /// At most 8 KiB, with the replacements of [`redact`].
    Redacted(String),
}

/// The recorded content of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    pub mode: Mode,
    pub input: Option<RecordedText>,
    pub output: Option<RecordedText>,
}

impl Mode {
    /// The recorded form of a text; `None` for an empty one.
    #[must_use]
    pub fn keep(self, text: &str) -> Option<RecordedText> {
        let read = cut(text, TEXT_BYTES_MAX);
        if read.is_empty() {
            return None;
        }
        match self {
            Mode::None => None,
            Mode::Hash => Some(RecordedText::Hash(Sha256::digest(read).into())),
            Mode::Redacted => {
                let redacted = redact::redacted(read);
                let sure = match read.len() < TEXT_BYTES_MAX - 4 {
                    true => &*redacted,
                    false => cut(&redacted, redacted.len().saturating_sub(UNCERTAIN_BYTES)),
                };
                Some(RecordedText::Redacted(cut(sure, KEPT_BYTES_MAX).to_owned()))
            }
        }
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mode_decides_what_is_recorded() {
        let text = "call 13812345678";
        assert_eq!(Mode::None.keep(text), None);
        assert_eq!(Mode::Redacted.keep(""), None);
        let redacted = RecordedText::Redacted("call [phone]".to_owned());
        assert_eq!(Mode::Redacted.keep(text), Some(redacted));
        // printf 'call 13812345678' | sha256sum
        let hash = Mode::Hash.keep(text);
        let Some(RecordedText::Hash(hash)) = hash else {
            panic!("{hash:?}");
        };
        assert_eq!(
            base16ct::lower::encode_string(&hash),
            "922a0424f32036c00d752428464c9bb1f780247f5bf50ecae7be5ec2bba371dc"
        );
    }

    #[test]
    fn a_number_across_the_end_is_not_recorded() {
        for before in TEXT_BYTES_MAX - 30..TEXT_BYTES_MAX {
            // Redaction shortens everything before the end, so that the end fits.
            let mut text = "13812345678 ".repeat(before / 12);
            text.push_str(&"x".repeat(before - text.len()));
            text.push_str(" 4111 1111 1111 1111");
            let Some(RecordedText::Redacted(kept)) = Mode::Redacted.keep(&text) else {
                panic!("nothing is kept");
            };
            assert!(!kept.contains("41"), "{before}");
            assert!(kept.len() <= KEPT_BYTES_MAX);
        }
    }
}
