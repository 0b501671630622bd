//! What the words of an answer mean: the type of a document, its status, why it ended.

/// What the `type` of a document says of it, or the name of its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// None that is known: nothing follows from it.
    Other,
    /// A whole message of Anthropic's.
    Message,
    /// Says that there is something to wait for.
    KeepAlive,
    /// An event of a stream.
    Event,
    /// An event that says again what earlier ones said.
    Repeats,
    /// An event with sound, not text.
    Sound,
    /// The last event; its status says how it went.
    Last,
    /// The last event, which also sums up what was.
    LastRepeats,
    Error,
}

impl Type {
    pub(super) fn of(name: &[u8]) -> Type {
        match name {
            b"message" => Type::Message,
            b"error" | b"response.failed" | b"response.error" => Type::Error,
            // Anthropic and Cohere.
            b"message_stop" | b"message-end" => Type::Last,
            b"message_start"
            | b"message_delta"
            | b"content_block_start"
            | b"content_block_delta"
            | b"content_block_stop" => Type::Event,
            b"ping" => Type::KeepAlive,
            b"message-start" | b"content-start" | b"content-delta" | b"content-end"
            | b"tool-plan-delta" | b"tool-call-start" | b"tool-call-delta" | b"tool-call-end"
            | b"citation-start" | b"citation-end" => Type::Event,
            // Cohere's first API.
            b"stream-start" | b"text-generation" | b"tool-calls-chunk" => Type::Event,
            b"stream-end" => Type::LastRepeats,
            // OpenAI's responses.
            b"response.completed" | b"response.incomplete" | b"response.cancelled" => {
                Type::LastRepeats
            }
            b"response.audio.delta" | b"response.output_audio.delta" => Type::Sound,
            // Its transcriptions.
            b"transcript.text.delta" => Type::Event,
            b"transcript.text.done" => Type::LastRepeats,
            _ if !name.starts_with(b"response.") => Type::Other,
            b"response.output_item.added" => Type::Event,
            _ if name.ends_with(b".delta") => Type::Event,
            _ => Type::Repeats,
        }
    }

    pub(super) fn is_last(self) -> bool {
        matches!(self, Type::Last | Type::LastRepeats)
    }

    /// Whether what looks like new text is none.
    pub(super) fn brings_no_text(self) -> bool {
        matches!(self, Type::Repeats | Type::LastRepeats | Type::Sound)
    }
}

/// How OpenAI's responses say how far they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Completed,
    /// A bound on its length ended it.
    Incomplete,
    Failed,
    /// Queued, in progress, or cancelled.
    NotEnded,
}

impl Status {
    pub(super) fn of(text: &[u8]) -> Option<Status> {
        Some(match text {
            b"completed" => Status::Completed,
            b"incomplete" => Status::Incomplete,
            b"failed" => Status::Failed,
            b"queued" | b"in_progress" | b"cancelled" | b"cancelling" => Status::NotEnded,
            _ => return None,
        })
    }

    /// The status that goes with the type of an event.
    pub(super) fn of_event(name: &[u8]) -> Option<Status> {
        Status::of(name.strip_prefix(b"response.")?)
    }

    /// What stands for a finish reason.
    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            Status::Completed => Some("completed"),
            Status::Incomplete => Some("incomplete"),
            Status::Failed | Status::NotEnded => None,
        }
    }
}

/// Whether what stands for a finish reason is one: some send an empty text while they go on.
pub(super) fn is_reason(text: &[u8]) -> bool {
    !matches!(text, b"" | b"null" | b"FINISH_REASON_UNSPECIFIED")
}

/// Whether a finish reason says that the answer failed; Cohere has several such.
pub(super) fn is_failure(reason: &[u8]) -> bool {
    reason.eq_ignore_ascii_case(b"error") || reason.starts_with(b"ERROR_")
}

/// Whether a finish reason says that something stopped the answer that has nothing to do with the question.
/// A bound on its length, a filter and a refusal would stop it again.
pub(super) fn is_interruption(reason: &[u8]) -> bool {
    const WORDS: [&[u8]; 11] = [
        b"abort",
        b"aborted",
        b"cancelled",
        b"canceled",
        b"timeout",
        b"internal_error",
        b"server_error",
        b"network_error",
        b"interrupted",
        b"insufficient_system_resource",
        // Anthropic's: the turn goes on with the next question.
        b"pause_turn",
    ];

    WORDS.iter().any(|word| reason.eq_ignore_ascii_case(word))
        // Gemini's.
        || matches!(reason, b"OTHER" | b"IMAGE_OTHER" | b"UNEXPECTED_TOOL_CALL")
        || reason.starts_with(b"MALFORMED_")
        // Ollama's: the model was loaded or unloaded, and asked nothing.
        || matches!(reason, b"load" | b"unload")
}
