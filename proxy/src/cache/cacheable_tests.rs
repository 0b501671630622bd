use super::*;

fn assert_cacheable(path: &str, exactly: bool, by_wildcard: bool) {
    let operation = Operation::of(path);
    let decisions = [PathMatch::Exact, PathMatch::Wildcard]
        .map(|path_match| is_cacheable(path, operation, path_match));
    assert_eq!(decisions, [exactly, by_wildcard], "{path}");
}

#[test]
fn the_segments_before_an_operation_decide() {
    for (path, exactly, by_wildcard) in [
        ("/v1/messages/", true, true),
        ("/messages", true, true),
        ("/responses", true, true),
        ("/v1beta/messages", true, true),
        ("/openai/responses", true, true),
        ("/openai/v1/responses/compact", true, true),
        ("/backend-api/codex/responses", true, true),
        ("/openai/deployments/gpt/responses", true, true),
        (
            "/v1/projects/p/publishers/anthropic/models/c:rawPredict",
            true,
            true,
        ),
        ("/v1/sessions/s/messages", true, false),
        ("/v1/agents/a/messages", true, false),
        ("/v1/agents/a/responses", true, false),
        ("/v1/chats/c/messages", true, false),
        ("/messages/m/responses", true, false),
        ("/v1/vector-stores/v/responses", false, false),
        ("/v1/fine-tuning/v1/responses", false, false),
        ("/v4/async/chat/completions", false, false),
        ("/queue/v1/chat/completions", false, false),
        ("/v1/batch/chat/completions", false, false),
        ("/v1/batches/chat/completions", false, false),
        ("/v1/threads/t/chat/completions", false, false),
        ("/v1/async/v1/messages", false, false),
        ("/v1/queue/embeddings", false, false),
    ] {
        assert_cacheable(path, exactly, by_wildcard);
    }
}

#[test]
fn under_a_wildcard_only_known_operations_are_cacheable() {
    for (path, exactly, by_wildcard) in [
        ("/v1/chat/completions", true, true),
        ("/assistants/v1/chat/completions", true, true),
        ("/openai/deployments/images/chat/completions", true, true),
        ("/v1/completions", true, true),
        ("/v1/responses", true, true),
        ("/anthropic/v1/messages", true, true),
        ("/v1/embeddings", true, true),
        ("/ask", true, false),
        ("/v1/some_new_objects", true, false),
        ("/v1/responses/resp_1/cancel", true, false),
        ("/v1/filesystem", true, false),
        ("/v1/files", false, false),
        ("/v1/Files/", false, false),
        ("/files", false, false),
        ("/v1/uploads/u/parts", false, false),
        ("/v1/batches", false, false),
        ("/v1/messages/batches", false, false),
        ("/v1/threads", false, false),
        ("/v1/threads/t/messages", false, false),
        ("/v1/threads/t/runs", false, false),
        ("/v1/threads%2Ft/messages", false, false),
        ("/v1/threads;v=2/t/messages", false, false),
        ("/v1/files%20/f", false, false),
        ("/v1%2fthreads/t/messages", false, false),
        ("/v1/conversations/c/responses", false, false),
        ("/v1/assistants", false, false),
        ("/v1/vector_stores/v/search", false, false),
        ("/v1/fine_tuning/jobs", false, false),
        ("/v1/containers/c/files", false, false),
        ("/v1/evals/e/runs", false, false),
        ("/v1/images/generations", false, false),
        ("/v1/audio/speech", false, false),
        ("/v1/videos", false, false),
        ("/v1beta/cachedContents", false, false),
    ] {
        assert_cacheable(path, exactly, by_wildcard);
    }
}
