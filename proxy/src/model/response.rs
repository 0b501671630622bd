//! Reads the response of a model call: model, finish reasons, token usage, when content arrived, how it ended, and
//! whether it is complete and successful, so that it may be stored.
//!
//! Supported are the formats of `response/position.rs`, as JSON, as an event stream, as lines of JSON, and as a
//! streamed array. The content is not stored, and events and bodies may have any size.

use std::time::Instant;

use http::HeaderValue;

use super::ending::Ending;
use super::estimate::TokenEstimator;
use super::json;
use super::operation::{Operation, OperationOutput};
use super::sse::{SseParser, SseSink};
use super::usage::Usage;
use facts::Facts;
use position::ResponsePosition;
use success::SuccessCheck;

mod facts;
mod kinds;
mod position;
pub mod start;
mod success;
mod text;
mod usage_report;

const FINISH_REASONS_MAX: usize = 16;

/// The format of a response according to its head; its first bytes may reveal another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseFormat {
    /// JSON, lines of JSON, or a generic type.
    Json,
    Sse,
}

impl ResponseFormat {
    /// The format of this `Content-Type`; `None` for types without usage: pages, images, audio. Some servers send JSON
    /// as `text/plain` or `application/octet-stream`.
    #[must_use]
    pub fn of(content_type: &HeaderValue) -> Option<ResponseFormat> {
        const VAGUE: [&str; 2] = ["application/octet-stream", "text/plain"];

        let essence = essence(content_type)?;
        let is_vague = VAGUE.iter().any(|name| essence.eq_ignore_ascii_case(name));
        is_vague
            .then_some(ResponseFormat::Json)
            .or_else(|| ResponseFormat::by_name(content_type))
    }

    /// The format by its content type, only for types that denote JSON or events.
    #[must_use]
    pub fn by_name(content_type: &HeaderValue) -> Option<ResponseFormat> {
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
            return Some(ResponseFormat::Sse);
        }
        let is = |name: &&str| essence.eq_ignore_ascii_case(name);
        let bytes = essence.as_bytes();
        let suffix = bytes.last_chunk::<5>();
        let is_json =
            JSON.iter().any(is) || suffix.is_some_and(|end| end.eq_ignore_ascii_case(b"+json"));
        is_json.then_some(ResponseFormat::Json)
    }

    /// The format of a response that may have no `Content-Type`.
    #[must_use]
    pub fn of_response(content_type: Option<&HeaderValue>) -> Option<ResponseFormat> {
        content_type.map_or(Some(ResponseFormat::Json), ResponseFormat::of)
    }
}

/// The media type without its parameters.
fn essence(content_type: &HeaderValue) -> Option<&str> {
    let text = content_type.to_str().ok()?;
    Some(text.split(';').next().unwrap_or(text).trim_ascii())
}

/// The layout of a response, detected by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseLayout {
    /// Nothing has arrived yet.
    Undetermined,
    /// Events of a `text/event-stream`.
    Events,
    /// JSON documents, one after another.
    Lines,
    /// An array of documents.
    Array,
    /// One JSON text.
    Text,
    /// None of these.
    Other,
}

impl ResponseLayout {
    /// Whether it is a stream whose end can be recognised, if only by a bracket.
    #[must_use]
    pub fn is_stream(self) -> bool {
        matches!(
            self,
            ResponseLayout::Events | ResponseLayout::Lines | ResponseLayout::Array
        )
    }
}

/// What was read of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResponseFacts {
    pub model: Option<Box<str>>,
    /// The last one of each choice, in order of arrival.
    pub finish_reasons: Vec<Box<str>>,
    pub usage: Usage,
    /// When the first event with content arrived; `None` for a response that is not a stream.
    pub first_content_at: Option<Instant>,
    pub last_content_at: Option<Instant>,
    /// Events with content.
    pub chunks_with_content: u64,
    /// Estimates the tokens of its texts; empty if it reported its usage.
    pub text: TokenEstimator,
    pub ending: Ending,
    /// Whether its tokens may be estimated: its format is known, and it reported no total.
    pub is_estimable: bool,
    pub completeness: Completeness,
}

