//! The operation of a model API that a request calls, determined by its path.
//!
//! Providers, gateways and local servers serve the same operations under different prefixes (`/openai/v1`,
//! `/api/paas/v4`, `/compatible-mode/v1`), so the end of the path is matched. Supported are the paths of [OpenAI],
//! [Azure OpenAI], [Anthropic], [Gemini] and Vertex AI, [Ollama] and [Cohere].
//!
//! [OpenAI]: https://platform.openai.com/docs/api-reference
//! [Azure OpenAI]: https://learn.microsoft.com/azure/ai-services/openai/reference
//! [Anthropic]: https://docs.anthropic.com/en/api
//! [Gemini]: https://ai.google.dev/api
//! [Ollama]: https://github.com/ollama/ollama/blob/main/docs/api.md
//! [Cohere]: https://docs.cohere.com/reference

use memchr::{memchr, memchr_iter, memrchr, memrchr2};

/// An operation of a model API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// OpenAI's chat completions.
    Chat,
    /// OpenAI's responses.
    Responses,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's completions.
    TextCompletion,
    /// OpenAI's embeddings.
    Embeddings,
    /// Gemini's `generateContent` and `streamGenerateContent`.
    GenerateContent,
    /// Gemini's `embedContent` and `batchEmbedContents`.
    EmbedContent,
    /// Vertex AI's `predict`: embeddings and images of Google's own models.
    Predict,
    /// Ollama's chat.
    OllamaChat,
    /// Ollama's text completion.
    OllamaGenerate,
    /// Ollama's embeddings, by the current path or the old one.
    OllamaEmbed,
    /// Cohere's chat, v1 and v2.
    CohereChat,
    /// Cohere's embeddings, v1 and v2.
    CohereEmbed,
    /// Reranking of documents, in Cohere's format, which others have adopted.
    Rerank,
    /// Token counting, in any format.
    CountTokens,
    Moderation,
    /// Generation, editing and variation of images.
    Images,
    Speech,
    Transcription,
    Translation,
}

/// What the response to an operation contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OperationOutput {
    /// Generated text.
    Text,
    /// A list of results: vectors, rankings, images.
    Results,
    /// The number of tokens of a request.
    TokenCount,
    Other,
}

/// The segments that precede the name of a deployment or engine, in the paths of Azure and OpenAI's first API.
const DEPLOYMENT_SEGMENTS: [&str; 2] = ["deployments", "engines"];

impl Operation {
    /// The operation that a `POST` to this path calls. Case and a trailing slash are ignored, as by some servers.
    #[must_use]
    pub fn of(path: &str) -> Option<Operation> {
        of_lowercase(path).or_else(|| {
            let uppercase = path.bytes().any(|byte| byte.is_ascii_uppercase());
            uppercase.then(|| of_lowercase(&path.to_ascii_lowercase()))?
        })
    }

    /// What its response contains.
    #[must_use]
    pub const fn output(self) -> OperationOutput {
        match self {
            Operation::Chat
            | Operation::Responses
            | Operation::Messages
            | Operation::TextCompletion
            | Operation::GenerateContent
            | Operation::OllamaChat
            | Operation::OllamaGenerate
            | Operation::CohereChat => OperationOutput::Text,
            Operation::Embeddings
            | Operation::EmbedContent
            | Operation::Predict
            | Operation::OllamaEmbed
            | Operation::CohereEmbed
            | Operation::Rerank
            | Operation::Moderation
            | Operation::Images => OperationOutput::Results,
            Operation::CountTokens => OperationOutput::TokenCount,
            Operation::Speech | Operation::Transcription | Operation::Translation => {
                OperationOutput::Other
            }
        }
    }

    /// The value of OpenTelemetry's `gen_ai.operation.name`, or a custom one where the conventions define none.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Operation::Chat
            | Operation::Responses
            | Operation::Messages
            | Operation::OllamaChat
            | Operation::CohereChat => "chat",
            Operation::TextCompletion | Operation::OllamaGenerate => "text_completion",
            Operation::Embeddings
            | Operation::EmbedContent
            | Operation::OllamaEmbed
            | Operation::CohereEmbed => "embeddings",
            Operation::GenerateContent => "generate_content",
            Operation::Predict => "predict",
            Operation::Rerank => "rerank",
            Operation::CountTokens => "count_tokens",
            Operation::Moderation => "moderation",
            Operation::Images => "image_generation",
            Operation::Speech => "speech",
            Operation::Transcription => "transcription",
            Operation::Translation => "translation",
        }
    }

    /// Whether each call creates something new (an image, a recording), so that a stored response must not be reused.
    /// Whether the provider stores the response as an object depends on the request.
    #[must_use]
    pub const fn creates(self) -> bool {
        match self {
            Operation::Images
            | Operation::Speech
            | Operation::Transcription
            | Operation::Translation
            | Operation::Predict => true,
            Operation::Chat
            | Operation::Responses
            | Operation::Messages
            | Operation::TextCompletion
            | Operation::Embeddings
            | Operation::GenerateContent
            | Operation::EmbedContent
            | Operation::OllamaChat
            | Operation::OllamaGenerate
            | Operation::OllamaEmbed
            | Operation::CohereChat
            | Operation::CohereEmbed
            | Operation::Rerank
            | Operation::CountTokens
            | Operation::Moderation => false,
        }
    }

    /// Whether the response is a stream by default.
    #[must_use]
    pub(super) const fn streams_by_default(self) -> bool {
        matches!(self, Operation::OllamaChat | Operation::OllamaGenerate)
    }
}

