//! A request that is a JSON object, in the format of any provider.

use super::Found;
use crate::model::estimate::Part;
use crate::model::json::{self, Container, End, Names, Scanner, Value, Visitor, Wants};

/// Members of the request.
static REQUEST: Names<Place> = Names::new(&[
    (b"model", Place::Model),
    (b"stream", Place::Stream),
    (b"stream_options", Place::StreamOptions),
    // Texts that the model is sent.
    (b"messages", Place::Texts),
    (b"prompt", Place::Texts),
    (b"input", Place::Texts),
    (b"system", Place::Texts),
    (b"instructions", Place::Texts),
    // Gemini's, where `requests` are several questions in one.
    (b"contents", Place::Texts),
    (b"content", Place::Texts),
    (b"systemInstruction", Place::Texts),
    (b"system_instruction", Place::Texts),
    (b"generateContentRequest", Place::Texts),
    (b"requests", Place::Texts),
    (b"instances", Place::Texts),
    // Cohere's, and those of rerankers.
    (b"message", Place::Texts),
    (b"chat_history", Place::Texts),
    (b"preamble", Place::Texts),
    (b"documents", Place::Texts),
    (b"query", Place::Texts),
    (b"texts", Place::Texts),
    (b"inputs", Place::Texts),
    // Of completions, and of Ollama's.
    (b"suffix", Place::Texts),
    (b"template", Place::Texts),
    (b"negative_prompt", Place::Texts),
    // JSON that the model is sent as it is written, with its names.
    (b"tools", Place::Scheme),
    (b"functions", Place::Scheme),
    (b"response_format", Place::Scheme),
    (b"text", Place::Scheme),
    (b"format", Place::Scheme),
    (b"generationConfig", Place::Scheme),
]);

/// Members of a message that are not plain texts.
static MESSAGE: Names<Member, 128> = Names::new(&[
    (b"role", Member::Role),
    // Input and output of tools: the model is sent it as it is written.
    (b"input", Member::At(Place::Scheme)),
    (b"args", Member::At(Place::Scheme)),
    (b"response", Member::At(Place::Scheme)),
    (b"parameters", Member::At(Place::Scheme)),
    // Type, identifiers, and data that is not text.
    (b"type", Member::At(Place::Nowhere)),
    (b"id", Member::At(Place::Nowhere)),
    (b"object", Member::At(Place::Nowhere)),
    (b"status", Member::At(Place::Nowhere)),
    (b"index", Member::At(Place::Nowhere)),
    (b"model", Member::At(Place::Nowhere)),
    (b"detail", Member::At(Place::Nowhere)),
    (b"format", Member::At(Place::Nowhere)),
    (b"phase", Member::At(Place::Nowhere)),
    (b"url", Member::At(Place::Nowhere)),
    (b"uri", Member::At(Place::Nowhere)),
    (b"image_url", Member::At(Place::Nowhere)),
    (b"video_url", Member::At(Place::Nowhere)),
    (b"audio_url", Member::At(Place::Nowhere)),
    (b"file_url", Member::At(Place::Nowhere)),
    (b"data", Member::At(Place::Nowhere)),
    (b"b64_json", Member::At(Place::Nowhere)),
    (b"bytesBase64Encoded", Member::At(Place::Nowhere)),
    (b"image", Member::At(Place::Nowhere)),
    (b"images", Member::At(Place::Nowhere)),
    (b"audio", Member::At(Place::Nowhere)),
    (b"input_audio", Member::At(Place::Nowhere)),
    (b"file", Member::At(Place::Nowhere)),
    (b"file_id", Member::At(Place::Nowhere)),
    (b"file_data", Member::At(Place::Nowhere)),
    (b"fileData", Member::At(Place::Nowhere)),
    (b"fileUri", Member::At(Place::Nowhere)),
    (b"filename", Member::At(Place::Nowhere)),
    (b"inline_data", Member::At(Place::Nowhere)),
    (b"inlineData", Member::At(Place::Nowhere)),
    (b"mime_type", Member::At(Place::Nowhere)),
    (b"mimeType", Member::At(Place::Nowhere)),
    (b"media_type", Member::At(Place::Nowhere)),
    (b"tool_call_id", Member::At(Place::Nowhere)),
    (b"tool_use_id", Member::At(Place::Nowhere)),
    (b"call_id", Member::At(Place::Nowhere)),
    (b"signature", Member::At(Place::Nowhere)),
    (b"thoughtSignature", Member::At(Place::Nowhere)),
    (b"encrypted_content", Member::At(Place::Nowhere)),
]);

/// A member of a message.
#[derive(Clone, Copy, Debug)]
enum Member {
    Role,
    At(Place),
}

/// The place of a value in a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    Request,
    Nowhere,
    Model,
    Stream,
    StreamOptions,
    IncludeUsage,
    /// Texts, and the containers around them.
    Texts,
    /// JSON that the model is sent as it is written.
    Scheme,
}

