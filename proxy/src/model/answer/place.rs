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
use crate::model::json::{self, Wants};

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
    match of {
        Place::Document => of_document(name),
        Place::Choice => of_choice(name),
        Place::Message => of_message(name),
        Place::Delta | Place::Envelope => of_delta(name),
        Place::Content | Place::Part => of_part(name),
        Place::ToolCalls | Place::ToolCall => match name {
            b"function" | b"custom" => Place::Function,
            _ => Place::Nowhere,
        },
        Place::Function => match name {
            b"name" => Place::CallName,
            b"arguments" | b"args" | b"input" => Place::Arguments,
            _ => Place::Nowhere,
        },
        Place::Audio if name == b"transcript" => Place::Text,
        Place::OutputItem => of_output_item(name),
        Place::Begun => match name {
            b"name" => Place::CallName,
            b"text" | b"thinking" => Place::Text,
            _ => Place::Nowhere,
        },
        Place::Response => of_response(name),
        Place::Usage | Place::Meta => of_usage(name),
        Place::PromptDetails | Place::InputDetails => match name {
            b"cached_tokens" => Place::Figure(Figure::Cached),
            b"cache_write_tokens" | b"cache_creation_tokens" => Place::Figure(Figure::CacheWrite),
            _ => Place::Nowhere,
        },
        Place::OutputDetails => match name {
            b"reasoning_tokens" | b"thinking_tokens" => Place::Figure(Figure::Reasoning),
            _ => Place::Nowhere,
        },
        Place::GeminiUsage => of_gemini_usage(name),
        Place::CohereTokens => match name {
            b"input_tokens" => Place::Figure(Figure::Prompt),
            b"output_tokens" => Place::Figure(Figure::Output),
            _ => Place::Nowhere,
        },
        Place::CohereBilled => match name {
            b"input_tokens" => Place::Figure(Figure::BilledInput),
            b"output_tokens" => Place::Figure(Figure::BilledOutput),
            _ => Place::Nowhere,
        },
        Place::Groq => match name {
            b"usage" => Place::Usage,
            b"error" => Place::Error,
            _ => Place::Nowhere,
        },
        Place::PromptFeedback if name == b"blockReason" => Place::Blocked,
        Place::BaseResp if name == b"status_code" => Place::BaseStatus,
        Place::Arguments | Place::Error => of,
        _ => Place::Nowhere,
    }
}

/// Where an element of an array stands.
pub(super) fn element(of: Place) -> Place {
    match of {
        Place::Choices => Place::Choice,
        Place::Content => Place::Part,
        Place::ToolCalls => Place::ToolCall,
        Place::Output => Place::OutputItem,
        Place::Document | Place::Arguments | Place::Error => of,
        _ => Place::Nowhere,
    }
}

fn of_document(name: &[u8]) -> Place {
    match name {
        b"choices" | b"candidates" => Place::Choices,
        b"model" | b"modelVersion" => Place::Model,
        b"object" => Place::Object,
        b"usage" => Place::Usage,
        b"type" | b"event_type" => Place::Type,
        b"delta" => Place::Delta,
        b"message" => Place::Envelope,
        b"response" => Place::Response,
        b"content" => Place::Content,
        b"content_block" | b"item" => Place::Begun,
        b"text" | b"thinking" => Place::Text,
        b"output" => Place::Output,
        b"status" => Place::Status,
        b"stop_reason" | b"finish_reason" | b"done_reason" => Place::Finish,
        b"done" | b"is_finished" => Place::Done,
        b"error" => Place::Error,
        b"usageMetadata" => Place::GeminiUsage,
        b"promptFeedback" => Place::PromptFeedback,
        b"meta" => Place::Meta,
        b"x_groq" => Place::Groq,
        b"base_resp" => Place::BaseResp,
        b"data" | b"embedding" | b"embeddings" | b"results" | b"predictions" => Place::Results,
        b"prompt_eval_count" => Place::Figure(Figure::Prompt),
        b"eval_count" => Place::Figure(Figure::Output),
        // What a question would be, where only that was asked.
        b"input_tokens" => Place::Figure(Figure::Fresh),
        b"totalTokens" => Place::Figure(Figure::Total),
        _ => Place::Nowhere,
    }
}

