//! A request that is a JSON object, in the format of any provider.

use super::ParsedRequest;
use crate::model::estimate::TextPart;
use crate::model::json::{
    self, Container, DocumentEnd, Interest, JsonScanner, JsonValue, NameTable, Visitor,
};

/// Members of the request.
static REQUEST: NameTable<RequestPosition> = NameTable::new(&[
    (b"model", RequestPosition::Model),
    (b"stream", RequestPosition::Stream),
    (b"stream_options", RequestPosition::StreamOptions),
    // Texts of the prompt.
    (b"messages", RequestPosition::Texts),
    (b"prompt", RequestPosition::Texts),
    (b"input", RequestPosition::Texts),
    (b"system", RequestPosition::Texts),
    (b"instructions", RequestPosition::Texts),
    // Gemini's; `requests` is a batch.
    (b"contents", RequestPosition::Texts),
    (b"content", RequestPosition::Texts),
    (b"systemInstruction", RequestPosition::Texts),
    (b"system_instruction", RequestPosition::Texts),
    (b"generateContentRequest", RequestPosition::Texts),
    (b"requests", RequestPosition::Texts),
    (b"instances", RequestPosition::Texts),
    // Cohere's and those of rerankers.
    (b"message", RequestPosition::Texts),
    (b"chat_history", RequestPosition::Texts),
    (b"preamble", RequestPosition::Texts),
    (b"documents", RequestPosition::Texts),
    (b"query", RequestPosition::Texts),
    (b"texts", RequestPosition::Texts),
    (b"inputs", RequestPosition::Texts),
    // Those of completions and of Ollama.
    (b"suffix", RequestPosition::Texts),
    (b"template", RequestPosition::Texts),
    (b"negative_prompt", RequestPosition::Texts),
    // JSON that is part of the prompt as written, including member names.
    (b"tools", RequestPosition::RawJson),
    (b"functions", RequestPosition::RawJson),
    (b"response_format", RequestPosition::RawJson),
    (b"text", RequestPosition::RawJson),
    (b"format", RequestPosition::RawJson),
    (b"generationConfig", RequestPosition::RawJson),
]);

/// Members of a message that are not plain texts.
static MESSAGE: NameTable<MessageMember, 128> = NameTable::new(&[
    (b"role", MessageMember::Role),
    // Input and output of tools: part of the prompt as written.
    (b"input", MessageMember::At(RequestPosition::RawJson)),
    (b"args", MessageMember::At(RequestPosition::RawJson)),
    (b"response", MessageMember::At(RequestPosition::RawJson)),
    (b"parameters", MessageMember::At(RequestPosition::RawJson)),
    // Types, identifiers, and data that is not text.
    (b"type", MessageMember::At(RequestPosition::Ignored)),
    (b"id", MessageMember::At(RequestPosition::Ignored)),
    (b"object", MessageMember::At(RequestPosition::Ignored)),
    (b"status", MessageMember::At(RequestPosition::Ignored)),
    (b"index", MessageMember::At(RequestPosition::Ignored)),
    (b"model", MessageMember::At(RequestPosition::Ignored)),
    (b"detail", MessageMember::At(RequestPosition::Ignored)),
    (b"format", MessageMember::At(RequestPosition::Ignored)),
    (b"phase", MessageMember::At(RequestPosition::Ignored)),
    (b"url", MessageMember::At(RequestPosition::Ignored)),
    (b"uri", MessageMember::At(RequestPosition::Ignored)),
    (b"image_url", MessageMember::At(RequestPosition::Ignored)),
    (b"video_url", MessageMember::At(RequestPosition::Ignored)),
    (b"audio_url", MessageMember::At(RequestPosition::Ignored)),
    (b"file_url", MessageMember::At(RequestPosition::Ignored)),
    (b"data", MessageMember::At(RequestPosition::Ignored)),
    (b"b64_json", MessageMember::At(RequestPosition::Ignored)),
    (
        b"bytesBase64Encoded",
        MessageMember::At(RequestPosition::Ignored),
    ),
    (b"image", MessageMember::At(RequestPosition::Ignored)),
    (b"images", MessageMember::At(RequestPosition::Ignored)),
    (b"audio", MessageMember::At(RequestPosition::Ignored)),
    (b"input_audio", MessageMember::At(RequestPosition::Ignored)),
    (b"file", MessageMember::At(RequestPosition::Ignored)),
    (b"file_id", MessageMember::At(RequestPosition::Ignored)),
    (b"file_data", MessageMember::At(RequestPosition::Ignored)),
    (b"fileData", MessageMember::At(RequestPosition::Ignored)),
    (b"fileUri", MessageMember::At(RequestPosition::Ignored)),
    (b"filename", MessageMember::At(RequestPosition::Ignored)),
    (b"inline_data", MessageMember::At(RequestPosition::Ignored)),
    (b"inlineData", MessageMember::At(RequestPosition::Ignored)),
    (b"mime_type", MessageMember::At(RequestPosition::Ignored)),
    (b"mimeType", MessageMember::At(RequestPosition::Ignored)),
    (b"media_type", MessageMember::At(RequestPosition::Ignored)),
    (b"tool_call_id", MessageMember::At(RequestPosition::Ignored)),
    (b"tool_use_id", MessageMember::At(RequestPosition::Ignored)),
    (b"call_id", MessageMember::At(RequestPosition::Ignored)),
    (b"signature", MessageMember::At(RequestPosition::Ignored)),
    (
        b"thoughtSignature",
        MessageMember::At(RequestPosition::Ignored),
    ),
    (
        b"encrypted_content",
        MessageMember::At(RequestPosition::Ignored),
    ),
]);

