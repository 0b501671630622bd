//! The positions of the relevant values in a response, for all formats at once: the same path means the same in all of
//! them, except for a few that the `type` of the document distinguishes.
//!
//! The formats: OpenAI's [chat] and [responses], Anthropic's [messages], [Gemini]'s, [Ollama]'s and [Cohere]'s,
//! with the extensions of compatible providers (Groq, OpenRouter, DeepSeek, Moonshot, Mistral).
//!
//! [chat]: https://platform.openai.com/docs/api-reference/chat/object
//! [responses]: https://platform.openai.com/docs/api-reference/responses/object
//! [messages]: https://docs.anthropic.com/en/api/messages
//! [Gemini]: https://ai.google.dev/api/generate-content
//! [Ollama]: https://github.com/ollama/ollama/blob/main/docs/api.md
//! [Cohere]: https://docs.cohere.com/reference/chat

use super::usage_report::TokenField;
use crate::model::json::{self, Interest, NameTable};

/// A position in a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponsePosition {
    Ignored,
    /// A response, an event of one, or an array of them.
    Document,
    /// OpenAI's choices, Gemini's candidates.
    Choices,
    Choice,
    ChoiceIndex,
    ChoiceFinish,
    /// The message of a choice, or its delta.
    Message,
    /// The delta of an event: an object that holds a message, or the text itself.
    Delta,
    /// The message of a response without choices.
    Envelope,
    /// Text, or its parts.
    Content,
    Part,
    Text,
    ToolCalls,
    ToolCall,
    Function,
    CallName,
    /// Arguments as a string or an object.
    Arguments,
    Audio,
    /// The output in OpenAI's Responses API.
    Output,
    OutputItem,
    /// The item that an event begins: its text follows in deltas, but the name of a call does not.
    Begun,
    /// In OpenAI's Responses API the response within an event, in Ollama's its text.
    Response,
    Usage,
    /// The details of `prompt_tokens`.
    PromptDetails,
    /// The details of `input_tokens`.
    InputDetails,
    OutputDetails,
    GeminiUsage,
    /// Cohere's `meta`, of all operations.
    Meta,
    CohereTokens,
    CohereBilled,
    Tokens(TokenField),
    Model,
    Object,
    Type,
    Status,
    /// The finish reason of a response without choices.
    Finish,
    Done,
    Error,
    /// Groq's extension.
    Groq,
    PromptFeedback,
    Blocked,
    /// MiniMax's status.
    BaseResp,
    BaseStatus,
    /// The results of operations other than text generation.
    Results,
    /// Vertex AI's results, each with the token count of its text.
    Predictions,
    Prediction,
    PredictedEmbeddings,
    Statistics,
}

impl json::JsonPosition for ResponsePosition {
    const ROOT: Self = ResponsePosition::Document;
    const IGNORED: Self = ResponsePosition::Ignored;

    fn interest(self) -> Interest {
        match self {
            ResponsePosition::Delta
            | ResponsePosition::Content
            | ResponsePosition::Text
            | ResponsePosition::CallName
            | ResponsePosition::Arguments
            | ResponsePosition::Response => Interest::Text,
            ResponsePosition::Document
            | ResponsePosition::ChoiceIndex
            | ResponsePosition::ChoiceFinish
            | ResponsePosition::Tokens(_)
            | ResponsePosition::Model
            | ResponsePosition::Object
            | ResponsePosition::Type
            | ResponsePosition::Status
            | ResponsePosition::Finish
            | ResponsePosition::Done
            | ResponsePosition::Error
            | ResponsePosition::Blocked
            | ResponsePosition::BaseStatus => Interest::Short,
            _ => Interest::Nothing,
        }
    }
}

