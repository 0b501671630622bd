//! The meaning of values in a response: types of documents, statuses and finish reasons.

/// The type of a document, by its `type` or the name of its event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DocumentType {
    /// Unknown.
    #[default]
    Other,
    /// A complete message of Anthropic's.
    Message,
    /// A keep-alive.
    KeepAlive,
    /// An event of a stream.
    Event,
    /// An event that repeats earlier content.
    Repeats,
    /// An event with audio, not text.
    Audio,
    /// The last event.
    Last,
    /// The last event, which repeats the whole content.
    LastRepeats,
    Error,
}

impl DocumentType {
    pub(super) fn of(name: &[u8]) -> DocumentType {
        match name {
            b"message" => DocumentType::Message,
            b"error" | b"response.failed" | b"response.error" => DocumentType::Error,
            // Anthropic and Cohere.
            b"message_stop" | b"message-end" => DocumentType::Last,
            b"message_start"
            | b"message_delta"
            | b"content_block_start"
            | b"content_block_delta"
            | b"content_block_stop" => DocumentType::Event,
            b"ping" => DocumentType::KeepAlive,
            b"message-start" | b"content-start" | b"content-delta" | b"content-end"
            | b"tool-plan-delta" | b"tool-call-start" | b"tool-call-delta" | b"tool-call-end"
            | b"citation-start" | b"citation-end" => DocumentType::Event,
            // Cohere's first API.
            b"stream-start" | b"text-generation" | b"tool-calls-chunk" => DocumentType::Event,
            b"stream-end" => DocumentType::LastRepeats,
            // OpenAI's Responses API.
            b"response.completed" | b"response.incomplete" | b"response.cancelled" => {
                DocumentType::LastRepeats
            }
            b"response.audio.delta" | b"response.output_audio.delta" => DocumentType::Audio,
            // OpenAI's transcriptions.
            b"transcript.text.delta" => DocumentType::Event,
            b"transcript.text.done" => DocumentType::LastRepeats,
            _ if !name.starts_with(b"response.") => DocumentType::Other,
            b"response.output_item.added" => DocumentType::Event,
            _ if name.ends_with(b".delta") => DocumentType::Event,
            _ => DocumentType::Repeats,
        }
    }

    pub(super) fn is_last(self) -> bool {
        matches!(self, DocumentType::Last | DocumentType::LastRepeats)
    }

    /// Whether its text is not new, or not text.
    pub(super) fn has_no_new_text(self) -> bool {
        matches!(
            self,
            DocumentType::Repeats | DocumentType::LastRepeats | DocumentType::Audio
        )
    }
}

/// The status of a response in OpenAI's Responses API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseStatus {
    Completed,
    /// Ended by a limit on its length.
    Incomplete,
    Failed,
    /// Queued, in progress, or cancelled.
    NotEnded,
}

impl ResponseStatus {
    pub(super) fn of(text: &[u8]) -> Option<ResponseStatus> {
        Some(match text {
            b"completed" => ResponseStatus::Completed,
            b"incomplete" => ResponseStatus::Incomplete,
            b"failed" => ResponseStatus::Failed,
            b"queued" | b"in_progress" | b"cancelled" | b"cancelling" => ResponseStatus::NotEnded,
            _ => return None,
        })
    }

    /// The status that the type of an event implies.
    pub(super) fn of_event(name: &[u8]) -> Option<ResponseStatus> {
        ResponseStatus::of(name.strip_prefix(b"response.")?)
    }

    /// The equivalent finish reason.
    pub(super) fn reason(self) -> Option<&'static str> {
        match self {
            ResponseStatus::Completed => Some("completed"),
            ResponseStatus::Incomplete => Some("incomplete"),
            ResponseStatus::Failed | ResponseStatus::NotEnded => None,
        }
    }
}

/// Whether a finish reason is set: some providers send an empty one while the response continues.
pub(super) fn is_reason(text: &[u8]) -> bool {
    !matches!(text, b"" | b"null" | b"FINISH_REASON_UNSPECIFIED")
}

/// Whether a finish reason means failure; Cohere has several of these.
pub(super) fn is_failure(reason: &[u8]) -> bool {
    reason.eq_ignore_ascii_case(b"error") || reason.starts_with(b"ERROR_")
}

/// Whether a finish reason means an interruption that is unrelated to the request. A limit on the length, a filter or a
/// refusal would end the response in the same way again.
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
        // Anthropic's: the turn continues with the next request.
        b"pause_turn",
    ];

    WORDS.iter().any(|word| reason.eq_ignore_ascii_case(word))
        // Gemini's.
        || matches!(reason, b"OTHER" | b"IMAGE_OTHER" | b"UNEXPECTED_TOOL_CALL")
        || reason.starts_with(b"MALFORMED_")
        // Ollama's: the model was only loaded or unloaded.
        || matches!(reason, b"load" | b"unload")
}
