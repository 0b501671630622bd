//! What a model is asked to do, by the path of the request.

/// An operation of a model's API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's completions.
    TextCompletion,
    Embeddings,
}

impl Operation {
    /// The operation that a path asks for, by its last part, whatever stands before it.
    #[must_use]
    pub fn of(path: &str) -> Option<Operation> {
        if path.ends_with("/chat/completions") {
            Some(Operation::Chat)
        } else if path.ends_with("/responses") {
            Some(Operation::Responses)
        } else if path.ends_with("/messages") {
            Some(Operation::Messages)
        } else if path.ends_with("/completions") {
            Some(Operation::TextCompletion)
        } else if path.ends_with("/embeddings") {
            Some(Operation::Embeddings)
        } else {
            None
        }
    }

    /// OpenTelemetry's `gen_ai.operation.name`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Chat | Operation::Responses | Operation::Messages => "chat",
            Operation::TextCompletion => "text_completion",
            Operation::Embeddings => "embeddings",
        }
    }
}
