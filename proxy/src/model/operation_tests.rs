use super::*;

#[test]
fn operations_are_recognised_by_the_end_of_the_path() {
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
fn other_paths_are_no_operations() {
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
fn a_path_may_specify_model_deployment_and_stream() {
    let fields_of = |path| {
        let fields = PathFields::of(path);
        (fields.model, fields.deployment, fields.stream)
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
        assert_eq!(fields_of(path), expected, "{path}");
    }
}
