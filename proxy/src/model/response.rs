//! Reads from a model's answer what the record needs: model, finish reasons, tokens, when the content
//! came, how the answer ended, and whether it is good enough to be given to somebody else.
//!
//! The formats are those of `answer/place.rs`, as JSON, as a stream of events, as lines of JSON, and as an
//! array that is a stream. The content itself is never kept, and an event or a body may be of any size.

use std::time::Instant;

use http::HeaderValue;

use super::estimate::TextCount;
use super::json;
use super::operation::{Operation, Yields};
use super::sse::{Events, Sink};
use super::usage::Usage;
use facts::Facts;
use place::Place;
use success::Verdict;

mod facts;
mod figures;
mod kinds;
mod place;
mod text;
mod success;

const FINISH_REASONS_MAX: usize = 16;

/// How an answer is written, as far as its head says; its first bytes may say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// JSON, lines of JSON, or what its type does not tell.
    Json,
    Sse,
}

impl Kind {
    /// The kind that a `Content-Type` names, where a model answers; `None` for what holds no usage: pages,
    /// images, sound. Some say `text/plain` or `application/octet-stream` and mean JSON.
    #[must_use]
    pub fn of(content_type: &HeaderValue) -> Option<Kind> {
        const VAGUE: [&str; 2] = ["application/octet-stream", "text/plain"];

        let essence = essence(content_type)?;
        let is_vague = VAGUE.iter().any(|name| essence.eq_ignore_ascii_case(name));
        is_vague
            .then_some(Kind::Json)
            .or_else(|| Kind::by_name(content_type))
    }

    /// The same, of a type that is one for JSON or events by its name.
    #[must_use]
    pub fn by_name(content_type: &HeaderValue) -> Option<Kind> {
        const JSON: [&str; 10] = [
            "application/json",
            "application/x-json",
            "text/json",
            "application/x-ndjson",
            "application/ndjson",
            "application/jsonl",
            "application/x-jsonlines",
            "application/jsonlines",
            "application/json-lines",
            "application/json-seq",
        ];

        let essence = essence(content_type)?;
        if essence.eq_ignore_ascii_case("text/event-stream") {
            return Some(Kind::Sse);
        }
        let is = |name: &&str| essence.eq_ignore_ascii_case(name);
        let bytes = essence.as_bytes();
        let suffix = bytes.last_chunk::<5>();
        let is_json =
            JSON.iter().any(is) || suffix.is_some_and(|end| end.eq_ignore_ascii_case(b"+json"));
        is_json.then_some(Kind::Json)
    }

    /// The kind of an answer with this `Content-Type`, which it may lack.
    #[must_use]
    pub fn of_answer(content_type: Option<&HeaderValue>) -> Option<Kind> {
        content_type.map_or(Some(Kind::Json), Kind::of)
    }
}

/// A type without its parameters.
fn essence(content_type: &HeaderValue) -> Option<&str> {
    let text = content_type.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim_ascii())
}

/// How an answer comes, as its bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Nothing has come yet.
    Unseen,
    /// Events of a `text/event-stream`.
    Events,
    /// Documents of JSON, one after another.
    Lines,
    /// An array of documents.
    Array,
    /// One JSON text.
    Text,
    /// Nothing of these.
    Other,
}

impl Form {
    /// Whether it comes in parts that say which of them is the last, be it only by a bracket.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(self, Form::Events | Form::Lines | Form::Array)
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
    /// Of each choice its last, in the order in which they came.
    pub finish_reasons: Vec<Box<str>>,
    pub usage: Usage,
    /// When the first event with content came; `None` for an answer that is no stream.
    pub first_content_at: Option<Instant>,
    pub last_content_at: Option<Instant>,
    /// Events with content.
    pub chunks_with_content: u64,
    /// Its texts, for an estimate of its tokens; empty where it reported figures.
    pub text: TextCount,
    pub ending: Ending,
    /// Whether the tokens of its text may be estimated: its format is known, and it did not report a sum.
    pub is_estimable: bool,
    pub shape: Shape,
}

/// What an answer that came to its end lacks, whatever its format is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// Nothing.
    #[default]
    Some,
    /// Everything.
    Empty,
    /// It is a stream with nothing but keep-alives.
    NoEvents,
    /// Its JSON is not closed.
    Cut,
}

/// The reader of one answer. What it holds is bounded, whatever the answer is.
#[derive(Debug)]
pub struct AnswerReader {
    kind: Kind,
    operation: Option<Operation>,
    /// Bytes of a byte order mark that have come before anything else.
    mark_bytes: usize,
    events: Events,
    scanner: json::Scanner<Place>,
    facts: Facts,
    /// Of an answer to no known operation.
    verdict: Option<Box<Verdict>>,
    /// Whether what came last, of what is no stream of events, is the end of a line.
    ends_with_line: bool,
}

impl AnswerReader {
    /// For an answer to a request that asked for `operation`.
    #[must_use]
    pub fn new(kind: Kind, operation: Option<Operation>) -> Self {
        AnswerReader {
            kind,
            operation,
            mark_bytes: 0,
            events: Events::new(),
            scanner: json::Scanner::new(),
            facts: Facts::new(operation),
            verdict: operation.is_none().then(Box::default),
            ends_with_line: false,
        }
    }

