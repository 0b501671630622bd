//! What a model is asked to do, by the path of the request.
//!
//! Providers, gateways and local servers put the same operations under prefixes of their own
//! (`/openai/v1`, `/api/paas/v4`, `/compatible-mode/v1`): the end of the path says which one it is.
//! Paths are those of [OpenAI], [Azure OpenAI], [Anthropic], [Gemini] and Vertex AI, [Ollama] and [Cohere].
//!
//! [OpenAI]: https://platform.openai.com/docs/api-reference
//! [Azure OpenAI]: https://learn.microsoft.com/azure/ai-services/openai/reference
//! [Anthropic]: https://docs.anthropic.com/en/api
//! [Gemini]: https://ai.google.dev/api
//! [Ollama]: https://github.com/ollama/ollama/blob/main/docs/api.md
//! [Cohere]: https://docs.cohere.com/reference

use memchr::{memchr, memchr_iter, memrchr, memrchr2};

/// An operation of a model's API.
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
    /// Ollama's completion of a prompt.
    OllamaGenerate,
    /// Ollama's embeddings, by the new path and the old.
    OllamaEmbed,
    /// Cohere's chat, v1 and v2.
    CohereChat,
    /// Cohere's embeddings, v1 and v2.
    CohereEmbed,
    /// Documents put in order, as Cohere does it and others after it.
    Rerank,
    /// How many tokens a question would be, in whatever format.
    CountTokens,
    Moderation,
    /// Images made, edited or varied.
    Images,
    Speech,
    Transcription,
    Translation,
}

/// What the answer to an operation holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Yields {
    /// Text that the model generates.
    Text,
    /// A list of results: vectors, ranks, images.
    Results,
    /// How many tokens a question would be.
    Figures,
    Other,
}

/// What stands before the name of a deployment or engine, as Azure and OpenAI's first API have it.
const NAMED_BEHIND: [&str; 2] = ["deployments", "engines"];

impl Operation {
    /// The operation that a path asks for with `POST`, by its end, whatever stands before it. The case of
    /// letters and a slash at the end do not matter: there are servers to which they do not.
    #[must_use]
    pub fn of(path: &str) -> Option<Operation> {
        of_lowercase(path).or_else(|| {
            let uppercase = path.bytes().any(|byte| byte.is_ascii_uppercase());
            uppercase.then(|| of_lowercase(&path.to_ascii_lowercase()))?
        })
    }

    /// What its answer holds.
    #[must_use]
    pub const fn yields(self) -> Yields {
        match self {
            Operation::Chat
            | Operation::Responses
            | Operation::Messages
            | Operation::TextCompletion
            | Operation::GenerateContent
            | Operation::OllamaChat
            | Operation::OllamaGenerate
            | Operation::CohereChat => Yields::Text,
            Operation::Embeddings
            | Operation::EmbedContent
            | Operation::Predict
            | Operation::OllamaEmbed
            | Operation::CohereEmbed
            | Operation::Rerank
            | Operation::Moderation
            | Operation::Images => Yields::Results,
            Operation::CountTokens => Yields::Figures,
            Operation::Speech | Operation::Transcription | Operation::Translation => Yields::Other,
        }
    }

    /// OpenTelemetry's `gen_ai.operation.name`; where the conventions have no word, a plain one.
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

    /// Whether each call makes something new (an image, a recording), so that the answer to an earlier
    /// one cannot stand for it. Whether a response is kept by its provider, only its question says.
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

    /// Whether the response is a stream unless the request asks for none.
    #[must_use]
    pub(super) const fn streams_unasked(self) -> bool {
        matches!(self, Operation::OllamaChat | Operation::OllamaGenerate)
    }
}

/// By the last segments of the path.
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
        // A message put into a thread of the Assistants API asks no model.
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

/// By the method behind the colon of Google's paths.
fn of_method(method: &str, before: &str, path: &str) -> Option<Operation> {
    Some(match method {
        "generatecontent" | "streamgeneratecontent" => Operation::GenerateContent,
        "counttokens" | "computetokens" => Operation::CountTokens,
        "embedcontent" | "batchembedcontents" => Operation::EmbedContent,
        // Endpoints of one's own predict whatever they were trained for.
        "predict" if before == "models" => Operation::Predict,
        // Models of other makers on Vertex AI, in their own formats.
        "rawpredict" | "streamrawpredict" => match path.contains("/publishers/anthropic/") {
            true => Operation::Messages,
            false => Operation::Chat,
        },
        _ => return None,
    })
}

/// What a path says beside the operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct InPath<'a> {
    /// The model before the colon; it counts whatever the body says.
    pub(super) model: Option<&'a str>,
    /// The deployment; it counts where the body names no model.
    pub(super) deployment: Option<&'a str>,
    /// Whether a stream is asked for by the path.
    pub(super) stream: bool,
}

impl InPath<'_> {
    pub(super) fn of(path: &str) -> InPath<'_> {
        let path = path.trim_end_matches('/');
        let method = split_method(split_last(path).1);
        let streams = ["streamGenerateContent", "streamRawPredict"];
        let is_stream = |(_, method)| streams.iter().any(|name| name.eq_ignore_ascii_case(method));
        InPath {
            model: method.map(|(model, _)| model),
            deployment: NAMED_BEHIND.iter().find_map(|name| behind(path, name)),
            stream: method.is_some_and(is_stream),
        }
    }
}

/// A path without its last segment, and that segment.
fn split_last(path: &str) -> (&str, &str) {
    match memrchr(b'/', path.as_bytes()) {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => ("", path),
    }
}

/// The segment behind the one with this name.
fn behind<'a>(path: &'a str, name: &str) -> Option<&'a str> {
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

/// The model and the method of a last segment `MODEL:METHOD`. The colon may be encoded.
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
