//! Reads from a model's answer what the record needs: model, finish reasons, tokens, and when the
//! content came. It also reads a question's few fields.
//!
//! The formats are OpenAI's (chat, completions, embeddings, responses) and Anthropic's, as JSON and
//! as a stream of events. It sees every chunk that passes, changes none, keeps a bounded part of an
//! answer, and takes no more from text that is not what it should be than nothing. The content
//! itself is never kept.

use std::borrow::Cow;
use std::time::Instant;

use http::HeaderValue;
use serde::Deserialize;

use super::sse::Scanner;

mod json;
mod stream;

/// Names longer than this are cut: they go into events, and an answer may hold anything.
const NAME_BYTES_MAX: usize = 128;
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

/// What an answer said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub model: Option<Box<str>>,
    pub finish_reasons: Vec<Box<str>>,
    pub input_tokens: Option<u64>,
    pub output_tokens: Option<u64>,
    /// When the first event with content came; `None` for an answer that is no stream.
    pub first_content_at: Option<Instant>,
    pub last_content_at: Option<Instant>,
    /// Events with content.
    pub chunks_with_content: u64,
    /// No usage was seen: `output_tokens` is the number of events with content, of which most
    /// backends send one a token.
    pub estimated: bool,
}

impl Usage {
    fn take_tokens(&mut self, tokens: &Tokens) {
        // A later report takes the place of an earlier one, but not by saying less: Anthropic tells
        // of the question at the begin and of the answer at the end.
        self.input_tokens = tokens.input().or(self.input_tokens);
        self.output_tokens = tokens.output().or(self.output_tokens);
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
pub struct UsageReader {
    reading: Reading,
}

#[derive(Debug)]
enum Reading {
    Json(json::Ends),
    Sse {
        scanner: Scanner,
        seen: Usage,
        fed_at: Option<Instant>,
    },
}

impl UsageReader {
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        UsageReader {
            reading: match kind {
                Kind::Json => Reading::Json(json::Ends::default()),
                Kind::Sse => Reading::Sse {
                    scanner: Scanner::new(),
                    seen: Usage::default(),
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

    /// What the answer said, also when it was cut short.
    #[must_use]
    pub fn finish(self) -> Usage {
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
                if seen.output_tokens.is_none() && seen.chunks_with_content > 0 {
                    seen.output_tokens = Some(seen.chunks_with_content);
                    seen.estimated = true;
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

fn cut(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_BYTES_MAX)]
}

/// What a question says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub model: Option<Box<str>>,
    pub stream: bool,
    /// OpenTelemetry's `gen_ai.operation.name`; `None` where the path is none of a model's.
    pub operation: Option<&'static str>,
}

/// Reads a request's path and body. A body that is not a JSON object, or whose fields are of another
/// type, leaves `model` and `stream` at their defaults.
#[must_use]
pub fn question(path: &str, body: &[u8]) -> Question {
    #[derive(Default, Deserialize)]
    struct Body<'a> {
        #[serde(borrow)]
        model: Option<Text<'a>>,
        stream: Option<bool>,
    }

    let operation = operation(path);
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Question {
            operation,
            ..Question::default()
        };
    }
    let body: Body<'_> = serde_json::from_slice(body).unwrap_or_default();
    Question {
        model: body.model.map(|Text(model)| cut(&model).into()),
        stream: body.stream.unwrap_or_default(),
        operation,
    }
}

/// The operation that a path asks for, by its last part.
fn operation(path: &str) -> Option<&'static str> {
    if path.ends_with("/chat/completions")
        || path.ends_with("/responses")
        || path.ends_with("/messages")
    {
        Some("chat")
    } else if path.ends_with("/completions") {
        Some("text_completion")
    } else if path.ends_with("/embeddings") {
        Some("embeddings")
    } else {
        None
    }
}

#[cfg(test)]
#[path = "usage_tests.rs"]
mod tests;
