//! Reads the request of a model call: the model, whether it requests a stream, and the size of its texts in tokens.

use http::{HeaderMap, header};
use percent_encoding::percent_decode_str;

use super::cut;
use super::estimate::TokenEstimator;
use super::operation::{Operation, PathFields};
use crate::coding::Decoder;
use multipart::MultipartForm;
use object::RequestObject;
pub use object::RequestVisitor;

mod multipart;
mod object;

/// What was read of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    pub model: Option<Box<str>>,
    pub stream: bool,
    /// Whether the usage of a stream is requested (OpenAI's `stream_options.include_usage`).
    pub include_usage: bool,
    /// Estimates the tokens of its texts.
    pub text: TokenEstimator,
}

/// Reads one request, piece by piece. It holds a few hundred bytes, whatever the size of the request, and the windows
/// of its content codings.
#[derive(Debug)]
pub struct RequestReader {
    /// `None` if a coding is unknown, and after the end: nothing is read.
    decoder: Option<Decoder>,
    /// The body as JSON, unless it is a form.
    object: RequestObject,
    form: Option<Box<MultipartForm>>,
    parsed: ParsedRequest,
    /// The model in the path, which takes precedence over the body.
    model: Option<Box<str>>,
    /// The deployment in the path, if the body names no model.
    deployment: Option<Box<str>>,
}

/// What has been read so far.
#[derive(Debug, Default)]
struct ParsedRequest {
    model: Option<Box<str>>,
    stream: bool,
    include_usage: bool,
    text: TokenEstimator,
}

impl RequestReader {
    /// For a JSON request for `operation` with this path.
    #[must_use]
    pub fn new(operation: Operation, path: &str) -> Self {
        RequestReader::reading(operation, path, None)
    }

    /// For a request with these headers, whose content codings are decoded. A body that is not a multipart form is read
    /// as JSON whatever its type: some clients send a wrong one, or none.
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
        let in_path = PathFields::of(path);
        let stream = in_path.stream || operation.streams_by_default();
        RequestReader {
            decoder: Some(Decoder::default()),
            object: RequestObject::new(stream),
            form: form.map(Box::new),
            parsed: ParsedRequest::new(stream),
            model: in_path.model.map(decode_name),
            deployment: in_path.deployment.map(decode_name),
        }
    }

    /// Passes the visitor to `parse`, which may parse the whole body with it, so that the body is not parsed twice. If
    /// the body is not plain JSON, or its end is not reached, the result is discarded and the body must be fed.
    pub fn with_visitor<T>(&mut self, parse: impl FnOnce(&mut RequestVisitor<'_>) -> T) -> T {
        let outcome = parse(&mut self.object.visitor(&mut self.parsed));
        let is_plain = self.decoder.as_ref().is_some_and(Decoder::is_plain);
        if !is_plain || self.form.is_some() || !self.object.is_complete() {
            let stream = self.object.streams_by_default();
            self.object = RequestObject::new(stream);
            self.parsed = ParsedRequest::new(stream);
        }
        outcome
    }

    /// Whether the whole body has been read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.object.is_complete()
    }

    /// Reads the next piece of the body.
    pub fn feed(&mut self, piece: &[u8]) {
        let Some(decoder) = &mut self.decoder else {
            return;
        };
        decoder.feed(piece, |plain| match &mut self.form {
            Some(form) => form.feed(plain, &mut self.parsed),
            None => self.object.feed(plain, &mut self.parsed),
        });
    }

    /// Limits the decoded bytes of the body.
    #[must_use]
    pub fn within(mut self, decoded_max: u64) -> Self {
        if let Some(decoder) = &mut self.decoder {
            decoder.limit(decoded_max);
        }
        self
    }

    /// Ends the body, and frees what was held to read it.
    pub fn end(&mut self) {
        self.decoder = None;
    }

    /// Approximately how many bytes the decoders hold.
    #[must_use]
    pub fn held_bytes(&self) -> u64 {
        self.decoder.as_ref().map_or(0, Decoder::held_bytes)
    }

    /// What has been read so far. Bodies that are neither a JSON object nor a form or cannot be decoded, and members of
    /// unexpected types, are ignored.
    #[must_use]
    pub fn facts(&self) -> RequestFacts {
        let parsed = &self.parsed;
        let models = [&self.model, &parsed.model, &self.deployment];
        RequestFacts {
            model: models.into_iter().flatten().next().cloned(),
            stream: parsed.stream,
            include_usage: parsed.include_usage,
            text: parsed.text,
        }
    }

    /// What was read, after the end.
    #[must_use]
    pub fn finish(self) -> RequestFacts {
        let parsed = self.parsed;
        RequestFacts {
            model: self.model.or(parsed.model).or(self.deployment),
            stream: parsed.stream,
            include_usage: parsed.include_usage,
            text: parsed.text,
        }
    }
}

impl ParsedRequest {
    fn new(stream: bool) -> Self {
        ParsedRequest {
            stream,
            ..ParsedRequest::default()
        }
    }

    /// Sets the model. The last one counts, as in most JSON parsers.
    fn set_model(&mut self, name: &[u8]) {
        let name = String::from_utf8_lossy(name);
        self.model = (!name.is_empty()).then(|| cut(&name).into());
    }
}

/// Decodes a name in a path.
fn decode_name(encoded: &str) -> Box<str> {
    cut(&percent_decode_str(encoded).decode_utf8_lossy()).into()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
