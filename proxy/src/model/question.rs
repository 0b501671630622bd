//! What a question says of itself: the model it asks, whether it wants a stream, and how much text it
//! brings.

use std::borrow::Cow;

use serde::Deserialize;

use super::cut;
use super::estimate::TextCount;
use super::operation::Operation;

/// What a question says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Question {
    pub model: Option<Box<str>>,
    pub stream: bool,
    /// Its texts, for an estimate of its tokens.
    pub text: TextCount,
}

/// The reader of one question, fed piece by piece.
#[derive(Debug)]
pub struct QuestionReader {
    body: Vec<u8>,
}

impl QuestionReader {
    /// For a request with this path that asks for `operation`.
    #[must_use]
    pub fn new(_operation: Operation, _path: &str) -> Self {
        QuestionReader { body: Vec::new() }
    }

    /// Reads the next piece of the body.
    pub fn feed(&mut self, piece: &[u8]) {
        self.body.extend_from_slice(piece);
    }

    /// What it said, also when it was cut short. A body that is not a JSON object, or whose fields are of
    /// another type, leaves `model` and `stream` at their defaults.
    #[must_use]
    pub fn finish(self) -> Question {
        #[derive(Default, Deserialize)]
        struct Body<'a> {
            #[serde(borrow)]
            model: Option<Cow<'a, str>>,
            stream: Option<bool>,
        }

        if self.body.trim_ascii_start().first() != Some(&b'{') {
            return Question::default();
        }
        let body: Body<'_> = serde_json::from_slice(&self.body).unwrap_or_default();
        Question {
            model: body.model.map(|model| cut(&model).into()),
            stream: body.stream.unwrap_or_default(),
            text: TextCount::default(),
        }
    }
}

#[cfg(test)]
#[path = "question_tests.rs"]
mod tests;