    /// Reads the next chunk, which came at `now`.
    pub fn feed(&mut self, chunk: &[u8], now: Instant) {
        self.facts.now = Some(now);
        let rest = match self.facts.form {
            Form::Unseen => self.begin(chunk),
            _ => chunk,
        };
        match self.facts.form {
            Form::Unseen | Form::Other => {}
            Form::Events => {
                let (scanner, facts) = (&mut self.scanner, &mut self.facts);
                self.events.feed(rest, &mut Documents { scanner, facts });
            }
            Form::Lines | Form::Array | Form::Text => {
                self.scanner.feed(rest, &mut self.facts);
                if let Some(verdict) = &mut self.verdict {
                    verdict.feed(rest);
                }
                self.ends_with_line = rest.last() == Some(&b'\n');
            }
        }
    }

    /// How it is written, as far as its head says.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// How far it has come.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.facts.ending()
    }

    /// Whether the last event has come with its empty line, or the last of several lines with its end.
    #[must_use]
    pub fn is_dispatched(&self) -> bool {
        match self.facts.form {
            Form::Events => self.events.is_between_events(),
            Form::Lines => self.ends_with_line,
            Form::Unseen | Form::Array | Form::Text | Form::Other => true,
        }
    }

    /// Whether it has ended only as far as nothing follows: its format names no last event.
    #[must_use]
    pub fn ends_by_guess(&self) -> bool {
        self.facts.ends_by_guess()
    }

    /// What was asked for.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.operation
    }

    /// How it comes.
    #[must_use]
    pub fn form(&self) -> Form {
        self.facts.form()
    }

    /// Whether what was fed is a whole and good answer of its operation: a stream with its finish reason
    /// and its terminal event, a JSON text that is closed and has all that belongs to it, none with an
    /// error. Only such an answer may be given to somebody else.
    #[must_use]
    pub fn is_good(&self) -> bool {
        let facts = &self.facts;
        if facts.is_damaged || facts.is_interrupted || self.ending() == Ending::Failed {
            return false;
        }
        let is_between = self.scanner.is_between_documents();
        match facts.form {
            Form::Unseen | Form::Other => false,
            Form::Events | Form::Lines => is_between && facts.is_generated() && facts.has_ended(),
            Form::Array if facts.is_generating() => is_between && facts.is_generated(),
            Form::Array | Form::Text => is_between && self.is_complete(),
        }
    }

    /// Whether a JSON text has what an answer to its operation must have.
    fn is_complete(&self) -> bool {
        let facts = &self.facts;
        match self.operation.map(Operation::yields) {
            Some(Yields::Text) => facts.is_generated(),
            Some(Yields::Results) => facts.has_results,
            Some(Yields::Figures) => facts.has_figures(),
            Some(Yields::Other) => facts.has_members,
            None => {
                let verdict = self.verdict.as_ref();
                facts.has_members
                    && (facts.is_generated() || !facts.is_generating())
                    && verdict.is_none_or(|verdict| verdict.is_good())
            }
        }
    }

    /// What the answer said, also when it was cut short.
    #[must_use]
    pub fn finish(self) -> Said {
        let AnswerReader {
            events,
            mut scanner,
            mut facts,
            ..
        } = self;
        facts.is_at_end = true;
        if facts.form == Form::Events {
            let (scanner, facts) = (&mut scanner, &mut facts);
            events.finish(&mut Documents { scanner, facts });
        }
        scanner.end(&mut facts);
        facts.finish()
    }

    /// Bytes held between two chunks, for tests of the bound.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.events.held_bytes()
            + self.scanner.held_bytes()
            + self.facts.held_bytes()
    }

    /// Finds out by the first bytes how the answer comes, and gives what of them is to be read.
    fn begin<'a>(&mut self, mut chunk: &'a [u8]) -> &'a [u8] {
        const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

        while let Some((&byte, after)) = chunk.split_first() {
            match byte {
                _ if BYTE_ORDER_MARK.get(self.mark_bytes) == Some(&byte) => self.mark_bytes += 1,
                // RFC 7464: a text of a sequence begins with RS.
                b' ' | b'\t' | b'\r' | b'\n' | 0x1e => {}
                b'{' | b'[' => {
                    self.facts.form = Form::Text;
                    break;
                }
                // A field of an event, or a comment. None of them begins JSON.
                b':' | b'd' | b'e' | b'i' | b'r' => {
                    self.facts.form = Form::Events;
                    break;
                }
                _ => {
                    self.facts.form = match self.kind {
                        Kind::Sse => Form::Events,
                        Kind::Json => Form::Other,
                    };
                    break;
                }
            }
            chunk = after;
        }
        chunk
    }
}

/// The data of each event is a document.
struct Documents<'a> {
    scanner: &'a mut json::Scanner<Place>,
    facts: &'a mut Facts,
}

impl Sink for Documents<'_> {
    fn data(&mut self, piece: &[u8]) {
        self.scanner.feed(piece, self.facts);
    }

    fn name(&mut self, name: &[u8]) {
        self.facts.event_named(name);
    }

    fn end(&mut self) {
        self.scanner.end(self.facts);
        self.facts.event_ended();
    }
}

#[cfg(test)]
mod tests;
