//! Where in an answer what is of interest stands, in every format at once: no two of them mean different
//! things by the same path, but for a few that a document's `type` tells apart.
//!
//! The formats: OpenAI's [chat] and [responses], Anthropic's [messages], [Gemini]'s, [Ollama]'s and
//! [Cohere]'s, with what providers of the same formats add (Groq, OpenRouter, DeepSeek, Moonshot, Mistral).
//!
//! [chat]: https://platform.openai.com/docs/api-reference/chat/object
//! [responses]: https://platform.openai.com/docs/api-reference/responses/object
//! [messages]: https://docs.anthropic.com/en/api/messages
//! [Gemini]: https://ai.google.dev/api/generate-content
//! [Ollama]: https://github.com/ollama/ollama/blob/main/docs/api.md
//! [Cohere]: https://docs.cohere.com/reference/chat

use super::figures::Figure;
use crate::model::json::{self, Names, Wants};

/// A place in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Nowhere,
    /// An answer, an event of one, or an array of them.
    Document,
    /// OpenAI's choices, Gemini's candidates.
    Choices,
    Choice,
    ChoiceIndex,
    ChoiceFinish,
    /// What one choice says, or adds.
    Message,
    /// What a whole event adds: an object that holds a message, or its text itself.
    Delta,
    /// A message that stands for the whole answer.
    Envelope,
    /// Text, or parts of it.
    Content,
    Part,
    Text,
    ToolCalls,
    ToolCall,
    Function,
    CallName,
    /// Arguments as a text, or as an object.
    Arguments,
    Audio,
    /// The output of OpenAI's responses.
    Output,
    OutputItem,
    /// What an event begins: its text follows in deltas, but not the name of a call.
    Begun,
    /// OpenAI's responses: the answer within an event. Ollama: its text.
    Response,
    Usage,
    /// Beside `prompt_tokens`.
    PromptDetails,
    /// Beside `input_tokens`.
    InputDetails,
    OutputDetails,
    GeminiUsage,
    /// Cohere's `meta`, also of other operations than chat.
    Meta,
    CohereTokens,
    CohereBilled,
    Figure(Figure),
    Model,
    Object,
    Type,
    Status,
    /// Why the whole answer ended.
    Finish,
    Done,
    Error,
    /// Groq's own member.
    Groq,
    PromptFeedback,
    Blocked,
    /// MiniMax's own way to say that it failed.
    BaseResp,
    BaseStatus,
    /// What other operations than the generation of text answer with.
    Results,
    /// Vertex AI's results, each with how many tokens its text was.
    Predictions,
    Prediction,
    PredictedEmbeddings,
    Statistics,
}

impl json::Place for Place {
    const ROOT: Self = Place::Document;
    const NOWHERE: Self = Place::Nowhere;

    fn wants(self) -> Wants {
        match self {
            Place::Delta
            | Place::Content
            | Place::Text
            | Place::CallName
            | Place::Arguments
            | Place::Response => Wants::Text,
            Place::Document
            | Place::ChoiceIndex
            | Place::ChoiceFinish
            | Place::Figure(_)
            | Place::Model
            | Place::Object
            | Place::Type
            | Place::Status
            | Place::Finish
            | Place::Done
            | Place::Error
            | Place::Blocked
            | Place::BaseStatus => Wants::Short,
            _ => Wants::Nothing,
        }
    }
}

/// Where the member `name` of an object stands.
pub(super) fn member(of: Place, name: &[u8]) -> Place {
    let found = match of {
        Place::Document => DOCUMENT.find(name),
        Place::Choice => CHOICE.find(name),
        Place::Message => MESSAGE.find(name),
        Place::Delta | Place::Envelope => ENVELOPE.find(name).or_else(|| MESSAGE.find(name)),
        Place::Content | Place::Part => PART.find(name),
        Place::OutputItem => OUTPUT_ITEM.find(name),
        Place::Response => RESPONSE.find(name),
        Place::Usage | Place::Meta => USAGE.find(name),
        Place::GeminiUsage => GEMINI_USAGE.find(name),
        Place::Arguments | Place::Error => Some(of),
        _ => of_few(of, name),
    };
    found.unwrap_or(Place::Nowhere)
}

