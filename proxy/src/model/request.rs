//! Reads the request of a model call: the model, whether it asks for a stream, and how much text it has.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use super::cut;
use super::estimate::TextCount;
use super::operation::{InPath, Operation};
use crate::coding::Decoder;
use multipart::MultipartForm;
use object::Object;
pub use object::RequestVisitor;

mod multipart;
mod object;

/// What was read of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    pub model: Option<Box<str>>,
    pub stream: bool,
    /// Whether the usage of a stream is asked for (OpenAI's `stream_options.include_usage`).
    pub asks_usage: bool,
    /// The count of its texts, for an estimate of its tokens.
    pub text: TextCount,
}

/// The reader of one request, fed piece by piece. It holds a few hundred bytes, whatever the size of the request, and
/// the windows of its content codings.
#[derive(Debug)]
pub struct RequestReader {
    /// `None` if a coding is unknown, and at the end: nothing is read.
    decoder: Option<Decoder>,
    /// The body, unless it is a form.
    object: Object,
    form: Option<Box<MultipartForm>>,
    found: Found,
    /// The model in the path, which takes precedence over the body.
    model: Option<Box<str>>,
    /// The deployment in the path, if the body names no model.
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

impl RequestReader {
    /// For a request with this path that asks for `operation` in JSON.
    #[must_use]
    pub fn new(operation: Operation, path: &str) -> Self {
        RequestReader::reading(operation, path, None)
    }

    /// For a request with these headers, through its content codings. A body that is not a multipart form is read
    /// as JSON, whatever its type: some clients send a wrong one, or none.
    #[must_use]
    pub fn of(operation: Operation, path: &str, headers: &HeaderMap) -> Self {
        let content_type = headers.get(header::CONTENT_TYPE);
        let form = content_type.and_then(|value| MultipartForm::of(value.as_bytes()));
        RequestReader {
            decoder: Decoder::of(headers),
            ..RequestReader::reading(operation, path, form)
        }
    }

    fn reading(operation: Operation, path: &str, form: Option<MultipartForm>) -> Self {
        let in_path = InPath::of(path);
        let stream = in_path.stream || operation.streams_unasked();
        RequestReader {
            decoder: Some(Decoder::default()),
            object: Object::new(stream),
            form: form.map(Box::new),
            found: Found::new(stream),
            model: in_path.model.map(named),
            deployment: in_path.deployment.map(named),
        }
    }

    /// Lets another parser read the whole body: `show` shows it to the visitor. If the body is not plain JSON, or
    /// its end is not shown, it has to be fed.
    pub fn read_by<T>(&mut self, show: impl FnOnce(&mut RequestVisitor<'_>) -> T) -> T {
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

    /// Whether the body need not be fed.
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

    /// Decodes at most this many bytes of the body.
    #[must_use]
    pub fn within(mut self, decoded_max: u64) -> Self {
        if let Some(decoder) = &mut self.decoder {
            decoder.limit(decoded_max);
        }
        self
    }

    /// The body has ended: frees what was held to read it.
    pub fn end(&mut self) {
        self.decoder = None;
    }

    /// About how many bytes its content codings hold.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.decoder.as_ref().map_or(0, Decoder::held_bytes)
    }

    /// What has been read so far: nothing of a body that is neither a JSON object nor a form, that cannot be
    /// decoded, or whose members have other types.
    #[must_use]
    pub fn facts(&self) -> RequestFacts {
        let found = &self.found;
        let models = [&self.model, &found.model, &self.deployment];
        RequestFacts {
            model: models.into_iter().flatten().next().cloned(),
            stream: found.stream,
            asks_usage: found.asks_usage,
            text: found.text,
        }
    }

    /// What was read, at the end.
    #[must_use]
    pub fn finish(self) -> RequestFacts {
        let found = self.found;
        RequestFacts {
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

    /// Takes the name of a model. The last one counts, as in most JSON parsers.
    fn take_model(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        self.model = (!name.is_empty()).then(|| cut(&name).into());
    }
}

/// A name in a path.
fn named(encoded: &str) -> Box<str> {
    cut(&percent_decode_str(encoded).decode_utf8_lossy()).into()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
