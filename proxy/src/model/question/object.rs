//! A question that is a JSON object, in whoever's format.

use super::Found;
use crate::model::estimate::Part;
use crate::model::json::{self, Container, End, Scanner, Value, Visitor, Wants};

/// Members of the question whose texts the model is sent.
const TEXTS: [&[u8]; 22] = [
    b"messages",
    b"prompt",
    b"input",
    b"system",
    b"instructions",
    // Gemini's, where `requests` are several questions in one.
    b"contents",
    b"content",
    b"systemInstruction",
    b"system_instruction",
    b"generateContentRequest",
    b"requests",
    b"instances",
    // Cohere's, and those of rerankers.
    b"message",
    b"chat_history",
    b"preamble",
    b"documents",
    b"query",
    b"texts",
    b"inputs",
    // Of completions, and of Ollama's.
    b"suffix",
    b"template",
    b"negative_prompt",
];

/// Members of the question that the model is sent as they are written, names and all.
const SCHEMES: [&[u8]; 6] = [
    b"tools",
    b"functions",
    b"response_format",
    b"text",
    b"format",
    b"generationConfig",
];

/// Members of a message that hold no text: what kind it is, whose it is, and data that is no language.
const NO_TEXTS: [&[u8]; 39] = [
    b"type",
    b"id",
    b"object",
    b"status",
    b"index",
    b"model",
    b"detail",
    b"format",
    b"phase",
    b"url",
    b"uri",
    b"image_url",
    b"video_url",
    b"audio_url",
    b"file_url",
    b"data",
    b"b64_json",
    b"bytesBase64Encoded",
    b"image",
    b"images",
    b"audio",
    b"input_audio",
    b"file",
    b"file_id",
    b"file_data",
    b"fileData",
    b"fileUri",
    b"filename",
    b"inline_data",
    b"inlineData",
    b"mime_type",
    b"mimeType",
    b"media_type",
    b"tool_call_id",
    b"tool_use_id",
    b"call_id",
    b"signature",
    b"thoughtSignature",
    b"encrypted_content",
];

/// Members of a message that a tool was given or has given: the model sees them as they are written.
const AS_WRITTEN: [&[u8]; 4] = [b"input", b"args", b"response", b"parameters"];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Question,
    Nowhere,
    Model,
    Stream,
    StreamOptions,
    IncludeUsage,
    /// Texts, and what is around them.
    Texts,
    /// What the model sees as it is written.
    Scheme,
}

impl json::Place for Place {
    const ROOT: Self = Place::Question;
    const NOWHERE: Self = Place::Nowhere;

    fn wants(self) -> Wants {
        match self {
            Place::Question | Place::Nowhere | Place::StreamOptions => Wants::Nothing,
            Place::Model | Place::Stream | Place::IncludeUsage => Wants::Short,
            Place::Texts | Place::Scheme => Wants::Text,
        }
    }
}

/// The reader of such a question.
#[derive(Debug)]
pub(super) struct Object {
    scanner: Scanner<Place>,
    /// What it means that `stream` is not said.
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
        let mut reading = Reading {
            found,
            streams_unasked: self.streams_unasked,
            is_over: false,
        };
        self.scanner.feed(piece, &mut reading);
        self.is_over = reading.is_over;
    }
}

struct Reading<'a> {
    found: &'a mut Found,
    streams_unasked: bool,
    is_over: bool,
}

impl Visitor for Reading<'_> {
    type Place = Place;

    fn member(&mut self, of: Place, name: &[u8]) -> Place {
        match of {
            // What is behind the question is none of it.
            Place::Question if self.is_over => Place::Nowhere,
            Place::Question => of_question(name),
            Place::StreamOptions if name == b"include_usage" => Place::IncludeUsage,
            Place::Texts if name == b"role" => {
                self.found.text.begin(Part::Message);
                Place::Nowhere
            }
            Place::Texts if matches!(name, b"content" | b"text" | b"parts") => Place::Texts,
            Place::Texts if AS_WRITTEN.contains(&name) => Place::Scheme,
            Place::Texts if NO_TEXTS.contains(&name) => Place::Nowhere,
            Place::Texts => Place::Texts,
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
        self.is_over = true;
    }
}

impl Reading<'_> {
    /// A member that comes again takes the place of the one before, whatever it is.
    fn forget(&mut self, at: Place) {
        match at {
            Place::Model => self.found.model = None,
            Place::Stream => self.found.stream = self.streams_unasked,
            Place::IncludeUsage => self.found.asks_usage = false,
            _ => {}
        }
    }
}

fn of_question(name: &[u8]) -> Place {
    match name {
        b"model" => Place::Model,
        b"stream" => Place::Stream,
        b"stream_options" => Place::StreamOptions,
        _ if TEXTS.contains(&name) => Place::Texts,
        _ if SCHEMES.contains(&name) => Place::Scheme,
        _ => Place::Nowhere,
    }
}
