//! What comes behind the words that an answer is at its end: the line end of its last event, more data, or
//! nothing.

use std::time::Duration;

use serde_json::json;
use weir_tests::backend::{Backend, PendingRequest};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::wait;

use super::{is_hit, start};

const CHAT: &str = "/v1/chat/completions";
const SSE: &str = "text/event-stream";

const REASON: &str = r#"data: {"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#;

/// A stream of one provider, up to what ends its last event, and that.
struct Stream {
    path: &'static str,
    content_type: &'static str,
    begin: String,
    end: &'static str,
}

fn streams() -> Vec<Stream> {
    let chat = |line_end: &str, end| Stream {
        path: CHAT,
        content_type: SSE,
        begin: format!("{REASON}{line_end}{line_end}data: [DONE]"),
        end,
    };
    let mut second = chat("\n", "\n");
    second.begin.push('\n');
    let mut third = chat("\r\n", "\n");
    third.begin.push_str("\r\n\r");
    vec![
        chat("\n", "\n\n"),
        second,
        chat("\r\n", "\r\n\r\n"),
        third,
        chat("\r", "\r\r"),
        Stream {
            path: "/v1/messages",
            content_type: SSE,
            begin: "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
                    event: message_stop\ndata: {\"type\":\"message_stop\"}\n"
                .to_owned(),
            end: "\n",
        },
        Stream {
            path: "/v1/api/generate",
            content_type: "application/x-ndjson",
            begin: "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true}".to_owned(),
            end: "\n",
        },
    ]
}

fn request_to(path: &str, text: &str) -> ClientRequest {
    let question = json!({"model": "m", "stream": true, "prompt": text, "max_tokens": 9,
                          "messages": [{"role": "user", "content": text}]});
    ClientRequest::json(path, &question)
}

async fn pause(time: Duration) {
    assert!(wait::still_waiting_after(time, std::future::pending::<()>()).await);
}

async fn begin(backend: &Backend, content_type: &str, text: &str) -> PendingRequest {
    let mut call = backend.next_request().await;
    call.send_head(content_type).await;
    call.chunk(text).await;
    call
}

/// Whether the answer is kept in the end, and then as `whole`.
async fn is_kept(proxy: &Proxy, backend: &Backend, request: ClientRequest, whole: &str) -> bool {
    let asking = async {
        let reply = proxy.send(request).await;
        if is_hit(&reply) {
            assert_eq!(reply.text(), whole);
        }
        is_hit(&reply)
    };
    tokio::select! {
        is_hit = asking => is_hit,
        call = backend.next_request() => {
            drop(call);
            false
        }
    }
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
        let whole = [stream.begin.as_str(), stream.end].concat();
        for late_ms in [20, 300] {
            let what = format!("{number}, {late_ms} ms");
            let answering = async {
                let mut call = begin(&backend, stream.content_type, &stream.begin).await;
                pause(Duration::from_millis(late_ms)).await;
                call.chunk(stream.end).await;
                call.finish().await;
            };
            let (reply, ()) = tokio::join!(proxy.send(request_to(stream.path, &what)), answering);
            assert_eq!(reply.text(), whole, "{what}");
            let again = request_to(stream.path, &what);
            assert!(is_kept(&proxy, &backend, again, &whole).await, "{what}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_last_line_end_had_a_complete_response() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for (number, stream) in streams().iter().enumerate() {
        let whole = [stream.begin.as_str(), stream.end].concat();
        for late_ms in [150, 300] {
            let what = format!("{number}, {late_ms} ms");
            let mut client = Client::h1(proxy.address()).await;
            let opening = client.open(request_to(stream.path, &what));
            let answering = begin(&backend, stream.content_type, &stream.begin);
            let (mut live, mut call) = tokio::join!(opening, answering);
            let id = live.header("x-request-id").expect("an id").to_owned();
            live.until(stream.begin.trim_end()).await;
            drop(live);
            drop(client);
            pause(Duration::from_millis(late_ms)).await;
            call.chunk(stream.end).await;
            call.finish().await;
            assert_success(&proxy, &id, &what).await;
            let again = request_to(stream.path, &what);
            assert!(is_kept(&proxy, &backend, again, &whole).await, "{what}");
        }
    }
}

#[tokio::test]
async fn a_stream_without_its_last_line_end_is_a_success_and_not_stored() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for (number, stream) in streams().iter().enumerate() {
        let what = number.to_string();
        let answering = async {
            let mut call = begin(&backend, stream.content_type, &stream.begin).await;
            wait::within("the end", wait::PATIENCE, call.closed()).await;
        };
        let (reply, ()) = tokio::join!(proxy.send(request_to(stream.path, &what)), answering);
        assert_eq!(reply.text(), stream.begin, "{what}");
        let id = reply.header("x-request-id").expect("an id");
        assert_success(&proxy, id, &what).await;
        let again = request_to(stream.path, &what);
        assert!(!is_kept(&proxy, &backend, again, "").await, "{what}");
    }
}

#[tokio::test]
async fn data_after_the_end_is_part_of_the_stored_response() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let end = format!("{REASON}\n\ndata: [DONE]\n\n");
    for (late, kept) in [
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
        let mut client = Client::h1(proxy.address()).await;
        let opening = client.open(request_to(CHAT, late));
        let (mut live, mut call) = tokio::join!(opening, begin(&backend, SSE, &end));
        live.until("[DONE]\n\n").await;
        // Until then it is what came.
        let hit = proxy.send(request_to(CHAT, late)).await;
        assert!(is_hit(&hit), "{late:?}");
        assert_eq!(hit.text(), end);
        call.chunk(late).await;
        let ending = async {
            match late.ends_with("\n\n") {
                true => call.finish().await,
                false => wait::within("the end", wait::PATIENCE, call.closed()).await,
            }
        };
        let (rest, ()) = tokio::join!(live.rest(), ending);
        assert_eq!(rest.expect("a clean end"), late.as_bytes());
        let again = request_to(CHAT, late);
        assert_eq!(
            is_kept(&proxy, &backend, again, &whole).await,
            kept,
            "{late:?}"
        );
    }
}
