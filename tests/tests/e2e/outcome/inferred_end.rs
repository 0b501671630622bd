//! Responses that only seem to have ended: they are forwarded to their end.

use super::*;

const EVENTS: &str = "text/event-stream";
const LINES: &str = "application/x-ndjson";

/// Longer than the framing of a finished response is waited for.
const LATER: Duration = Duration::from_millis(400);

/// Sends `parts` in sequence, the last with a delay, and returns the event.
async fn send_parts(
    proxy: &Proxy,
    backend: &Backend,
    request: ClientRequest,
    kind: &str,
    parts: &[&str],
) -> Value {
    let (last, first) = parts.split_last().expect("parts");
    let answering = async {
        let mut call = backend.next_request().await;
        call.send_head(kind).await;
        for part in first {
            call.chunk(part).await;
        }
        pause(LATER).await;
        call.chunk(last).await;
        call.finish().await;
    };
    let sending = async {
        let mut client = client(proxy, 1).await;
        client.send(request).await
    };
    let (response, ()) = tokio::join!(sending, answering);
    assert_eq!(response.text(), parts.concat());
    proxy.event_of(&response).await
}

#[tokio::test]
async fn responses_that_are_no_model_calls_are_never_cut_or_classified() {
    const STEPS: &[&str] = &[
        "{\"step\":0,\"done\":false}\n{\"step\":1,\"done\":true}\n",
        "{\"step\":2,\"done\":false}\n",
        "{\"step\":3,\"done\":true}\n",
    ];
    const LOOKS_LIKE_CHAT: &[&str] = &[
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: [DONE]\n\n",
        "data: {\"next\":1}\n\n",
    ];
    const LOOKS_FAILED: &[&str] = &[
        "event: error\ndata: {\"error\":\"row 7\"}\n\n",
        "data: {\"row\":8}\n\n",
    ];
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for (kind, parts) in [
        (LINES, STEPS),
        (EVENTS, LOOKS_LIKE_CHAT),
        (EVENTS, LOOKS_FAILED),
    ] {
        for path in ["/kept/ask", "/ask"] {
            let what = format!("{path}: {parts:?}");
            let request = ClientRequest::post(path, format!("{{\"of\":{}}}", parts.len()))
                .header("content-type", "application/json");
            let event = send_parts(&proxy, &backend, request, kind, parts).await;
            assert_success(&event, &what);
        }
    }
}

const GEMINI: &str = "/kept/v1beta/models/g:streamGenerateContent?alt=sse";
const FINISHED: &str = "data: {\"candidates\":[{\"index\":0,\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"STOP\"}]}\n\n";

#[tokio::test]
async fn data_after_a_gemini_finish_reason_is_forwarded() {
    const USAGE: &str = "data: {\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"totalTokenCount\":5}}\n\n";
    const OTHER: &str = "data: {\"candidates\":[{\"index\":1,\"content\":{\"parts\":[{\"text\":\"b\"}]},\"finishReason\":\"STOP\"}]}\n\n";
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for path in [GEMINI, "/kept/v1/chat/completions"] {
        for (number, last) in [USAGE, OTHER].iter().enumerate() {
            let request = || {
                let prompt = format!("{{\"model\":\"g\",\"contents\":[{number}]}}");
                ClientRequest::post(path, prompt).header("content-type", "application/json")
            };
            let parts = [FINISHED, last];
            let event = send_parts(&proxy, &backend, request(), EVENTS, &parts).await;
            assert_success(&event, path);
            if number == 0 {
                assert_eq!(event["gen_ai"]["usage"]["output_tokens"], 2, "{event}");
            }
            // It ended by itself, and is stored.
            assert_eq!(proxy.send(request()).await.text(), parts.concat());
        }
    }
}

#[tokio::test]
async fn responses_with_an_inferred_end_are_not_stored() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for _ in 0..2 {
        let answering = async {
            let mut call = backend.next_request().await;
            call.send_head(EVENTS).await;
            call.chunk(FINISHED).await;
            wait::within("weir is content", wait::PATIENCE, call.closed()).await;
        };
        let sending = async {
            let request = ClientRequest::post(GEMINI, "{\"contents\":[]}");
            let mut client = client(&proxy, 1).await;
            let mut streaming = client
                .open(request.header("content-type", "application/json"))
                .await;
            let id = streaming.header("x-request-id").expect("an id").to_owned();
            streaming.until(FINISHED).await;
            id
        };
        let (id, ()) = tokio::join!(sending, answering);
        assert_success(&proxy.event(&id).await, "left at its end");
    }
}