impl ResponseFacts {
    /// Whether a response with a complete framing lacks its terminal event, or the content that it should have.
    #[must_use]
    pub fn is_incomplete(&self, operation: Operation, status: u16) -> bool {
        let lacks_end = self.ending == Ending::Open;
        match operation.output() {
            OperationOutput::Text if self.ending == Ending::Terminal => false,
            OperationOutput::Text => match self.completeness {
                Completeness::Complete => lacks_end,
                Completeness::Empty => status == 200,
                Completeness::NoEvents | Completeness::Truncated => true,
            },
            OperationOutput::Other => lacks_end,
            OperationOutput::Results | OperationOutput::TokenCount => false,
        }
    }
}

/// What is missing of a response that has ended, in any format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completeness {
    /// Nothing.
    #[default]
    Complete,
    /// Everything.
    Empty,
    /// It is a stream with nothing but keep-alives.
    NoEvents,
    /// Its JSON is not complete.
    Truncated,
}

/// Reads one response, in bounded memory.
#[derive(Clone, Debug)]
pub struct ResponseReader {
    format: ResponseFormat,
    operation: Option<Operation>,
    /// Bytes of a byte order mark that have arrived.
    mark_bytes: usize,
    events: SseParser,
    scanner: json::JsonScanner<ResponsePosition>,
    facts: Facts,
    /// For a response to no known operation.
    success_check: Option<Box<SuccessCheck>>,
    /// Whether the last byte ended a line, unless it is an event stream.
    ends_with_line: bool,
}

impl ResponseReader {
    /// For a response to a request for `operation`.
    #[must_use]
    pub fn new(format: ResponseFormat, operation: Option<Operation>) -> Self {
        ResponseReader {
            format,
            operation,
            mark_bytes: 0,
            events: SseParser::new(),
            scanner: json::JsonScanner::new(),
            facts: Facts::new(operation),
            success_check: operation.is_none().then(Box::default),
            ends_with_line: false,
        }
    }

    /// Reads the next piece, which arrived at `now`.
    pub fn feed(&mut self, chunk: &[u8], now: Instant) {
        self.facts.now = Some(now);
        let rest = match self.facts.layout {
            ResponseLayout::Undetermined => self.begin(chunk),
            _ => chunk,
        };
        match self.facts.layout {
            ResponseLayout::Undetermined | ResponseLayout::Other => {}
            ResponseLayout::Events => {
                let (scanner, facts) = (&mut self.scanner, &mut self.facts);
                self.events.feed(rest, &mut Documents { scanner, facts });
            }
            ResponseLayout::Lines | ResponseLayout::Array | ResponseLayout::Text => {
                self.scanner.feed(rest, &mut self.facts);
                if let Some(success_check) = &mut self.success_check {
                    success_check.feed(rest);
                }
                self.ends_with_line = rest.last() == Some(&b'\n');
            }
        }
    }

    /// The format according to the head.
    #[must_use]
    pub fn format(&self) -> ResponseFormat {
        self.format
    }

