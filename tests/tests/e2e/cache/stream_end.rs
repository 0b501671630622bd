//! Data after the last event of a stream: its line end, more data, or nothing.

use std::pin::pin;
use std::time::Duration;

use serde_json::json;
use weir_tests::backend::{Backend, BackendResponse, PendingRequest};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::wait;

use super::{is_hit, start};

const CHAT: &str = "/v1/chat/completions";
const SSE: &str = "text/event-stream";

const REASON: &str = r#"data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#;

/// A stream of a provider up to its last line end, and that line end.
struct Stream {
    path: &'static str,
    content_type: &'static str,
    send_until_end: String,
    end: &'static str,
}

fn streams() -> Vec<Stream> {
    let chat = |line_end: &str, end| Stream {
        path: CHAT,
        content_type: SSE,
        send_until_end: format!("{REASON}{line_end}{line_end}data: [DONE]"),
        end,
    };
    let mut second = chat("\n", "\n");
    second.send_until_end.push('\n');
    let mut third = chat("\r\n", "\n");
    third.send_until_end.push_str("\r\n\r");
    vec![
        chat("\n", "\n\n"),
        second,
        chat("\r\n", "\r\n\r\n"),
        third,
        chat("\r", "\r\r"),
        Stream {
            path: "/v1/messages",
            content_type: SSE,
            send_until_end: "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
                    event: message_stop\ndata: {\"type\":\"message_stop\"}\n"
                .to_owned(),
            end: "\n",
        },
        Stream {
            path: "/v1/api/generate",
            content_type: "application/x-ndjson",
            send_until_end: "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true}".to_owned(),
            end: "\n",
        },
    ]
}

fn request_to(path: &str, text: &str) -> ClientRequest {
    let prompt = json!({"model": "m", "stream": true, "prompt": text, "max_tokens": 9,
                          "messages": [{"role": "user", "content": text}]});
    ClientRequest::json(path, &prompt)
}

async fn pause(time: Duration) {
    wait::sleep(time).await;
}

async fn send_until_end(backend: &Backend, content_type: &str, text: &str) -> PendingRequest {
    let mut call = backend.next_request().await;
    call.send_head(content_type).await;
    call.chunk(text).await;
    call
}

/// Whether the response is stored in the end, as `whole`.
async fn is_stored(proxy: &Proxy, backend: &Backend, request: ClientRequest, whole: &str) -> bool {
    let mut sending = pin!(proxy.send(request));
    let response = tokio::select! {
        response = &mut sending => response,
        call = backend.next_request() => {
            // Not dropped: it would be sent again over another connection.
            let (response, ()) = tokio::join!(sending, call.respond(BackendResponse::status(500)));
            response
        }
    };
    if is_hit(&response) {
        assert_eq!(response.text(), whole);
    }
    is_hit(&response)
}

async fn assert_success(proxy: &Proxy, id: &str, what: &str) {
    let event = proxy.event(id).await;
    assert_eq!(event["event"]["outcome"], "success", "{what}: {event}");
    assert_eq!(event["http"]["response"]["status_code"], 200, "{what}");
}

#[tokio::test]
async fn a_stream_is_complete_only_with_its_last_line_end() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for (number, stream) in streams().iter().enumerate() {
        let whole = [stream.send_until_end.as_str(), stream.end].concat();
        for late_ms in [20, 300] {
            let what = format!("{number}, {late_ms} ms");
            let responding = async {
                let mut call =
                    send_until_end(&backend, stream.content_type, &stream.send_until_end).await;
                pause(Duration::from_millis(late_ms)).await;
                call.chunk(stream.end).await;
                call.finish().await;
            };
            let (response, ()) =
                tokio::join!(proxy.send(request_to(stream.path, &what)), responding);
            assert_eq!(response.text(), whole, "{what}");
            let again = request_to(stream.path, &what);
            assert!(is_stored(&proxy, &backend, again, &whole).await, "{what}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_last_line_end_had_a_complete_response() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for (number, stream) in streams().iter().enumerate() {
        let whole = [stream.send_until_end.as_str(), stream.end].concat();
        for late_ms in [150, 300] {
            let what = format!("{number}, {late_ms} ms");
            let mut client = Client::h1(proxy.address()).await;
            let opening = client.open(request_to(stream.path, &what));
            let responding = send_until_end(&backend, stream.content_type, &stream.send_until_end);
            let (mut streaming, mut call) = tokio::join!(opening, responding);
            let id = streaming.header("x-request-id").expect("an id").to_owned();
            streaming.until(stream.send_until_end.trim_end()).await;
            drop(streaming);
            drop(client);
            pause(Duration::from_millis(late_ms)).await;
            call.chunk(stream.end).await;
            call.finish().await;
            assert_success(&proxy, &id, &what).await;
            let again = request_to(stream.path, &what);
            assert!(is_stored(&proxy, &backend, again, &whole).await, "{what}");
        }
    }
}

#[tokio::test]
async fn a_stream_without_its_last_line_end_is_a_success_and_not_stored() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for (number, stream) in streams().iter().enumerate() {
        let what = number.to_string();
        let responding = async {
            let mut call =
                send_until_end(&backend, stream.content_type, &stream.send_until_end).await;
            wait::within("the end", wait::PATIENCE, call.closed()).await;
        };
        let (response, ()) = tokio::join!(proxy.send(request_to(stream.path, &what)), responding);
        assert_eq!(response.text(), stream.send_until_end, "{what}");
        let id = response.header("x-request-id").expect("an id");
        assert_success(&proxy, id, &what).await;
        let again = request_to(stream.path, &what);
        assert!(!is_stored(&proxy, &backend, again, "").await, "{what}");
    }
}

#[tokio::test]
async fn data_after_the_end_is_part_of_the_stored_response() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let end = format!("{REASON}\n\ndata: [DONE]\n\n");
    for (late, stored) in [
        (": cost 1\n\n", true),
        (
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n",
            true,
        ),
        ("data: {\"error\":{\"message\":\"x\"}}\n\n", false),
        ("event: error\ndata: x\n\n", false),
        (": half a com", false),
        ("data: {\"choices\":[", false),
    ] {
        let whole = format!("{end}{late}");
        let mut question = None;
        for round in 0..10 {
            let text = format!("{late}{round}");
            if arrives_late(&proxy, &backend, &text, (&end, late)).await {
                question = Some(text);
                break;
            }
        }
        let question = question.expect("data within the time that weir waits for it");
        let again = request_to(CHAT, &question);
        assert_eq!(
            is_stored(&proxy, &backend, again, &whole).await,
            stored,
            "{late:?}"
        );
    }
}

/// Sends data after the end of a stream. On a busy machine it can come later than weir waits for it.
async fn arrives_late(
    proxy: &Proxy,
    backend: &Backend,
    text: &str,
    (end, late): (&str, &str),
) -> bool {
    let mut client = Client::h1(proxy.address()).await;
    let opening = client.open(request_to(CHAT, text));
    let (mut streaming, mut call) = tokio::join!(opening, send_until_end(backend, SSE, end));
    streaming.until("[DONE]\n\n").await;
    // Until then it is what arrived.
    let hit = proxy.send(request_to(CHAT, text)).await;
    assert!(is_hit(&hit), "{late:?}");
    assert_eq!(hit.text(), end);
    if call.try_chunk(late).await.is_err() {
        return false;
    }
    let ending = async {
        match late.ends_with("\n\n") {
            true => call.try_finish().await.is_ok(),
            false => {
                wait::within("the end", wait::PATIENCE, call.closed()).await;
                true
            }
        }
    };
    let (rest, ended) = tokio::join!(streaming.rest(), ending);
    let rest = rest.expect("a clean end");
    assert!(rest.is_empty() || rest == late.as_bytes(), "{late:?}");
    ended && rest == late.as_bytes()
}
