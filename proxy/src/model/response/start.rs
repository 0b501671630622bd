//! Classifies the start of a response with status 200: whether it has brought anything yet that a client waits for, or an
//! error.
//!
//! Providers begin a stream before the model has produced anything: with a delta that has only a role, with
//! `response.created`, `message_start` or pings. An error that follows them is as good as an error status: the client has
//! received nothing that it could use. Content, comments and events of unknown kinds end the start. So does JSON that does
//! not look like an error; JSON that does is read to its end.
//!
//! Pure: bytes are passed in.

use std::time::Instant;

use memchr::{memchr2, memmem};
use serde_json::Value;

use super::{ResponseFormat, ResponseReader};
use crate::model::ending::Ending;
use crate::model::operation::Operation;

/// The most events that belong to a start.
const EVENTS_MAX: usize = 64;
/// The longest start in bytes.
const BYTES_MAX: usize = 256 * 1024;
/// The longest JSON text that is read to find an error in it.
const JSON_BYTES_MAX: usize = 64 * 1024;
/// An error is named within the first bytes of a JSON text, if it is one.
const JSON_PREFIX_BYTES: usize = 1024;
/// Members of which an error has at least one, in every format.
const ERROR_MEMBERS: [&[u8]; 3] = [b"\"error", b"\"code\"", b"\"base_resp\""];
/// The end of a document in a stream of them.
const END_OF_DOCUMENT: &[u8] = b"}\n";

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What the start of a response has brought so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseStart {
    /// Only start-up events, or the beginning of JSON that may be an error.
    Pending,
    /// Anything else: it is no longer the start.
    Begun,
    /// An error, and nothing before it.
    Failed,
}

/// Whether the text is one of events or JSON, by its first byte: some servers send either with the type of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartLayout {
    Undetermined,
    Events,
    Json,
}

/// Reads the start of one response.
#[derive(Debug)]
pub struct StartReader {
    format: ResponseFormat,
    operation: Option<Operation>,
    layout: StartLayout,
    /// Once there is something that may be an error.
    reader: Option<Box<ResponseReader>>,
    /// All that has arrived.
    bytes: Vec<u8>,
    /// Where the current line begins.
    line: usize,
    /// Where the current event begins.
    event: usize,
    name: Option<Box<[u8]>>,
    data: Vec<u8>,
    events: usize,
    found: ResponseStart,
}

impl StartReader {
    /// For a response of this format to a request for `operation`.
    #[must_use]
    pub fn new(format: ResponseFormat, operation: Option<Operation>) -> Self {
        StartReader {
            format,
            operation,
            layout: StartLayout::Undetermined,
            reader: None,
            bytes: Vec::new(),
            line: 0,
            event: 0,
            name: None,
            data: Vec::new(),
            events: 0,
            found: ResponseStart::Pending,
        }
    }

    /// What has been found so far.
    #[must_use]
    pub fn found(&self) -> ResponseStart {
        self.found
    }

    /// Reads the next piece, which arrived at `now`.
    pub fn feed(&mut self, piece: &[u8], now: Instant) {
        if self.found != ResponseStart::Pending {
            return;
        }
        self.bytes.extend_from_slice(piece);
        if self.layout == StartLayout::Undetermined {
            self.layout = layout(&self.bytes);
        }
        match self.layout {
            StartLayout::Undetermined if self.bytes.len() > BYTES_MAX => {
                self.found = ResponseStart::Begun;
            }
            StartLayout::Undetermined => {}
            StartLayout::Events => self.read_events(now),
            StartLayout::Json => self.read_json(piece, now),
        }
    }

    /// The response has ended: reads an event whose blank line is missing.
    pub fn finish(&mut self, now: Instant) {
        if self.layout == StartLayout::Events {
            self.feed(b"\n\n", now);
        }
    }

    /// Reads JSON only where one of its first members is one of an error.
    fn read_json(&mut self, piece: &[u8], now: Instant) {
        let ending = match &mut self.reader {
            Some(reader) => {
                reader.feed(piece, now);
                reader.ending()
            }
            None => {
                let text = without_mark(&self.bytes);
                let begin = &text[..text.len().min(JSON_PREFIX_BYTES)];
                let names = |member: &&[u8]| memmem::find(begin, member).is_some();
                let is_short =
                    text.len() < JSON_PREFIX_BYTES && memmem::find(text, END_OF_DOCUMENT).is_none();
                if !ERROR_MEMBERS.iter().any(names) {
                    if !is_short {
                        self.found = ResponseStart::Begun;
                    }
                    return;
                }
                let reader = ResponseReader::new(self.format, self.operation);
                let reader = self.reader.insert(Box::new(reader));
                reader.feed(&self.bytes, now);
                reader.ending()
            }
        };
        self.found = match ending {
            Ending::Failed => ResponseStart::Failed,
            Ending::Unknown | Ending::Open if self.bytes.len() <= JSON_BYTES_MAX => {
                ResponseStart::Pending
            }
            Ending::Unknown | Ending::Open | Ending::Finished | Ending::Terminal => {
                ResponseStart::Begun
            }
        };
    }