    /// How far it has progressed.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.facts.ending()
    }

    /// Whether the last event or line is terminated.
    #[must_use]
    pub fn is_dispatched(&self) -> bool {
        match self.facts.layout {
            ResponseLayout::Events => self.events.is_between_events(),
            ResponseLayout::Lines => self.ends_with_line,
            ResponseLayout::Undetermined
            | ResponseLayout::Array
            | ResponseLayout::Text
            | ResponseLayout::Other => true,
        }
    }

    /// Whether its end is inferred because its format has no terminal event: more may follow.
    #[must_use]
    pub fn end_is_inferred(&self) -> bool {
        self.facts.end_is_inferred()
    }

    /// The operation of its request.
    #[must_use]
    pub fn operation(&self) -> Option<Operation> {
        self.operation
    }

    /// The layout according to the first bytes.
    #[must_use]
    pub fn layout(&self) -> ResponseLayout {
        self.facts.layout()
    }

    /// Whether it is a complete and successful response to its operation: a stream with finish reasons and terminal
    /// event, or a complete JSON text with all that the operation requires, without an error. Only such a response
    /// may be stored.
    #[must_use]
    pub fn is_successful(&self) -> bool {
        let facts = &self.facts;
        if facts.is_damaged || facts.is_interrupted || self.ending() == Ending::Failed {
            return false;
        }
        let is_between = self.scanner.is_between_documents();
        match facts.layout {
            ResponseLayout::Undetermined | ResponseLayout::Other => false,
            ResponseLayout::Events | ResponseLayout::Lines => {
                is_between && facts.is_generated() && facts.has_ended()
            }
            ResponseLayout::Array if facts.is_text_generation() => {
                is_between && facts.is_generated()
            }
            ResponseLayout::Array | ResponseLayout::Text => is_between && self.is_complete(),
        }
    }

    /// Whether a JSON text has all that its operation requires.
    fn is_complete(&self) -> bool {
        let facts = &self.facts;
        match self.operation.map(Operation::output) {
            Some(OperationOutput::Text) => facts.is_generated(),
            Some(OperationOutput::Results) => facts.has_results,
            Some(OperationOutput::TokenCount) => facts.has_usage(),
            Some(OperationOutput::Other) => facts.has_members,
            None => {
                let success_check = self.success_check.as_ref();
                facts.has_members
                    && (facts.is_generated() || !facts.is_text_generation())
                    && success_check.is_none_or(|success_check| success_check.is_successful())
            }
        }
    }

    /// What was read, also of a truncated response.
    #[must_use]
    pub fn finish(self) -> ResponseFacts {
        let ResponseReader {
            events,
            mut scanner,
            mut facts,
            ..
        } = self;
        facts.is_at_end = true;
        if facts.layout == ResponseLayout::Events {
            let (scanner, facts) = (&mut scanner, &mut facts);
            events.finish(&mut Documents { scanner, facts });
        }
        scanner.end(&mut facts);
        facts.finish()
    }

    /// Bytes held between chunks, for tests of the bound.
    #[cfg(test)]
    fn held_bytes(&self) -> usize {
        size_of::<Self>()
            + self.events.held_bytes()
            + self.scanner.held_bytes()
            + self.facts.held_bytes()
    }

    /// Detects the layout by the first bytes, and returns the rest.
    fn begin<'a>(&mut self, mut chunk: &'a [u8]) -> &'a [u8] {
        const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

        while let Some((&byte, after)) = chunk.split_first() {
            match byte {
                _ if BYTE_ORDER_MARK.get(self.mark_bytes) == Some(&byte) => self.mark_bytes += 1,
                // RFC 7464: each text of a sequence begins with RS.
                b' ' | b'\t' | b'\r' | b'\n' | 0x1e => {}
                b'{' | b'[' => {
                    self.facts.layout = ResponseLayout::Text;
                    break;
                }
                // A field of an event, or a comment; no JSON document of a response begins like this.
                b':' | b'd' | b'e' | b'i' | b'r' => {
                    self.facts.layout = ResponseLayout::Events;
                    break;
                }
                _ => {
                    self.facts.layout = match self.format {
                        ResponseFormat::Sse => ResponseLayout::Events,
                        ResponseFormat::Json => ResponseLayout::Other,
                    };
                    break;
                }
            }
            chunk = after;
        }
        chunk
    }
}

/// Parses the data of each event as a document.
struct Documents<'a> {
    scanner: &'a mut json::JsonScanner<ResponsePosition>,
    facts: &'a mut Facts,
}

impl SseSink for Documents<'_> {
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