/// A member of a message.
#[derive(Clone, Copy, Debug)]
enum MessageMember {
    Role,
    At(RequestPosition),
}

/// The position of a value in a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RequestPosition {
    Request,
    Ignored,
    Model,
    Stream,
    StreamOptions,
    IncludeUsage,
    /// Texts, and the containers around them.
    Texts,
    /// JSON that is part of the prompt as written.
    RawJson,
}

impl json::JsonPosition for RequestPosition {
    const ROOT: Self = RequestPosition::Request;
    const IGNORED: Self = RequestPosition::Ignored;

    fn interest(self) -> Interest {
        match self {
            RequestPosition::Request
            | RequestPosition::Ignored
            | RequestPosition::StreamOptions => Interest::Nothing,
            RequestPosition::Model | RequestPosition::Stream | RequestPosition::IncludeUsage => {
                Interest::Short
            }
            RequestPosition::Texts | RequestPosition::RawJson => Interest::Text,
        }
    }
}

/// Reads a JSON request.
#[derive(Debug)]
pub(super) struct RequestObject {
    scanner: JsonScanner<RequestPosition>,
    /// The default of `stream`.
    streams_by_default: bool,
    is_complete: bool,
}

impl RequestObject {
    pub(super) fn new(streams_by_default: bool) -> Self {
        RequestObject {
            scanner: JsonScanner::new(),
            streams_by_default,
            is_complete: false,
        }
    }

    pub(super) fn feed(&mut self, piece: &[u8], parsed: &mut ParsedRequest) {
        if self.is_complete {
            return;
        }
        let mut visitor = RequestVisitor {
            parsed,
            streams_by_default: self.streams_by_default,
            is_complete: &mut self.is_complete,
        };
        self.scanner.feed(piece, &mut visitor);
    }

    /// The visitor, for another parser of the object.
    pub(super) fn visitor<'a>(&'a mut self, parsed: &'a mut ParsedRequest) -> RequestVisitor<'a> {
        RequestVisitor {
            parsed,
            streams_by_default: self.streams_by_default,
            is_complete: &mut self.is_complete,
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    pub(super) fn streams_by_default(&self) -> bool {
        self.streams_by_default
    }
}

/// Collects what is needed of the object.
pub struct RequestVisitor<'a> {
    parsed: &'a mut ParsedRequest,
    streams_by_default: bool,
    is_complete: &'a mut bool,
}

impl Visitor for RequestVisitor<'_> {
    type Position = RequestPosition;