    fn read_events(&mut self, now: Instant) {
        while self.found == ResponseStart::Pending
            && let Some(length) = memchr2(b'\n', b'\r', &self.bytes[self.line..])
        {
            let end = self.line + length;
            let is_cr = self.bytes[end] == b'\r';
            let next = match self.bytes.get(end + 1) {
                Some(b'\n') if is_cr => end + 2,
                // A line feed may follow.
                None if is_cr => break,
                _ => end + 1,
            };
            self.line_ended(end, next, now);
            self.line = next;
        }
        let is_comment = self.bytes[self.line..].starts_with(b":");
        let is_too_long = self.bytes.len() > BYTES_MAX || self.events >= EVENTS_MAX;
        if self.found == ResponseStart::Pending && (is_comment || is_too_long) {
            self.found = ResponseStart::Begun;
        }
    }

    fn line_ended(&mut self, end: usize, next: usize, now: Instant) {
        let mut line = &self.bytes[self.line..end];
        if self.line == 0 {
            line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
        }
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            b"event" => self.name = Some(value.into()),
            b"id" | b"retry" => {}
            b"" if line.is_empty() => self.event_ended(next, now),
            // A comment, or no stream of events.
            _ => self.found = ResponseStart::Begun,
        }
    }

    fn event_ended(&mut self, next: usize, now: Instant) {
        let name = self.name.take();
        let data = std::mem::take(&mut self.data);
        let event = std::mem::replace(&mut self.event, next);
        if name.is_none() && data.is_empty() {
            return;
        }
        self.events += 1;
        let (format, operation) = (ResponseFormat::Sse, self.operation);
        let begin = || Box::new(ResponseReader::new(format, operation));
        let reader = self.reader.get_or_insert_with(begin);
        reader.feed(&self.bytes[event..next], now);
        self.found = match reader.ending() {
            Ending::Failed => ResponseStart::Failed,
            _ if is_start_up(name.as_deref(), &data) => ResponseStart::Pending,
            _ => ResponseStart::Begun,
        };
    }
}

/// The text without a byte order mark and white space in front of it.
fn without_mark(bytes: &[u8]) -> &[u8] {
    let text = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    text.trim_ascii_start()
}

/// The layout by the first byte that is not a space.
fn layout(bytes: &[u8]) -> StartLayout {
    match without_mark(bytes).first() {
        Some(b'{' | b'[') => StartLayout::Json,
        Some(_) if BYTE_ORDER_MARK.starts_with(bytes) => StartLayout::Undetermined,
        Some(_) => StartLayout::Events,
        None => StartLayout::Undetermined,
    }
}

/// Whether an event brings nothing that a client waits for.
fn is_start_up(name: Option<&[u8]>, data: &[u8]) -> bool {
    let data = data.trim_ascii();
    if data.is_empty() {
        return name.is_some_and(is_start_up_type);
    }
    let Ok(Value::Object(event)) = serde_json::from_slice(data) else {
        return false;
    };
    if let Some(choices) = event.get("choices") {
        let choices = choices.as_array();
        return choices.is_some_and(|choices| choices.iter().all(is_empty_choice));
    }
    let kind = ["type", "event_type"]
        .iter()
        .find_map(|key| event.get(*key));
    match kind {
        Some(kind) => kind
            .as_str()
            .is_some_and(|kind| is_start_up_type(kind.as_bytes())),
        None => name.is_some_and(is_start_up_type),
    }
}

fn is_start_up_type(kind: &[u8]) -> bool {
    matches!(
        kind,
        b"response.created"
            | b"response.queued"
            | b"response.in_progress"
            | b"message_start"
            | b"ping"
            | b"message-start"
            | b"stream-start"
    )
}

/// Whether a choice of OpenAI's format has a delta without content: a role, and members that are empty.
fn is_empty_choice(choice: &Value) -> bool {
    let Value::Object(choice) = choice else {
        return false;
    };
    choice.iter().all(|(name, value)| match name.as_str() {
        "index" => true,
        "delta" => is_empty_delta(value),
        "content_filter_results" | "content_filter_offsets" => true,
        _ => is_empty(value),
    })
}

fn is_empty_delta(delta: &Value) -> bool {
    match delta {
        Value::Object(delta) => delta
            .iter()
            .all(|(name, value)| name == "role" || is_empty(value)),
        value => is_empty(value),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
#[path = "start_tests.rs"]
mod tests;
