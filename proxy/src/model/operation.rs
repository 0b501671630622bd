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

/// The last two segments of a path and what they mean; an empty first one is any. The first line that fits
/// decides.
const ENDS: [(&str, &str, Operation); 24] = [
    ("chat", "completions", Operation::Chat),
    ("", "completions", Operation::TextCompletion),
    ("", "responses", Operation::Responses),
    ("responses", "compact", Operation::Responses),
    ("responses", "input_tokens", Operation::CountTokens),
    ("", "messages", Operation::Messages),
    ("messages", "count_tokens", Operation::CountTokens),
    ("api", "embeddings", Operation::OllamaEmbed),
    ("", "embeddings", Operation::Embeddings),
    ("images", "generations", Operation::Images),
    ("images", "edits", Operation::Images),
    ("images", "variations", Operation::Images),
    ("audio", "speech", Operation::Speech),
    ("audio", "transcriptions", Operation::Transcription),
    ("audio", "translations", Operation::Translation),
    ("", "rerank", Operation::Rerank),
    ("", "moderations", Operation::Moderation),
    ("api", "chat", Operation::OllamaChat),
    ("api", "generate", Operation::OllamaGenerate),
    ("api", "embed", Operation::OllamaEmbed),
    ("v1", "chat", Operation::CohereChat),
    ("v2", "chat", Operation::CohereChat),
    ("v1", "embed", Operation::CohereEmbed),
    ("v2", "embed", Operation::CohereEmbed),
];

/// The methods behind the colon of Google's paths (`models/NAME:METHOD`).
const METHODS: [(&str, Operation); 9] = [
    ("generateContent", Operation::GenerateContent),
    ("streamGenerateContent", Operation::GenerateContent),
    ("countTokens", Operation::CountTokens),
    ("computeTokens", Operation::CountTokens),
    ("embedContent", Operation::EmbedContent),
    ("batchEmbedContents", Operation::EmbedContent),
    ("predict", Operation::Predict),
    // Models of other makers on Vertex AI, in their own formats.
    ("rawPredict", Operation::Chat),
    ("streamRawPredict", Operation::Chat),
];

/// What stands before the name of a deployment or engine, as Azure and OpenAI's first API have it.
const NAMED_BEHIND: [&str; 2] = ["deployments", "engines"];

impl Operation {
    /// The operation that a path asks for with `POST`, by its end, whatever stands before it. The case of
    /// letters and a slash at the end do not matter: there are servers to which they do not.
    #[must_use]
    pub fn of(path: &str) -> Option<Operation> {
        let mut segments = path.trim_end_matches('/').rsplit('/');
        let last = segments.next()?;
        let before = segments.next().unwrap_or_default();
        if let Some((_, method)) = split_method(last) {
            return of_method(method, before, path);
        }
        let fits = |(first, second, _): &&(&str, &str, Operation)| {
            last.eq_ignore_ascii_case(second)
                && (first.is_empty() || before.eq_ignore_ascii_case(first))
        };
        let (_, _, operation) = ENDS.iter().find(fits)?;
        // A message put into a thread of the Assistants API asks no model.
        let thread = segments.next().unwrap_or_default();
        let into_thread = *operation == Operation::Messages && is_any(thread, &["threads"]);
        (!into_thread).then_some(*operation)
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

    /// Whether the answer is a stream unless the question says no.
    #[must_use]
    pub(super) const fn streams_unasked(self) -> bool {
        matches!(self, Operation::OllamaChat | Operation::OllamaGenerate)
    }
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
        let last = path.rsplit('/').next().unwrap_or_default();
        let method = split_method(last);
        let mut segments = path.split('/');
        let named = segments
            .by_ref()
            .any(|segment| is_any(segment, &NAMED_BEHIND));
        InPath {
            model: method.map(|(model, _)| model),
            deployment: segments.next().filter(|name| named && !name.is_empty()),
            stream: method.is_some_and(|(_, method)| {
                is_any(method, &["streamGenerateContent", "streamRawPredict"])
            }),
        }
    }
}

/// The model and the method of a last segment `MODEL:METHOD`. The colon may be encoded.
fn split_method(segment: &str) -> Option<(&str, &str)> {
    let split = segment.rsplit_once(':');
    let split = split.or_else(|| segment.rsplit_once("%3A"));
    let split = split.or_else(|| segment.rsplit_once("%3a"));
    split.filter(|(model, _)| !model.is_empty())
}

fn of_method(method: &str, before: &str, path: &str) -> Option<Operation> {
    let named = |(name, _): &&(&str, Operation)| method.eq_ignore_ascii_case(name);
    let (_, operation) = METHODS.iter().find(named)?;
    match operation {
        // Endpoints of one's own predict whatever they were trained for.
        Operation::Predict if !is_any(before, &["models"]) => None,
        Operation::Chat if path.contains("/publishers/anthropic/") => Some(Operation::Messages),
        operation => Some(*operation),
    }
}