/// The same for objects with few members that are of interest.
fn of_few(of: Place, name: &[u8]) -> Option<Place> {
    Some(match (of, name) {
        (Place::ToolCalls | Place::ToolCall, b"function" | b"custom") => Place::Function,
        (Place::Function, b"name") => Place::CallName,
        (Place::Function, b"arguments" | b"args" | b"input") => Place::Arguments,
        (Place::Audio, b"transcript") => Place::Text,
        (Place::Begun, b"name") => Place::CallName,
        (Place::Begun, b"text" | b"thinking") => Place::Text,
        (Place::PromptDetails | Place::InputDetails, b"cached_tokens") => {
            Place::Figure(Figure::Cached)
        }
        (
            Place::PromptDetails | Place::InputDetails,
            b"cache_write_tokens" | b"cache_creation_tokens",
        ) => Place::Figure(Figure::CacheWrite),
        (Place::OutputDetails, b"reasoning_tokens" | b"thinking_tokens") => {
            Place::Figure(Figure::Reasoning)
        }
        (Place::CohereTokens, b"input_tokens") => Place::Figure(Figure::Prompt),
        (Place::CohereTokens, b"output_tokens") => Place::Figure(Figure::Output),
        (Place::CohereBilled, b"input_tokens") => Place::Figure(Figure::BilledInput),
        (Place::CohereBilled, b"output_tokens") => Place::Figure(Figure::BilledOutput),
        (Place::Groq, b"usage") => Place::Usage,
        (Place::Groq, b"error") => Place::Error,
        (Place::Prediction, b"embeddings") => Place::PredictedEmbeddings,
        (Place::PredictedEmbeddings, b"statistics") => Place::Statistics,
        (Place::Statistics, b"token_count") => Place::Figure(Figure::Each),
        (Place::PromptFeedback, b"blockReason") => Place::Blocked,
        (Place::BaseResp, b"status_code") => Place::BaseStatus,
        _ => return None,
    })
}

/// Where an element of an array stands.
pub(super) fn element(of: Place) -> Place {
    match of {
        Place::Choices => Place::Choice,
        Place::Content => Place::Part,
        Place::ToolCalls => Place::ToolCall,
        Place::Output => Place::OutputItem,
        Place::Predictions => Place::Prediction,
        Place::Document | Place::Arguments | Place::Error => of,
        _ => Place::Nowhere,
    }
}

static DOCUMENT: Names<Place> = Names::new(&[
    (b"choices", Place::Choices),
    (b"candidates", Place::Choices),
    (b"model", Place::Model),
    (b"modelVersion", Place::Model),
    (b"object", Place::Object),
    (b"usage", Place::Usage),
    (b"type", Place::Type),
    (b"event_type", Place::Type),
    (b"delta", Place::Delta),
    (b"message", Place::Envelope),
    (b"response", Place::Response),
    (b"content", Place::Content),
    (b"content_block", Place::Begun),
    (b"item", Place::Begun),
    (b"text", Place::Text),
    (b"thinking", Place::Text),
    (b"output", Place::Output),
    (b"status", Place::Status),
    (b"stop_reason", Place::Finish),
    (b"finish_reason", Place::Finish),
    (b"done_reason", Place::Finish),
    (b"done", Place::Done),
    (b"is_finished", Place::Done),
    (b"error", Place::Error),
    (b"usageMetadata", Place::GeminiUsage),
    (b"promptFeedback", Place::PromptFeedback),
    (b"meta", Place::Meta),
    (b"x_groq", Place::Groq),
    (b"base_resp", Place::BaseResp),
    (b"data", Place::Results),
    (b"embedding", Place::Results),
    (b"embeddings", Place::Results),
    (b"results", Place::Results),
    (b"predictions", Place::Predictions),
    (b"prompt_eval_count", Place::Figure(Figure::Prompt)),
    (b"eval_count", Place::Figure(Figure::Output)),
    // What a question would be, where only that was asked.
    (b"input_tokens", Place::Figure(Figure::Fresh)),
    (b"totalTokens", Place::Figure(Figure::Total)),
]);