#[tokio::test]
async fn responses_with_another_2xx_are_read() {
    const USED: &str = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":2}}"#;
    const FAILED: &str = r#"{"error":{"message":"no"}}"#;
    for (body, status, code, tokens) in [
        (USED, 201, None, Some(2)),
        (USED, 202, None, Some(2)),
        (USED, 203, None, Some(2)),
        (FAILED, 201, Some("upstream_error"), None),
        (USED, 206, None, None),
        ("", 202, None, None),
        ("", 204, None, None),
    ] {
        let backend = Backend::responding(move |_| match status {
            204 => BackendResponse::status(204),
            _ => BackendResponse::bytes("application/json", body).with_status(status),
        })
        .await;
        let proxy = start(&backend).await;
        let event = proxy
            .event_of(&proxy.send(ClientRequest::chat("hi")).await)
            .await;
        let reported = event.get("error_code").and_then(Value::as_str);
        assert_eq!(reported, code, "{status}: {event}");
        let output = event["gen_ai"]["usage"]["output_tokens"].as_u64();
        assert_eq!(output, tokens, "{status}: {event}");
    }
}

#[tokio::test]
async fn audio_responses_are_not_read() {
    const WORDS: &str = "data: we begin.\n\n";
    const CHUNKS: &[&str] = &[
        "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
        WORDS,
    ];
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for path in ["/v1/audio/speech", "/v1/audio/transcriptions"] {
        for kind in ["text/plain", "application/octet-stream", "audio/mpeg"] {
            let request = ClientRequest::post(path, r#"{"model":"s","input":"hi"}"#);
            let request = request.header("content-type", "application/json");
            let event = send_parts(&proxy, &backend, request, kind, CHUNKS).await;
            assert_success(&event, kind);
        }
    }
}

#[tokio::test]
async fn an_empty_response_is_incomplete() {
    const JSON: &str = "application/json";
    let backend = Backend::responding(|received| {
        let kind = received.header("x-kind").expect("a type");
        let text = received.header("x-text").expect("a text");
        BackendResponse::bytes(kind, text.replace('|', "\n")).chunked()
    })
    .await;
    let proxy = start(&backend).await;
    for (path, kind, text, is_whole) in [
        ("/v1/chat/completions", EVENTS, "", false),
        ("/v1/messages", EVENTS, ": wait||: wait||", false),
        (
            "/v1/messages",
            EVENTS,
            "event: ping|data: {\"type\":\"ping\"}||",
            false,
        ),
        ("/v1/responses", JSON, "", false),
        ("/api/chat", JSON, "| |", false),
        (
            "/v1/chat/completions",
            JSON,
            r#"{"choices":[{"finish_reason":"stop","message":{"content":"a"}}],"usa"#,
            false,
        ),
        ("/v1/chat/completions", JSON, r#"{"id":"#, false),
        ("/v1/chat/completions", "text/html", "<p>in</p>", true),
        ("/v1/chat/completions", "text/html", "", true),
        ("/v1/chat/completions", JSON, "<p>in</p>", true),
        ("/v1/audio/speech", EVENTS, "", true),
        ("/v1/embeddings", JSON, r#"{"data":[["#, true),
        (
            "/api/rooms/5/messages",
            JSON,
            r#"{"status":"failed"}"#,
            true,
        ),
        (
            "/api/chat",
            EVENTS,
            "event: message|data: {\"text\":\"hi\"}||event: ping|data: {}||",
            true,
        ),
        (
            "/v1/images/generations",
            EVENTS,
            "event: error|data: {\"at\":3}||event: ping|data: {\"type\":\"ping\"}||",
            true,
        ),
        ("/ask", JSON, "", true),
    ] {
        let what = format!("{path}, {kind}: {text}");
        let request = ClientRequest::post(path, r#"{"model":"m","text":"hi"}"#)
            .header("content-type", JSON)
            .header("x-kind", kind)
            .header("x-text", text);
        let response = proxy.send(request).await;
        let event = proxy.event_of(&response).await;
        match is_whole {
            true => assert_success(&event, &what),
            false => assert_eq!(event["error_code"], "upstream_incomplete", "{what}"),
        }
        if is_whole {
            assert!(event["gen_ai"].get("usage").is_none(), "{what}: {event}");
        }
    }
}
