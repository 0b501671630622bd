//! What a question says of itself: the model it asks, whether it wants a stream, and how much text it
//! brings.

use http::HeaderValue;
use percent_encoding::percent_decode_str;

use super::cut;
use super::estimate::TextCount;
use super::operation::{InPath, Operation};
use form::Form;
use object::Object;

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

/// The reader of one question, fed piece by piece. Whatever its size, it holds a few hundred bytes.
#[derive(Debug)]
pub struct QuestionReader {
    body: Body,
    found: Found,
    /// The model that the path names; it counts whatever the body says.
    model: Option<Box<str>>,
    /// The deployment that the path names; it counts where the body names no model.
    deployment: Option<Box<str>>,
}

#[derive(Debug)]
enum Body {
    Object(Box<Object>),
    Form(Box<Form>),
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
        QuestionReader::of(operation, path, None)
    }

    /// For a request with this `Content-Type`. What is no form is read as JSON, whatever it is called:
    /// there are clients that call it a form, or nothing.
    #[must_use]
    pub fn of(operation: Operation, path: &str, content_type: Option<&HeaderValue>) -> Self {
        let form = content_type.and_then(|value| Form::of(value.as_bytes()));
        let in_path = InPath::of(path);
        let stream = in_path.stream || operation.streams_unasked();
        QuestionReader {
            body: match form {
                Some(form) => Body::Form(Box::new(form)),
                None => Body::Object(Box::new(Object::new(stream))),
            },
            found: Found {
                stream,
                ..Found::default()
            },
            model: in_path.model.map(named),
            deployment: in_path.deployment.map(named),
        }
    }

    /// Reads the next piece of the body.
    pub fn feed(&mut self, piece: &[u8]) {
        match &mut self.body {
            Body::Object(object) => object.feed(piece, &mut self.found),
            Body::Form(form) => form.feed(piece, &mut self.found),
        }
    }

    /// What it said, also when it was cut short, or is not to be read any further. A body that is neither a
    /// JSON object nor a form, or whose fields are of another type, says nothing.
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