fn of_choice(name: &[u8]) -> Place {
    match name {
        b"delta" | b"message" => Place::Message,
        b"index" => Place::ChoiceIndex,
        b"finish_reason" | b"finishReason" => Place::ChoiceFinish,
        b"text" => Place::Text,
        b"content" => Place::Content,
        b"usage" => Place::Usage,
        b"error" => Place::Error,
        _ => Place::Nowhere,
    }
}

fn of_message(name: &[u8]) -> Place {
    match name {
        b"content" | b"thinking" => Place::Content,
        b"reasoning_content" | b"reasoning" | b"refusal" | b"text" | b"partial_json"
        | b"tool_plan" => Place::Text,
        b"tool_calls" => Place::ToolCalls,
        b"function_call" => Place::Function,
        b"audio" => Place::Audio,
        _ => Place::Nowhere,
    }
}

fn of_delta(name: &[u8]) -> Place {
    match name {
        b"stop_reason" | b"finish_reason" => Place::Finish,
        b"usage" => Place::Usage,
        b"model" => Place::Model,
        b"message" => Place::Envelope,
        b"error" => Place::Error,
        _ => of_message(name),
    }
}

fn of_part(name: &[u8]) -> Place {
    match name {
        b"text" | b"refusal" => Place::Text,
        b"thinking" | b"parts" => Place::Content,
        b"functionCall" => Place::Function,
        b"input" => Place::Arguments,
        b"name" => Place::CallName,
        _ => Place::Nowhere,
    }
}

fn of_output_item(name: &[u8]) -> Place {
    match name {
        b"content" | b"summary" => Place::Content,
        b"arguments" | b"input" => Place::Arguments,
        b"name" => Place::CallName,
        _ => Place::Nowhere,
    }
}

/// Its `output` says again what came before.
fn of_response(name: &[u8]) -> Place {
    match name {
        b"model" => Place::Model,
        b"usage" => Place::Usage,
        b"status" => Place::Status,
        b"error" => Place::Error,
        b"meta" => Place::Meta,
        b"finish_reason" => Place::Finish,
        _ => Place::Nowhere,
    }
}

fn of_usage(name: &[u8]) -> Place {
    Place::Figure(match name {
        b"prompt_tokens" => Figure::Prompt,
        b"input_tokens" => Figure::Fresh,
        b"completion_tokens" | b"output_tokens" => Figure::Output,
        b"total_tokens" => Figure::Total,
        b"cached_tokens" | b"prompt_cache_hit_tokens" => Figure::Cached,
        b"cache_read_input_tokens" => Figure::CacheRead,
        b"cache_creation_input_tokens" => Figure::CacheCreation,
        b"reasoning_tokens" => Figure::Reasoning,
        b"prompt_tokens_details" => return Place::PromptDetails,
        b"input_tokens_details" => return Place::InputDetails,
        b"completion_tokens_details" | b"output_tokens_details" => return Place::OutputDetails,
        b"tokens" => return Place::CohereTokens,
        b"billed_units" => return Place::CohereBilled,
        _ => return Place::Nowhere,
    })
}

fn of_gemini_usage(name: &[u8]) -> Place {
    Place::Figure(match name {
        b"promptTokenCount" => Figure::Prompt,
        b"candidatesTokenCount" => Figure::Output,
        b"thoughtsTokenCount" => Figure::Thoughts,
        b"toolUsePromptTokenCount" => Figure::ToolPrompt,
        b"cachedContentTokenCount" => Figure::Cached,
        b"totalTokenCount" => Figure::Total,
        _ => return Place::Nowhere,
    })
}