static CHOICE: Names<Place> = Names::new(&[
    (b"delta", Place::Message),
    (b"message", Place::Message),
    (b"index", Place::ChoiceIndex),
    (b"finish_reason", Place::ChoiceFinish),
    (b"finishReason", Place::ChoiceFinish),
    (b"text", Place::Text),
    (b"content", Place::Content),
    (b"usage", Place::Usage),
    (b"error", Place::Error),
]);

static MESSAGE: Names<Place> = Names::new(&[
    (b"content", Place::Content),
    (b"thinking", Place::Content),
    (b"reasoning_content", Place::Text),
    (b"reasoning", Place::Text),
    (b"refusal", Place::Text),
    (b"text", Place::Text),
    (b"partial_json", Place::Text),
    (b"tool_plan", Place::Text),
    (b"tool_calls", Place::ToolCalls),
    (b"function_call", Place::Function),
    (b"audio", Place::Audio),
]);

/// Beside those of [`MESSAGE`].
static ENVELOPE: Names<Place> = Names::new(&[
    (b"stop_reason", Place::Finish),
    (b"finish_reason", Place::Finish),
    (b"usage", Place::Usage),
    (b"model", Place::Model),
    (b"message", Place::Envelope),
    (b"error", Place::Error),
]);

static PART: Names<Place> = Names::new(&[
    (b"text", Place::Text),
    (b"refusal", Place::Text),
    (b"thinking", Place::Content),
    (b"parts", Place::Content),
    (b"functionCall", Place::Function),
    (b"input", Place::Arguments),
    (b"name", Place::CallName),
]);

static OUTPUT_ITEM: Names<Place> = Names::new(&[
    (b"content", Place::Content),
    (b"summary", Place::Content),
    (b"arguments", Place::Arguments),
    (b"input", Place::Arguments),
    (b"name", Place::CallName),
]);

/// Its `output` says again what came before.
static RESPONSE: Names<Place> = Names::new(&[
    (b"object", Place::Object),
    (b"model", Place::Model),
    (b"usage", Place::Usage),
    (b"status", Place::Status),
    (b"error", Place::Error),
    (b"meta", Place::Meta),
    (b"finish_reason", Place::Finish),
]);

static USAGE: Names<Place> = Names::new(&[
    (b"prompt_tokens", Place::Figure(Figure::Prompt)),
    (b"input_tokens", Place::Figure(Figure::Fresh)),
    (b"completion_tokens", Place::Figure(Figure::Output)),
    (b"output_tokens", Place::Figure(Figure::Output)),
    (b"total_tokens", Place::Figure(Figure::Total)),
    (b"cached_tokens", Place::Figure(Figure::Cached)),
    (b"prompt_cache_hit_tokens", Place::Figure(Figure::Cached)),
    (b"cache_read_input_tokens", Place::Figure(Figure::CacheRead)),
    (
        b"cache_creation_input_tokens",
        Place::Figure(Figure::CacheCreation),
    ),
    (b"reasoning_tokens", Place::Figure(Figure::Reasoning)),
    (b"prompt_tokens_details", Place::PromptDetails),
    (b"input_tokens_details", Place::InputDetails),
    (b"completion_tokens_details", Place::OutputDetails),
    (b"output_tokens_details", Place::OutputDetails),
    (b"tokens", Place::CohereTokens),
    (b"billed_units", Place::CohereBilled),
]);

static GEMINI_USAGE: Names<Place> = Names::new(&[
    (b"promptTokenCount", Place::Figure(Figure::Prompt)),
    (b"candidatesTokenCount", Place::Figure(Figure::Output)),
    (b"thoughtsTokenCount", Place::Figure(Figure::Thoughts)),
    (
        b"toolUsePromptTokenCount",
        Place::Figure(Figure::ToolPrompt),
    ),
    (b"cachedContentTokenCount", Place::Figure(Figure::Cached)),
    (b"totalTokenCount", Place::Figure(Figure::Total)),
]);