    fn member(&mut self, of: RequestPosition, name: &[u8]) -> RequestPosition {
        match of {
            // What follows the object is not part of the request.
            RequestPosition::Request if *self.is_complete => RequestPosition::Ignored,
            RequestPosition::Request => REQUEST.find(name).unwrap_or(RequestPosition::Ignored),
            RequestPosition::StreamOptions if name == b"include_usage" => {
                RequestPosition::IncludeUsage
            }
            RequestPosition::Texts => match MESSAGE.find(name) {
                Some(MessageMember::At(place)) => place,
                Some(MessageMember::Role) => {
                    self.parsed.text.begin(TextPart::Message);
                    RequestPosition::Ignored
                }
                None => RequestPosition::Texts,
            },
            RequestPosition::RawJson => {
                self.parsed.text.begin(TextPart::Member);
                self.parsed.text.add(name);
                RequestPosition::RawJson
            }
            _ => RequestPosition::Ignored,
        }
    }

    fn element(&mut self, of: RequestPosition) -> RequestPosition {
        match of {
            RequestPosition::Texts | RequestPosition::RawJson => of,
            _ => RequestPosition::Ignored,
        }
    }

    fn open(&mut self, at: RequestPosition, _container: Container) {
        self.reset(at);
    }

    fn value(&mut self, at: RequestPosition, value: JsonValue<'_>) {
        self.reset(at);
        match (at, value) {
            (RequestPosition::Model, JsonValue::String(name)) => self.parsed.set_model(name),
            (RequestPosition::Stream, JsonValue::True) => self.parsed.stream = true,
            (RequestPosition::Stream, JsonValue::False) => self.parsed.stream = false,
            (RequestPosition::IncludeUsage, JsonValue::True) => self.parsed.include_usage = true,
            (RequestPosition::Texts, JsonValue::Number(_)) => {
                self.parsed.text.begin(TextPart::Token);
            }
            (RequestPosition::RawJson, JsonValue::Number(written)) => self.parsed.text.add(written),
            _ => {}
        }
    }

    fn text(&mut self, at: RequestPosition, piece: &[u8]) {
        if matches!(at, RequestPosition::Texts | RequestPosition::RawJson) {
            self.parsed.text.add(piece);
        }
    }

    fn end(&mut self, _end: DocumentEnd) {
        *self.is_complete = true;
    }
}

impl RequestVisitor<'_> {
    /// A duplicate member replaces the previous one, whatever its value.
    fn reset(&mut self, at: RequestPosition) {
        match at {
            RequestPosition::Model => self.parsed.model = None,
            RequestPosition::Stream => self.parsed.stream = self.streams_by_default,
            RequestPosition::IncludeUsage => self.parsed.include_usage = false,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, header};

    use super::*;
    use crate::model::operation::Operation;
    use crate::model::request::RequestReader;

    const JSON: &str = "application/json";
    const FORM: &str = "multipart/form-data; boundary=cut-here";

    #[test]
    fn a_body_read_by_another_parser_need_not_be_fed() {
        let body = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"why"}]}"#;
        let path = "/v1/chat/completions";
        let new = |content_type| {
            let content_type = HeaderValue::from_static(content_type);
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]);
            RequestReader::of(Operation::Chat, path, &headers)
        };
        let fed = |content_type| {
            let mut reader = new(content_type);
            reader.feed(body);
            reader.finish()
        };
        let parse = |reader: &mut RequestReader, text: &[u8]| {
            reader.with_visitor(|visitor| JsonScanner::new().feed(text, visitor));
        };

        let mut reader = new(JSON);
        parse(&mut reader, body);
        assert!(reader.is_complete());
        reader.feed(br#"{"model":"other"}"#);
        assert_eq!(reader.finish(), fed(JSON));

        // An incomplete body counts as unread.
        let mut reader = new(JSON);
        parse(&mut reader, &body[..50]);
        assert!(!reader.is_complete());
        assert_eq!(reader.facts(), new(JSON).finish());
        reader.feed(body);
        assert_eq!(reader.finish(), fed(JSON));

        // A form is not JSON, even if its body is.
        let mut reader = new(FORM);
        parse(&mut reader, body);
        assert!(!reader.is_complete());
        reader.feed(body);
        assert_eq!(reader.finish(), fed(FORM));
    }
}