/// The position of the member `name` of an object.
pub(super) fn member(of: ResponsePosition, name: &[u8]) -> ResponsePosition {
    let found = match of {
        ResponsePosition::Document => DOCUMENT.find(name),
        ResponsePosition::Choice => CHOICE.find(name),
        ResponsePosition::Message => MESSAGE.find(name),
        ResponsePosition::Delta | ResponsePosition::Envelope => {
            ENVELOPE.find(name).or_else(|| MESSAGE.find(name))
        }
        ResponsePosition::Content | ResponsePosition::Part => PART.find(name),
        ResponsePosition::OutputItem => OUTPUT_ITEM.find(name),
        ResponsePosition::Response => RESPONSE.find(name),
        ResponsePosition::Usage | ResponsePosition::Meta => USAGE.find(name),
        ResponsePosition::GeminiUsage => GEMINI_USAGE.find(name),
        ResponsePosition::Arguments | ResponsePosition::Error => Some(of),
        _ => of_few(of, name),
    };
    found.unwrap_or(ResponsePosition::Ignored)
}

/// The position of the member `name` in an object with few relevant members.
fn of_few(of: ResponsePosition, name: &[u8]) -> Option<ResponsePosition> {
    Some(match (of, name) {
        (ResponsePosition::ToolCalls | ResponsePosition::ToolCall, b"function" | b"custom") => {
            ResponsePosition::Function
        }
        (ResponsePosition::Function, b"name") => ResponsePosition::CallName,
        (ResponsePosition::Function, b"arguments" | b"args" | b"input") => {
            ResponsePosition::Arguments
        }
        (ResponsePosition::Audio, b"transcript") => ResponsePosition::Text,
        (ResponsePosition::Begun, b"name") => ResponsePosition::CallName,
        (ResponsePosition::Begun, b"text" | b"thinking") => ResponsePosition::Text,
        (ResponsePosition::PromptDetails | ResponsePosition::InputDetails, b"cached_tokens") => {
            ResponsePosition::Tokens(TokenField::Cached)
        }
        (
            ResponsePosition::PromptDetails | ResponsePosition::InputDetails,
            b"cache_write_tokens" | b"cache_creation_tokens",
        ) => ResponsePosition::Tokens(TokenField::CacheWrite),
        (ResponsePosition::OutputDetails, b"reasoning_tokens" | b"thinking_tokens") => {
            ResponsePosition::Tokens(TokenField::Reasoning)
        }
        (ResponsePosition::CohereTokens, b"input_tokens") => {
            ResponsePosition::Tokens(TokenField::Prompt)
        }
        (ResponsePosition::CohereTokens, b"output_tokens") => {
            ResponsePosition::Tokens(TokenField::Output)
        }
        (ResponsePosition::CohereBilled, b"input_tokens") => {
            ResponsePosition::Tokens(TokenField::BilledInput)
        }
        (ResponsePosition::CohereBilled, b"output_tokens") => {
            ResponsePosition::Tokens(TokenField::BilledOutput)
        }
        (ResponsePosition::Groq, b"usage") => ResponsePosition::Usage,
        (ResponsePosition::Groq, b"error") => ResponsePosition::Error,
        (ResponsePosition::Prediction, b"embeddings") => ResponsePosition::PredictedEmbeddings,
        (ResponsePosition::PredictedEmbeddings, b"statistics") => ResponsePosition::Statistics,
        (ResponsePosition::Statistics, b"token_count") => {
            ResponsePosition::Tokens(TokenField::PerResult)
        }
        (ResponsePosition::PromptFeedback, b"blockReason") => ResponsePosition::Blocked,
        (ResponsePosition::BaseResp, b"status_code") => ResponsePosition::BaseStatus,
        _ => return None,
    })
}

/// The position of an element of an array.
pub(super) fn element(of: ResponsePosition) -> ResponsePosition {
    match of {
        ResponsePosition::Choices => ResponsePosition::Choice,
        ResponsePosition::Content => ResponsePosition::Part,
        ResponsePosition::ToolCalls => ResponsePosition::ToolCall,
        ResponsePosition::Output => ResponsePosition::OutputItem,
        ResponsePosition::Predictions => ResponsePosition::Prediction,
        ResponsePosition::Document | ResponsePosition::Arguments | ResponsePosition::Error => of,
        _ => ResponsePosition::Ignored,
    }
}

