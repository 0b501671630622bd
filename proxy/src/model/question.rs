//! What a question says of itself: the model it asks, whether it wants a stream, and how much text it
//! brings.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use super::cut;
use super::estimate::TextCount;
use super::operation::{InPath, Operation};
use crate::coding::Decoder;
use form::Form;
use object::Object;
pub use object::Shown;

mod form;
mod object;

/// What a question says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub model: Option<Box<str>>,
    pub stream: bool,
    /// Whether a stream was asked to end with its usage (OpenAI's `stream_options.include_usage`).
    pub asks_usage: bool,
    /// Its texts, for an estimate of its tokens.
    pub text: TextCount,
}

/// The reader of one question, fed piece by piece. Whatever its size, it holds a few hundred bytes, and the
/// windows of its codings.
#[derive(Debug)]
pub struct QuestionReader {
    /// `None` where a coding is unknown, and at the end: nothing is read.
    decoder: Option<Decoder>,
    /// What the body is, unless it is a form.
    object: Object,
    form: Option<Box<Form>>,
    found: Found,
    /// The model that the path names; it counts whatever the body says.
    model: Option<Box<str>>,
    /// The deployment that the path names; it counts where the body names no model.
    deployment: Option<Box<str>>,
}

/// What was found so far.
#[derive(Debug, Default)]
struct Found {
    model: Option<Box<str>>,
    stream: bool,
    asks_usage: bool,
    text: TextCount,
}

impl QuestionReader {
    /// For a request with this path that asks for `operation` in JSON.
    #[must_use]
    pub fn new(operation: Operation, path: &str) -> Self {
        QuestionReader::reading(operation, path, None)
    }

    /// For a request with these headers, through its codings. What is no form is read as JSON, whatever it
    /// is called: there are clients that call it a form, or nothing.
    #[must_use]
    pub fn of(operation: Operation, path: &str, headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE);
        let form = content_type.and_then(|value| Form::of(value.as_bytes()));
        QuestionReader {
            decoder: Decoder::of(headers),
            ..QuestionReader::reading(operation, path, form)
        }
    }

    fn reading(operation: Operation, path: &str, form: Option<Form>) -> Self {
        let in_path = InPath::of(path);
        let stream = in_path.stream || operation.streams_unasked();
        QuestionReader {
            decoder: Some(Decoder::default()),
            object: Object::new(stream),
            form: form.map(Box::new),
            found: Found::new(stream),
            model: in_path.model.map(named),
            deployment: in_path.deployment.map(named),
        }
    }

    /// Lets somebody else read a whole body: `show` shows it to the visitor. Where it is no plain JSON, or its
    /// end is not shown, it is still to be fed.
    pub fn read_by<T>(&mut self, show: impl FnOnce(&mut Shown<'_>) -> T) -> T {
        let mut shown = self.object.shown(&mut self.found);
        let outcome = show(&mut shown);
        let is_plain = self.decoder.as_ref().is_some_and(Decoder::is_plain);
        if !is_plain || self.form.is_some() || !self.object.is_over() {
            let stream = self.object.streams_unasked();
            self.object = Object::new(stream);
            self.found = Found::new(stream);
        }
        outcome
    }

    /// Whether nothing of the body is still to be fed.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.object.is_over()
    }

    /// Reads the next piece of the body.
    pub fn feed(&mut self, piece: &[u8]) {
        let Some(decoder) = &mut self.decoder else {
            return;
        };
        decoder.feed(piece, |plain| match &mut self.form {
            Some(form) => form.feed(plain, &mut self.found),
            None => self.object.feed(plain, &mut self.found),
        });
    }

    /// Reads no more than so many bytes of what its codings make of the body.
    #[must_use]
    pub fn within(mut self, decoded_max: u64) -> Self {
        if let Some(decoder) = &mut self.decoder {
            decoder.limit(decoded_max);
        }
        self
    }

    /// Nothing more comes: what was held to read it is let go.
    pub fn end(&mut self) {
        self.decoder = None;
    }

    /// About how many bytes its codings hold.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.decoder.as_ref().map_or(0, Decoder::held_bytes)
    }

    /// What it has said so far. A body that is neither a JSON object nor a form, whose fields are of another
    /// type, or that cannot be decoded, says nothing.
    #[must_use]
    pub fn question(&self) -> Question {
        let found = &self.found;
        let models = [&self.model, &found.model, &self.deployment];
        Question {
            model: models.into_iter().flatten().next().cloned(),
            stream: found.stream,
            asks_usage: found.asks_usage,
            text: found.text,
        }
    }

    /// What it said, at its end.
    #[must_use]
    pub fn finish(self) -> Question {
        let found = self.found;
        Question {
            model: self.model.or(found.model).or(self.deployment),
            stream: found.stream,
            asks_usage: found.asks_usage,
            text: found.text,
        }
    }
}

impl Found {
    fn new(stream: bool) -> Self {
        Found {
            stream,
            ..Found::default()
        }
    }

    /// Takes the name of a model; the last one counts, as it does for those who read JSON.
    fn take_model(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        self.model = (!name.is_empty()).then(|| cut(&name).into());
    }
}

/// A name out of a path.
fn named(encoded: &str) -> Box<str> {
    cut(&percent_decode_str(encoded).decode_utf8_lossy()).into()
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;