fn is_any(segment: &str, names: &[&str]) -> bool {
    names.iter().any(|name| segment.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_are_known_by_the_end_of_their_path() {
        for (path, operation) in [
            ("/v1/chat/completions", Operation::Chat),
            ("/chat/completions", Operation::Chat),
            ("/api/paas/v4/chat/completions", Operation::Chat),
            ("/compatible-mode/v1/chat/completions", Operation::Chat),
            ("/v1/chat/completions/", Operation::Chat),
            ("/V1/Chat/Completions", Operation::Chat),
            ("/openai/deployments/gpt/chat/completions", Operation::Chat),
            ("/v1/completions", Operation::TextCompletion),
            ("/openai/v1/responses", Operation::Responses),
            ("/v1/responses/compact", Operation::Responses),
            ("/v1/responses/input_tokens", Operation::CountTokens),
            ("/anthropic/v1/messages", Operation::Messages),
            ("/v1/messages/count_tokens", Operation::CountTokens),
            ("/v1/embeddings", Operation::Embeddings),
            ("/tenant/a/v1/images/generations", Operation::Images),
            ("/v1/images/edits", Operation::Images),
            ("/v1/images/variations", Operation::Images),
            ("/v1/audio/speech", Operation::Speech),
            ("/v1/audio/transcriptions", Operation::Transcription),
            ("/v1/audio/translations", Operation::Translation),
            ("/rerank", Operation::Rerank),
            ("/v1/rerank", Operation::Rerank),
            ("/cohere/v2/rerank", Operation::Rerank),
            ("/v1/moderations", Operation::Moderation),
            ("/api/chat", Operation::OllamaChat),
            ("/ollama/api/generate", Operation::OllamaGenerate),
            ("/api/embed", Operation::OllamaEmbed),
            ("/api/embeddings", Operation::OllamaEmbed),
            ("/v2/chat", Operation::CohereChat),
            ("/x/v1/chat", Operation::CohereChat),
            ("/v2/embed", Operation::CohereEmbed),
            (
                "/v1beta/models/gemini-2.5-pro:generateContent",
                Operation::GenerateContent,
            ),
            (
                "/g/v1beta/models/g:streamGenerateContent",
                Operation::GenerateContent,
            ),
            (
                "/v1beta/models/g%3AgenerateContent",
                Operation::GenerateContent,
            ),
            ("/v1beta/models/g:countTokens", Operation::CountTokens),
            ("/v1beta/models/e:embedContent", Operation::EmbedContent),
            (
                "/v1beta/models/e:batchEmbedContents",
                Operation::EmbedContent,
            ),
            (
                "/v1/projects/p/locations/l/publishers/google/models/i:predict",
                Operation::Predict,
            ),
            (
                "/v1/projects/p/locations/l/publishers/anthropic/models/c:streamRawPredict",
                Operation::Messages,
            ),
            (
                "/v1/projects/p/locations/l/publishers/mistralai/models/m:rawPredict",
                Operation::Chat,
            ),
        ] {
            assert_eq!(Operation::of(path), Some(operation), "{path}");
        }
    }

    #[test]
    fn other_paths_ask_no_model() {
        for path in [
            "",
            "/",
            "/v1/models",
            "/hooks/feishu",
            "/chat",
            "/v3/chat",
            "/generate",
            "/v1/files",
            "/v1/batches",
            "/v1/messages/batches",
            "/v1/threads/thread_1/messages",
            "/v1/responses/resp_1",
            "/v1/responses/resp_1/cancel",
            "/v1/chat/completions/chatcmpl-1",
            "/v1/xcompletions",
            "/v1beta/models/g:batchGenerateContent",
            "/v1beta/files:upload",
            "/v1/:generateContent",
            "/v1/projects/p/locations/l/endpoints/1:predict",
            "/images",
        ] {
            assert_eq!(Operation::of(path), None, "{path}");
        }
    }

    #[test]
    fn a_path_may_name_the_model() {
        let said = |path| {
            let said = InPath::of(path);
            (said.model, said.deployment, said.stream)
        };
        for (path, expected) in [
            ("/v1/chat/completions", (None, None, false)),
            (
                "/openai/deployments/gpt-4o/chat/completions",
                (None, Some("gpt-4o"), false),
            ),
            ("/v1/engines/ada/embeddings", (None, Some("ada"), false)),
            ("/openai/deployments", (None, None, false)),
            ("/openai/deployments//embeddings", (None, None, false)),
            (
                "/v1beta/models/g-1:generateContent",
                (Some("g-1"), None, false),
            ),
            (
                "/v1beta/models/g-1%3AstreamGenerateContent/",
                (Some("g-1"), None, true),
            ),
        ] {
            assert_eq!(said(path), expected, "{path}");
        }
    }
}