static DOCUMENT: NameTable<ResponsePosition> = NameTable::new(&[
    (b"choices", ResponsePosition::Choices),
    (b"candidates", ResponsePosition::Choices),
    (b"model", ResponsePosition::Model),
    (b"modelVersion", ResponsePosition::Model),
    (b"object", ResponsePosition::Object),
    (b"usage", ResponsePosition::Usage),
    (b"type", ResponsePosition::Type),
    (b"event_type", ResponsePosition::Type),
    (b"delta", ResponsePosition::Delta),
    (b"message", ResponsePosition::Envelope),
    (b"response", ResponsePosition::Response),
    (b"content", ResponsePosition::Content),
    (b"content_block", ResponsePosition::Begun),
    (b"item", ResponsePosition::Begun),
    (b"text", ResponsePosition::Text),
    (b"thinking", ResponsePosition::Text),
    (b"output", ResponsePosition::Output),
    (b"status", ResponsePosition::Status),
    (b"stop_reason", ResponsePosition::Finish),
    (b"finish_reason", ResponsePosition::Finish),
    (b"done_reason", ResponsePosition::Finish),
    (b"done", ResponsePosition::Done),
    (b"is_finished", ResponsePosition::Done),
    (b"error", ResponsePosition::Error),
    (b"usageMetadata", ResponsePosition::GeminiUsage),
    (b"promptFeedback", ResponsePosition::PromptFeedback),
    (b"meta", ResponsePosition::Meta),
    (b"x_groq", ResponsePosition::Groq),
    (b"base_resp", ResponsePosition::BaseResp),
    (b"data", ResponsePosition::Results),
    (b"embedding", ResponsePosition::Results),
    (b"embeddings", ResponsePosition::Results),
    (b"results", ResponsePosition::Results),
    (b"predictions", ResponsePosition::Predictions),
    (
        b"prompt_eval_count",
        ResponsePosition::Tokens(TokenField::Prompt),
    ),
    (b"eval_count", ResponsePosition::Tokens(TokenField::Output)),
    // Responses of token counting.
    (b"input_tokens", ResponsePosition::Tokens(TokenField::Input)),
    (b"totalTokens", ResponsePosition::Tokens(TokenField::Total)),
]);

static CHOICE: NameTable<ResponsePosition> = NameTable::new(&[
    (b"delta", ResponsePosition::Message),
    (b"message", ResponsePosition::Message),
    (b"index", ResponsePosition::ChoiceIndex),
    (b"finish_reason", ResponsePosition::ChoiceFinish),
    (b"finishReason", ResponsePosition::ChoiceFinish),
    (b"text", ResponsePosition::Text),
    (b"content", ResponsePosition::Content),
    (b"usage", ResponsePosition::Usage),
    (b"error", ResponsePosition::Error),
]);

static MESSAGE: NameTable<ResponsePosition> = NameTable::new(&[
    (b"content", ResponsePosition::Content),
    (b"thinking", ResponsePosition::Content),
    (b"reasoning_content", ResponsePosition::Text),
    (b"reasoning", ResponsePosition::Text),
    (b"refusal", ResponsePosition::Text),
    (b"text", ResponsePosition::Text),
    (b"partial_json", ResponsePosition::Text),
    (b"tool_plan", ResponsePosition::Text),
    (b"tool_calls", ResponsePosition::ToolCalls),
    (b"function_call", ResponsePosition::Function),
    (b"audio", ResponsePosition::Audio),
]);