/// Matches the last segments of a path in lower case.
fn of_lowercase(path: &str) -> Option<Operation> {
    let (above, last) = split_last(path.trim_end_matches('/'));
    let (further, before) = split_last(above);
    if let Some((_, method)) = split_method(last) {
        return of_method(method, before, path);
    }
    let versioned = matches!(before, "v1" | "v2");
    Some(match last {
        "completions" if before == "chat" => Operation::Chat,
        "completions" => Operation::TextCompletion,
        "responses" => Operation::Responses,
        "compact" if before == "responses" => Operation::Responses,
        "input_tokens" if before == "responses" => Operation::CountTokens,
        // Adding a message to a thread of the Assistants API calls no model.
        "messages" if split_last(further).1 == "threads" => return None,
        "messages" => Operation::Messages,
        "count_tokens" if before == "messages" => Operation::CountTokens,
        "embeddings" if before == "api" => Operation::OllamaEmbed,
        "embeddings" => Operation::Embeddings,
        "generations" | "edits" | "variations" if before == "images" => Operation::Images,
        "speech" if before == "audio" => Operation::Speech,
        "transcriptions" if before == "audio" => Operation::Transcription,
        "translations" if before == "audio" => Operation::Translation,
        "rerank" => Operation::Rerank,
        "moderations" => Operation::Moderation,
        "chat" if before == "api" => Operation::OllamaChat,
        "generate" if before == "api" => Operation::OllamaGenerate,
        "embed" if before == "api" => Operation::OllamaEmbed,
        "chat" if versioned => Operation::CohereChat,
        "embed" if versioned => Operation::CohereEmbed,
        _ => return None,
    })
}

/// Matches the method after the colon in Google's paths.
fn of_method(method: &str, before: &str, path: &str) -> Option<Operation> {
    Some(match method {
        "generatecontent" | "streamgeneratecontent" => Operation::GenerateContent,
        "counttokens" | "computetokens" => Operation::CountTokens,
        "embedcontent" | "batchembedcontents" => Operation::EmbedContent,
        // Custom endpoints may predict anything.
        "predict" if before == "models" => Operation::Predict,
        // Models of other vendors on Vertex AI, in their own formats.
        "rawpredict" | "streamrawpredict" => match path.contains("/publishers/anthropic/") {
            true => Operation::Messages,
            false => Operation::Chat,
        },
        _ => return None,
    })
}

/// What a path specifies besides the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PathFields<'a> {
    /// The model before the colon, which takes precedence over the body.
    pub(crate) model: Option<&'a str>,
    /// The deployment, used where the body names no model.
    pub(crate) deployment: Option<&'a str>,
    /// Whether the path requests a stream.
    pub(crate) stream: bool,
}

impl PathFields<'_> {
    pub(crate) fn of(path: &str) -> PathFields<'_> {
        let path = path.trim_end_matches('/');
        let method = split_method(split_last(path).1);
        let streams = ["streamGenerateContent", "streamRawPredict"];
        let is_stream = |(_, method)| streams.iter().any(|name| name.eq_ignore_ascii_case(method));
        PathFields {
            model: method.map(|(model, _)| model),
            deployment: DEPLOYMENT_SEGMENTS
                .iter()
                .find_map(|name| segment_after(path, name)),
            stream: method.is_some_and(is_stream),
        }
    }
}

/// The path without its last segment, and that segment.
fn split_last(path: &str) -> (&str, &str) {
    match memrchr(b'/', path.as_bytes()) {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => ("", path),
    }
}

/// The segment after the one with this name.
fn segment_after<'a>(path: &'a str, name: &str) -> Option<&'a str> {
    let bytes = path.as_bytes();
    let mut slashes = memchr_iter(b'/', bytes);
    let named = |at: &usize| {
        let segment = bytes[at + 1..].get(..=name.len());
        segment.is_some_and(|segment| {
            segment[..name.len()].eq_ignore_ascii_case(name.as_bytes())
                && segment[name.len()] == b'/'
        })
    };
    let begin = slashes.find(named)? + name.len() + 2;
    let end = memchr(b'/', &bytes[begin..]).map_or(bytes.len(), |length| begin + length);
    path.get(begin..end).filter(|segment| !segment.is_empty())
}

/// The model and the method of a last segment `MODEL:METHOD`. The colon may be percent-encoded.
fn split_method(segment: &str) -> Option<(&str, &str)> {
    let bytes = segment.as_bytes();
    let at = memrchr2(b':', b'%', bytes)?;
    let (model, method) = match &bytes[at..] {
        [b':', ..] => (&segment[..at], &segment[at + 1..]),
        [b'%', b'3', b'A' | b'a', ..] => (&segment[..at], &segment[at + 3..]),
        _ => return None,
    };
    (!model.is_empty()).then_some((model, method))
}

#[cfg(test)]
#[path = "operation_tests.rs"]
mod tests;
