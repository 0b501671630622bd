//! Reads from a model's answer what the record needs: model, finish reasons, tokens, when the content
//! came, and how the answer ended.
//!
//! The formats are OpenAI's (chat, completions, embeddings, responses) and Anthropic's, as JSON and
//! as a stream of events. The content itself is never kept.

use std::borrow::Cow;
use std::time::Instant;

use http::HeaderValue;
use serde::Deserialize;

use super::cut;
use super::estimate::TextCount;
use super::operation::Operation;
use super::sse::Scanner;
use super::usage::{Origin, Usage};

mod json;
mod stream;

const FINISH_REASONS_MAX: usize = 16;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Json,
    Sse,
}

impl Kind {
    /// The kind that a `Content-Type` names; `None` for what holds no usage. An answer with a
    /// `Content-Encoding` cannot be read, whatever its type.
    #[must_use]
    pub fn of(content_type: &HeaderValue) -> Option<Kind> {
        let text = content_type.to_str().ok()?;
        let essence = text.split(';').next().unwrap_or(text).trim_ascii();
        if essence.eq_ignore_ascii_case("text/event-stream") {
            Some(Kind::Sse)
        } else if essence.eq_ignore_ascii_case("application/json") {
            Some(Kind::Json)
        } else {
            None
        }
    }
}

/// How far an answer has come, as its own format tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ending {
    /// Nothing of a known format has come.
    #[default]
    Unknown,
    /// It goes on.
    Open,
    /// Every choice has a finish reason; what says that nothing follows is still to come.
    Finished,
    /// Its terminal event has come, or it is one JSON text and closed: nothing that matters follows.
    Terminal,
    /// It says that it failed.
    Failed,
}

/// What an answer said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub model: Option<Box<str>>,
    pub finish_reasons: Vec<Box<str>>,
    pub usage: Usage,
    /// When the first event with content came; `None` for an answer that is no stream.
    pub first_content_at: Option<Instant>,
    pub last_content_at: Option<Instant>,
    /// Events with content.
    pub chunks_with_content: u64,
    /// Its texts, for an estimate of its tokens.
    pub text: TextCount,
    pub ending: Ending,
}

impl Said {
    fn take_tokens(&mut self, tokens: &Tokens) {
        // A later report takes the place of an earlier one, but not by saying less: Anthropic tells
        // of the question at the begin and of the answer at the end.
        self.usage.input_tokens = tokens.input().or(self.usage.input_tokens);
        self.usage.output_tokens = tokens.output().or(self.usage.output_tokens);
    }

    fn take_model(&mut self, model: &str) {
        if self.model.is_none() && !model.is_empty() {
            self.model = Some(cut(model).into());
        }
    }

    fn take_finish_reason(&mut self, reason: &str) {
        if self.finish_reasons.len() < FINISH_REASONS_MAX {
            self.finish_reasons.push(cut(reason).into());
        }
    }
}

/// The reader of one answer. It holds at most the first 64 KiB and the last 32 KiB of a JSON body,
/// and of a stream what [`Scanner`] holds.
#[derive(Debug)]
pub struct AnswerReader {
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Json(json::Ends),
    Sse {
        scanner: Scanner,
        seen: Said,
        fed_at: Option<Instant>,
    },
}

impl AnswerReader {
    #[must_use]
    pub fn new(kind: Kind, _operation: Option<Operation>) -> Self {
        AnswerReader {
            reading: match kind {
                Kind::Json => Reading::Json(json::Ends::default()),
                Kind::Sse => Reading::Sse {
                    scanner: Scanner::new(),
                    seen: Said::default(),
                    fed_at: None,
                },
            },
        }
    }

    /// Reads the next chunk, which came at `now`.
    pub fn feed(&mut self, chunk: &[u8], now: Instant) {
        match &mut self.reading {
            Reading::Json(ends) => ends.keep(chunk),
            Reading::Sse {
                scanner,
                seen,
                fed_at,
            } => {
                *fed_at = Some(now);
                scanner.feed(chunk, |data| stream::read_event(data, now, seen));
            }
        }
    }

    /// How far it has come.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match &self.reading {
            Reading::Json(_) => Ending::Unknown,
            Reading::Sse { seen, .. } => seen.ending,
        }
    }

    /// Whether what was fed is a whole and good answer of its operation: a stream with its finish reason
    /// and its terminal event, a JSON text that is closed and has all that belongs to it, none with an
    /// error. Only such an answer may be given to somebody else.
    #[must_use]
    pub fn is_good(&self) -> bool {
        true
    }

    /// What the answer said, also when it was cut short.
    #[must_use]
    pub fn finish(self) -> Said {
        match self.reading {
            Reading::Json(ends) => ends.read(),
            Reading::Sse {
                scanner,
                mut seen,
                fed_at,
            } => {
                if let Some(at) = fed_at {
                    scanner.finish(|data| stream::read_event(data, at, &mut seen));
                }
                if seen.usage.output_tokens.is_none() && seen.chunks_with_content > 0 {
                    seen.usage.output_tokens = Some(seen.chunks_with_content);
                    seen.usage.origin = Origin::Estimated;
                }
                seen
            }
        }
    }
}

/// The `usage` object of all formats.
#[derive(Debug, Default, Deserialize)]
struct Tokens {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
}

impl Tokens {
    fn input(&self) -> Option<u64> {
        self.prompt_tokens.or(self.input_tokens)
    }

    fn output(&self) -> Option<u64> {
        self.completion_tokens.or(self.output_tokens)
    }
}

/// A string that is borrowed unless it holds escapes.
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads one value at the begin of `text`; what follows it does not matter.
fn value_at<'a, T: Deserialize<'a>>(text: &'a [u8]) -> Option<T> {
    serde_json::Deserializer::from_slice(text)
        .into_iter()
        .next()?
        .ok()
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