/// In addition to those of [`MESSAGE`].
static ENVELOPE: NameTable<ResponsePosition> = NameTable::new(&[
    (b"stop_reason", ResponsePosition::Finish),
    (b"finish_reason", ResponsePosition::Finish),
    (b"usage", ResponsePosition::Usage),
    (b"model", ResponsePosition::Model),
    (b"message", ResponsePosition::Envelope),
    (b"error", ResponsePosition::Error),
]);

static PART: NameTable<ResponsePosition> = NameTable::new(&[
    (b"text", ResponsePosition::Text),
    (b"refusal", ResponsePosition::Text),
    (b"thinking", ResponsePosition::Content),
    (b"parts", ResponsePosition::Content),
    (b"functionCall", ResponsePosition::Function),
    (b"input", ResponsePosition::Arguments),
    (b"name", ResponsePosition::CallName),
]);

static OUTPUT_ITEM: NameTable<ResponsePosition> = NameTable::new(&[
    (b"content", ResponsePosition::Content),
    (b"summary", ResponsePosition::Content),
    (b"arguments", ResponsePosition::Arguments),
    (b"input", ResponsePosition::Arguments),
    (b"name", ResponsePosition::CallName),
]);

/// Its `output` repeats what came before, and is ignored.
static RESPONSE: NameTable<ResponsePosition> = NameTable::new(&[
    (b"object", ResponsePosition::Object),
    (b"model", ResponsePosition::Model),
    (b"usage", ResponsePosition::Usage),
    (b"status", ResponsePosition::Status),
    (b"error", ResponsePosition::Error),
    (b"meta", ResponsePosition::Meta),
    (b"finish_reason", ResponsePosition::Finish),
]);

static USAGE: NameTable<ResponsePosition> = NameTable::new(&[
    (
        b"prompt_tokens",
        ResponsePosition::Tokens(TokenField::Prompt),
    ),
    (b"input_tokens", ResponsePosition::Tokens(TokenField::Input)),
    (
        b"completion_tokens",
        ResponsePosition::Tokens(TokenField::Output),
    ),
    (
        b"output_tokens",
        ResponsePosition::Tokens(TokenField::Output),
    ),
    (b"total_tokens", ResponsePosition::Tokens(TokenField::Total)),
    (
        b"cached_tokens",
        ResponsePosition::Tokens(TokenField::Cached),
    ),
    (
        b"prompt_cache_hit_tokens",
        ResponsePosition::Tokens(TokenField::Cached),
    ),
    (
        b"cache_read_input_tokens",
        ResponsePosition::Tokens(TokenField::CacheRead),
    ),
    (
        b"cache_creation_input_tokens",
        ResponsePosition::Tokens(TokenField::CacheCreation),
    ),
    (
        b"reasoning_tokens",
        ResponsePosition::Tokens(TokenField::Reasoning),
    ),
    (b"prompt_tokens_details", ResponsePosition::PromptDetails),
    (b"input_tokens_details", ResponsePosition::InputDetails),
    (
        b"completion_tokens_details",
        ResponsePosition::OutputDetails,
    ),
    (b"output_tokens_details", ResponsePosition::OutputDetails),
    (b"tokens", ResponsePosition::CohereTokens),
    (b"billed_units", ResponsePosition::CohereBilled),
]);

static GEMINI_USAGE: NameTable<ResponsePosition> = NameTable::new(&[
    (
        b"promptTokenCount",
        ResponsePosition::Tokens(TokenField::Prompt),
    ),
    (
        b"candidatesTokenCount",
        ResponsePosition::Tokens(TokenField::Output),
    ),
    (
        b"thoughtsTokenCount",
        ResponsePosition::Tokens(TokenField::Thoughts),
    ),
    (
        b"toolUsePromptTokenCount",
        ResponsePosition::Tokens(TokenField::ToolPrompt),
    ),
    (
        b"cachedContentTokenCount",
        ResponsePosition::Tokens(TokenField::Cached),
    ),
    (
        b"totalTokenCount",
        ResponsePosition::Tokens(TokenField::Total),
    ),
]);