impl json::Place for Place {
    const ROOT: Self = Place::Request;
    const NOWHERE: Self = Place::Nowhere;

    fn wants(self) -> Wants {
        match self {
            Place::Request | Place::Nowhere | Place::StreamOptions => Wants::Nothing,
            Place::Model | Place::Stream | Place::IncludeUsage => Wants::Short,
            Place::Texts | Place::Scheme => Wants::Text,
        }
    }
}

/// The reader of such a request.
#[derive(Debug)]
pub(super) struct Object {
    scanner: Scanner<Place>,
    /// The default of `stream`.
    streams_unasked: bool,
    is_over: bool,
}

impl Object {
    pub(super) fn new(streams_unasked: bool) -> Self {
        Object {
            scanner: Scanner::new(),
            streams_unasked,
            is_over: false,
        }
    }

    pub(super) fn feed(&mut self, piece: &[u8], found: &mut Found) {
        if self.is_over {
            return;
        }
        let mut shown = RequestVisitor {
            found,
            streams_unasked: self.streams_unasked,
            is_over: &mut self.is_over,
        };
        self.scanner.feed(piece, &mut shown);
    }

    /// For another parser of the object.
    pub(super) fn shown<'a>(&'a mut self, found: &'a mut Found) -> RequestVisitor<'a> {
        RequestVisitor {
            found,
            streams_unasked: self.streams_unasked,
            is_over: &mut self.is_over,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn streams_unasked(&self) -> bool {
        self.streams_unasked
    }
}

/// Notes what is shown of the object.
pub struct RequestVisitor<'a> {
    found: &'a mut Found,
    streams_unasked: bool,
    is_over: &'a mut bool,
}

impl Visitor for RequestVisitor<'_> {
    type Place = Place;

    fn member(&mut self, of: Place, name: &[u8]) -> Place {
        match of {
            // What follows the object is not part of the request.
            Place::Request if *self.is_over => Place::Nowhere,
            Place::Request => REQUEST.find(name).unwrap_or(Place::Nowhere),
            Place::StreamOptions if name == b"include_usage" => Place::IncludeUsage,
            Place::Texts => match MESSAGE.find(name) {
                Some(Member::At(place)) => place,
                Some(Member::Role) => {
                    self.found.text.begin(Part::Message);
                    Place::Nowhere
                }
                None => Place::Texts,
            },
            Place::Scheme => {
                self.found.text.begin(Part::Member);
                self.found.text.add(name);
                Place::Scheme
            }
            _ => Place::Nowhere,
        }
    }

    fn element(&mut self, of: Place) -> Place {
        match of {
            Place::Texts | Place::Scheme => of,
            _ => Place::Nowhere,
        }
    }

    fn open(&mut self, at: Place, _container: Container) {
        self.forget(at);
    }

    fn value(&mut self, at: Place, value: Value<'_>) {
        self.forget(at);
        match (at, value) {
            (Place::Model, Value::String(name)) => self.found.take_model(name),
            (Place::Stream, Value::True) => self.found.stream = true,
            (Place::Stream, Value::False) => self.found.stream = false,
            (Place::IncludeUsage, Value::True) => self.found.asks_usage = true,
            (Place::Texts, Value::Number(_)) => self.found.text.begin(Part::Token),
            (Place::Scheme, Value::Number(written)) => self.found.text.add(written),
            _ => {}
        }
    }

    fn text(&mut self, at: Place, piece: &[u8]) {
        if matches!(at, Place::Texts | Place::Scheme) {
            self.found.text.add(piece);
        }
    }

    fn end(&mut self, _end: End) {
        *self.is_over = true;
    }
}

impl RequestVisitor<'_> {
    /// A duplicate member replaces the previous one, whatever its value.
    fn forget(&mut self, at: Place) {
        match at {
            Place::Model => self.found.model = None,
            Place::Stream => self.found.stream = self.streams_unasked,
            Place::IncludeUsage => self.found.asks_usage = false,
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
    fn a_body_that_another_parser_shows_need_not_be_fed() {
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
        let show = |reader: &mut RequestReader, text: &[u8]| {
            reader.read_by(|shown| Scanner::new().feed(text, shown));
        };

        let mut reader = new(JSON);
        show(&mut reader, body);
        assert!(reader.is_over());
        reader.feed(br#"{"model":"other"}"#);
        assert_eq!(reader.finish(), fed(JSON));

        // An incomplete body counts as unread.
        let mut reader = new(JSON);
        show(&mut reader, &body[..50]);
        assert!(!reader.is_over());
        assert_eq!(reader.facts(), new(JSON).finish());
        reader.feed(body);
        assert_eq!(reader.finish(), fed(JSON));

        // A form is not JSON, even if its body is.
        let mut reader = new(FORM);
        show(&mut reader, body);
        assert!(!reader.is_over());
        reader.feed(body);
        assert_eq!(reader.finish(), fed(FORM));
    }
}
