//! Only complete, successful responses are stored, no longer than the backend allows, and `Cache-Status` reports it.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse, chat_event};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::wait;

use super::{is_hit, start};

type BuildResponse = fn() -> BackendResponse;

/// The path of a request, the name of a case, and how its response is made.
type ResponseCase = (&'static str, &'static str, BuildResponse);

fn response_case(path: &'static str, name: &'static str, make: BuildResponse) -> ResponseCase {
    (path, name, make)
}

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";

fn question(path: &str) -> Value {
    match path {
        RESPONSES => json!({"model": "m", "input": "hi", "store": false}),
        _ => {
            json!({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]})
        }
    }
}

fn html() -> BackendResponse {
    BackendResponse::bytes("text/html", "<html><body>Please log in</body></html>")
}

fn json_text(text: &'static str) -> BackendResponse {
    BackendResponse::bytes("application/json", text)
}

fn response(status: &str) -> Value {
    json!({"id": "resp_1", "object": "response", "status": status, "model": "m", "error": null,
           "output": [{"type": "message", "role": "assistant", "status": "completed",
                       "content": [{"type": "output_text", "text": "well", "annotations": []}]}],
           "usage": {"input_tokens": 3, "output_tokens": 1, "total_tokens": 4}})
}

fn finished(reason: &str) -> String {
    json!({"id": "c", "object": "chat.completion.chunk", "model": "m",
           "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    .to_string()
}

fn sse(text: &'static str) -> BackendResponse {
    BackendResponse::chunks("text/event-stream", vec![text.into()])
}

fn failed_cases() -> Vec<ResponseCase> {
    [failed_documents(), failed_streams()].concat()
}

fn failed_documents() -> Vec<ResponseCase> {
    vec![
        response_case(CHAT, "empty", || json_text("")),
        response_case(CHAT, "white space", || json_text("  \n ")),
        response_case(CHAT, "a page", html),
        response_case(CHAT, "plain text", || {
            BackendResponse::bytes("text/plain", "well")
        }),
        response_case(CHAT, "no type", || {
            let backend_response = BackendResponse::chat("well");
            backend_response.without_header("content-type")
        }),
        response_case(CHAT, "error object", || {
            BackendResponse::json(
                &json!({"error": {"message": "overloaded", "type": "server_error"}}),
            )
        }),
        response_case(CHAT, "error text", || {
            BackendResponse::json(&json!({"error": "overloaded"}))
        }),
        response_case(CHAT, "error beside choices", || {
            BackendResponse::json(&json!({"error": {"message": "x"}, "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"content": "a"}}]}))
        }),
        response_case(CHAT, "finish reason error", || {
            BackendResponse::json(&json!({"choices": [
                {"index": 0, "finish_reason": "error", "message": {"content": "a"}}]}))
        }),
        response_case(CHAT, "no choices", || {
            BackendResponse::json(&json!({"choices": []}))
        }),
        response_case(CHAT, "cut json", || {
            json_text("{\"choices\": [{\"finish_reason\": \"stop\", ")
        }),
        response_case(CHAT, "finish reason abort", || {
            BackendResponse::json(&json!({"choices": [
                {"index": 0, "finish_reason": "abort", "message": {"content": "a"}}]}))
        }),
        response_case(CHAT, "two texts", || {
            let one = BackendResponse::chat("well").body();
            BackendResponse::bytes("application/json", [one.clone(), one].concat())
        }),
        response_case(CHAT, "a part", || {
            BackendResponse::chat("well").header("content-range", "bytes 0-9/20")
        }),
        response_case(CHAT, "two types", || {
            BackendResponse::chat("well").header("content-type", "text/html")
        }),
        response_case(CHAT, "202", || {
            BackendResponse::chat("well").with_status(202)
        }),
        response_case(CHAT, "201", || {
            BackendResponse::chat("well").with_status(201)
        }),
        response_case(RESPONSES, "queued", || {
            BackendResponse::json(&response("queued"))
        }),
        response_case(RESPONSES, "in progress", || {
            BackendResponse::json(&response("in_progress"))
        }),
        response_case(RESPONSES, "failed", || {
            BackendResponse::json(&response("failed"))
        }),
    ]
}

fn failed_streams() -> Vec<ResponseCase> {
    vec![
        response_case(CHAT, "stream: empty", || sse("")),
        response_case(CHAT, "stream: keep-alives", || {
            sse(": keep-alive\n\n: keep-alive\n\n")
        }),
        response_case(CHAT, "stream: neither reason nor end", || {
            BackendResponse::events(&[&chat_event("well")])
        }),
        response_case(CHAT, "stream: no end", || {
            BackendResponse::events(&[&chat_event("a"), &finished("stop")])
        }),
        response_case(CHAT, "stream: no reason", || {
            BackendResponse::events(&[&chat_event("a"), "[DONE]"])
        }),
        response_case(CHAT, "stream: reason error", || {
            BackendResponse::events(&[&chat_event("a"), &finished("error"), "[DONE]"])
        }),
        response_case(CHAT, "stream: error object", || {
            BackendResponse::events(&[
                &chat_event("a"),
                "{\"error\": {\"message\": \"x\"}}",
                "[DONE]",
            ])
        }),
        response_case(CHAT, "stream: error event", || {
            sse("event: error\ndata: {\"message\": \"x\"}\n\ndata: [DONE]\n\n")
        }),
        response_case(RESPONSES, "stream: response.failed", || {
            sse(
                "event: response.failed\ndata: {\"type\": \"response.failed\", \"response\": \
                 {\"status\": \"failed\", \"error\": {\"message\": \"x\"}}}\n\n",
            )
        }),
        response_case(MESSAGES, "stream: no message_stop", || {
            sse(
                "event: message_delta\ndata: {\"type\": \"message_delta\", \"delta\": \
                 {\"stop_reason\": \"end_turn\"}}\n\n",
            )
        }),
    ]
}

fn successful_cases() -> Vec<ResponseCase> {
    vec![
        response_case(CHAT, "json", || BackendResponse::chat("well")),
        response_case(RESPONSES, "response", || {
            BackendResponse::json(&response("completed"))
        }),
        response_case(CHAT, "stream", || {
            BackendResponse::chat_stream(&["well", "then"])
        }),
    ]
}

type FramedResponse = fn(BackendResponse) -> BackendResponse;

/// The same response with every framing of a backend.
fn framings() -> [(&'static str, FramedResponse); 3] {
    [
        ("with a length", BackendResponse::with_length),
        ("chunked", BackendResponse::chunked),
        ("until the end of HTTP/1.0", BackendResponse::http10),
    ]
}

#[tokio::test]
async fn failed_and_incomplete_responses_are_never_stored() {
    for (path, name, make) in failed_cases() {
        for (framing, framed) in framings() {
            let backend_response = framed(make());
            let backend = Backend::responding(move |_| backend_response.clone()).await;
            let proxy = start(&backend).await;
            for _ in 0..2 {
                let client_response = proxy.send(ClientRequest::json(path, &question(path))).await;
                let status = client_response.header("cache-status");
                assert_eq!(status, Some("weir; fwd=miss"), "{name}, {framing}");
            }
            assert_eq!(backend.requests().len(), 2, "{name}, {framing}");
        }
    }
}

#[tokio::test]
async fn a_complete_response_is_stored_with_any_framing() {
    for (path, name, make) in successful_cases() {
        for (framing, framed) in framings() {
            let backend_response = framed(make());
            let backend = Backend::responding(move |_| backend_response.clone()).await;
            let proxy = start(&backend).await;
            let miss = proxy.send(ClientRequest::json(path, &question(path))).await;
            let hit = proxy.send(ClientRequest::json(path, &question(path))).await;
            assert!(is_hit(&hit), "{name}, {framing}");
            assert_eq!(hit.body, miss.body, "{name}, {framing}");
            let output = miss.header("cache-status").unwrap_or_default();
            match name {
                // Whether it is stored was unknown when its head was sent, unless the response had arrived completely.
                "stream" => assert!(output.starts_with("weir; fwd=miss"), "{output}"),
                _ => assert_eq!(output, "weir; fwd=miss; stored", "{name}, {framing}"),
            }
        }
    }
}

#[tokio::test]
async fn truncated_responses_are_not_stored() {
    let cases: [(&str, BuildResponse); 6] = [
        ("500", || BackendResponse::chat("no").with_status(500)),
        ("404", || BackendResponse::chat("no").with_status(404)),
        ("cut stream", || {
            BackendResponse::events(&[&chat_event("half")]).truncated()
        }),
        ("reset stream", || {
            BackendResponse::events(&[&chat_event("half")]).reset()
        }),
        ("cut answer", || BackendResponse::chat("half").truncated()),
        ("larger than the cache", || {
            BackendResponse::chat(&"x".repeat(9 << 20))
        }),
    ];
    for (name, backend_response) in cases {
        let backend = Backend::responding(move |_| backend_response()).await;
        let proxy = start(&backend).await;
        for _ in 0..2 {
            let mut client = Client::h1(proxy.address()).await;
            if let Ok(streaming) = client.try_open(ClientRequest::chat("hi")).await {
                let status = streaming
                    .header("cache-status")
                    .unwrap_or_default()
                    .to_owned();
                assert!(!status.contains("hit"), "{name}: {status}");
                assert!(!status.contains("stored"), "{name}: {status}");
                let _ = streaming.rest().await;
            }
        }
        assert_eq!(backend.requests().len(), 2, "{name} was stored");
    }
}

#[tokio::test]
async fn the_cache_waits_for_json_bodies_but_not_for_streams() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let whole = BackendResponse::chat("well then").body();
    let (first, rest) = whole.split_at(20);
    // In two chunks, the second directly after the first.
    let (client_response, ()) = tokio::join!(proxy.send(ClientRequest::chat("hi")), async {
        let mut call = backend.next_request().await;
        call.send_head("application/json").await;
        call.chunk(first).await;
        wait::tick().await;
        call.chunk(rest).await;
        call.finish().await;
    });
    assert_eq!(
        client_response.header("cache-status"),
        Some("weir; fwd=miss; stored")
    );
    assert_eq!(client_response.body, whole);
    assert!(is_hit(&proxy.send(ClientRequest::chat("hi")).await));

    // Kept alive by white space, which the client receives; stored as well, but not announced.
    let mut client = Client::h1(proxy.address()).await;
    let (mut streaming, mut call) = tokio::join!(client.open(ClientRequest::chat("slow")), async {
        let mut call = backend.next_request().await;
        call.send_head("application/json").await;
        call.chunk(" ").await;
        call
    });
    assert_eq!(streaming.header("cache-status"), Some("weir; fwd=miss"));
    streaming.until(" ").await;
    call.chunk(&whole).await;
    call.finish().await;
    streaming.rest().await.expect("a complete response");
    assert!(is_hit(&proxy.send(ClientRequest::chat("slow")).await));

    let mut client = Client::h1(proxy.address()).await;
    let (mut streaming, call) =
        tokio::join!(client.open(ClientRequest::chat_stream("hi")), async {
            let mut call = backend.next_request().await;
            call.send_event_stream_head().await;
            call.token("well").await;
            call
        });
    assert_eq!(streaming.header("cache-status"), Some("weir; fwd=miss"));
    streaming.until("well").await;
    call.end_chat(1).await;
    streaming.rest().await.expect("a complete stream");
    wait::within("a hit", wait::PATIENCE, async {
        assert!(is_hit(&proxy.send(ClientRequest::chat_stream("hi")).await));
    })
    .await;
}

#[tokio::test]
async fn cache_control_of_the_backend_limits_the_lifetime() {
    let at = |seconds: i64| {
        let at_s = weir::clock::unix_now()
            .as_secs()
            .saturating_add_signed(seconds);
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at_s))
    };
    let never = [
        ("cache-control", "max-age=0".to_owned()),
        ("cache-control", "s-maxage=0, max-age=60".to_owned()),
        ("cache-control", "max-age=soon".to_owned()),
        ("cache-control", "max-age=60, max-age=70".to_owned()),
        ("expires", "0".to_owned()),
        ("expires", at(-60)),
        ("age", "3600".to_owned()),
    ];
    for (name, value) in never {
        let line = value.clone();
        let backend =
            Backend::responding(move |_| BackendResponse::chat("hi").header(name, &line)).await;
        let proxy = start(&backend).await;
        for _ in 0..2 {
            let client_response = proxy.send(ClientRequest::chat("hi")).await;
            let status = client_response.header("cache-status");
            assert_eq!(status, Some("weir; fwd=miss"), "{name}: {value}");
        }
    }
    let soon = [
        ("cache-control", "max-age=3"),
        ("cache-control", "s-maxage=3, max-age=3600"),
        ("expires", "soon"),
        ("age", "3597"),
    ];
    for (name, value) in soon {
        let value = match value {
            "soon" => at(4),
            value => value.to_owned(),
        };
        let line = value.clone();
        let backend =
            Backend::responding(move |_| BackendResponse::chat("hi").header(name, &line)).await;
        let proxy = start(&backend).await;
        proxy.send(ClientRequest::chat("hi")).await;
        let hit = proxy.send(ClientRequest::chat("hi")).await;
        assert!(is_hit(&hit), "{name}: {value}");
        let age: u64 = hit.header("age").expect("an Age").parse().expect("seconds");
        assert_eq!(age >= 3597, name == "age", "{name}: {age}");
        wait::within("the end of its time", wait::PATIENCE, async {
            while is_hit(&proxy.send(ClientRequest::chat("hi")).await) {
                wait::tick().await;
            }
        })
        .await;
    }
}
