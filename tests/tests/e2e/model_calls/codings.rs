//! Encoded requests and responses are read, and pass unchanged.

use serde_json::json;
use weir_tests::backend::{Backend, BackendResponse, chat_event};
use weir_tests::client::{CHAT, Client, ClientRequest, chat_request};
use weir_tests::codings::{encoded, encoded_whole};
use weir_tests::metrics::assert_metric;
use weir_tests::setup::Setup;

use super::{BUFFERED_BYTES, question, recorded_call};

/// A `Content-Encoding`, and its encoder.
const CODINGS: [(&str, &str); 9] = [
    ("gzip", "gzip"),
    ("x-gzip", "gzip"),
    ("deflate", "deflate"),
    ("deflate", "bare-deflate"),
    ("br", "br"),
    ("ZSTD", "zstd"),
    ("identity", "identity"),
    ("gzip, identity,, br", "gzip,br"),
    ("deflate, zstd, gzip", "deflate,zstd,gzip"),
];

const CHAT_ANSWER: &str = r#"{"id":"c","object":"chat.completion","model":"glm-4","choices":[{"index":0,
    "finish_reason":"stop","message":{"role":"assistant","content":"well then."}}],
    "usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}"#;

fn chat_stream() -> Vec<String> {
    let end = r#"{"model":"glm-4","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let usage =
        r#"{"model":"glm-4","choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3}}"#;
    let words = ["well ", "then", "."].map(chat_event);
    let events = words
        .iter()
        .map(String::as_str)
        .chain([end, usage, "[DONE]"]);
    events.map(|data| format!("data: {data}\n\n")).collect()
}

#[tokio::test]
async fn encoded_responses_are_read() {
    for (named, coding) in CODINGS {
        let pieces = encoded(coding, &chat_stream());
        let whole = encoded_whole(coding, CHAT_ANSWER);
        let (sent_pieces, sent_whole) = (pieces.clone(), whole.clone());
        let backend = Backend::responding(move |received| {
            let stream = String::from_utf8_lossy(&received.body).contains(r#""stream":true"#);
            let backend_response = match stream {
                true => {
                    let pieces = sent_pieces.iter().filter(|piece| !piece.is_empty());
                    let pieces = pieces.map(|piece| piece.clone().into());
                    BackendResponse::chunks("text/event-stream", pieces.collect())
                }
                false => BackendResponse::bytes("application/json", sent_whole.clone()),
            };
            backend_response.header("content-encoding", named)
        })
        .await;
        let proxy = Setup::open(&backend).start().await;
        let asks = [
            (ClientRequest::chat("hi"), false),
            (ClientRequest::chat_stream("hi"), true),
            (
                ClientRequest::post(CHAT, question(BUFFERED_BYTES + 1, true)),
                true,
            ),
            (
                ClientRequest::chunked(CHAT, &question(300, false), 50),
                false,
            ),
        ];
        let calls = asks.len();
        for (request, stream) in asks {
            let client_response = proxy
                .send(request.header("accept-encoding", "gzip, br"))
                .await;
            let call = recorded_call(&proxy, &client_response).await;
            assert_eq!(call, json!(["chat", "glm-4", stream, 7, 3]), "{named}");
            assert_eq!(client_response.header("content-encoding"), Some(named));
            let sent = if stream {
                pieces.concat()
            } else {
                whole.clone()
            };
            assert!(
                client_response.body == sent,
                "{named}: the bytes are others"
            );
        }
        let labels = [("model", "glm-4"), ("direction", "output")];
        let tokens = 3.0 * calls as f64;
        assert_metric(proxy.admin(), "weir_tokens_total", &labels, tokens).await;
    }
}

#[tokio::test]
async fn encoded_events_are_read_as_they_arrive() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    for coding in ["gzip", "deflate", "br", "zstd"] {
        let mut client = Client::h1(proxy.address()).await;
        let pieces = encoded(coding, &chat_stream());
        let (mut streaming, mut call) = tokio::join!(
            client.open(ClientRequest::chat_stream("hi")),
            async {
                let mut call = backend.next_request().await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {coding}\r\n\
                 Transfer-Encoding: chunked\r\n\r\n"
                );
                call.write(head).await;
                call
            }
        );
        let id = streaming.header("x-request-id").expect("an id").to_owned();
        for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
            call.chunk(piece).await;
            assert!(streaming.chunk().await.is_some(), "{coding}");
        }
        call.finish().await;
        streaming.rest().await.expect("a clean end");
        let event = proxy.event(&id).await;
        let response = &event["gen_ai"]["response"];
        assert_eq!(response["finish_reasons"], json!(["stop"]), "{coding}");
        assert!(response["time_to_first_chunk_ms"].is_number(), "{coding}");
    }
}

#[tokio::test]
async fn encoded_requests_are_read() {
    let backend = Backend::responding(|_| BackendResponse::chat("well then.")).await;
    let proxy = Setup::open(&backend).start().await;
    let read = Setup::buffered(&backend).start().await;
    for (named, coding) in CODINGS {
        for text in [
            chat_request("hi", false).to_string().into_bytes(),
            question(3 * BUFFERED_BYTES, false),
        ] {
            let body = encoded_whole(coding, &text);
            for proxy in [&proxy, &read] {
                for request in [
                    ClientRequest::post(CHAT, body.clone()),
                    ClientRequest::chunked(CHAT, &body, 11).header("cache-control", "no-store"),
                ] {
                    let client_response =
                        proxy.send(request.header("content-encoding", named)).await;
                    let call = recorded_call(proxy, &client_response).await;
                    assert_eq!(call[1], "glm-4", "{named}: {call}");
                    let received = backend.requests().pop().expect("a request");
                    assert_eq!(received.header("content-encoding"), Some(named));
                    assert!(received.body == body, "{named}: the bytes are others");
                }
            }
        }
    }
}

#[tokio::test]
async fn compression_bombs_and_invalid_data_pass_unread() {
    let zeros = vec![b' '; 32 << 20];
    let half = encoded_whole("gzip", CHAT_ANSWER);
    for (named, body) in [
        ("gzip", encoded_whole("gzip", &zeros)),
        ("zstd", encoded_whole("zstd", &zeros)),
        ("br, gzip", encoded_whole("br,gzip", &zeros)),
        ("br", b"{\"model\":\"glm-4\"}".to_vec()),
        ("gzip", vec![0; 100_000]),
        ("gzip", half[..half.len() / 2].to_vec()),
        ("zstd", Vec::from("(\u{b5}/\u{fd}")),
        ("dcb", b"{\"model\":\"glm-4\"}".to_vec()),
    ] {
        let sent = body.clone();
        let backend = Backend::responding(move |_| {
            BackendResponse::bytes("application/json", sent.clone())
                .header("content-encoding", named)
        })
        .await;
        let proxy = Setup::open(&backend).start().await;
        for request in [
            ClientRequest::chat("hi"),
            ClientRequest::post(CHAT, body.clone()).header("content-encoding", named),
            ClientRequest::chunked(CHAT, &body, 4093).header("content-encoding", named),
        ] {
            let client_response = proxy.send(request).await;
            assert_eq!(client_response.status, 200);
            assert!(
                client_response.body == body,
                "{named}: the bytes are others"
            );
            let event = proxy.event_of(&client_response).await;
            assert_eq!(event["gen_ai"]["operation"]["name"], "chat", "{named}");
        }
    }
}

#[tokio::test]
async fn accept_encoding_is_limited_to_readable_codings() {
    let backend = Backend::echo().await;
    let open = Setup::open(&backend).start().await;
    let caching = Setup::buffered(&backend).start().await;
    let accepted = "gzip;q=0.5, dcb, br, *";
    for (proxy, request, expected) in [
        (
            &open,
            ClientRequest::chat("1").header("accept-encoding", accepted),
            Some("gzip;q=0.5, br"),
        ),
        (&open, ClientRequest::chat("2"), Some("identity")),
        (
            &open,
            ClientRequest::chunked(CHAT, b"{}", 1).header("accept-encoding", accepted),
            Some("gzip;q=0.5, br"),
        ),
        (
            &open,
            ClientRequest::get("/").header("accept-encoding", accepted),
            Some(accepted),
        ),
        (&open, ClientRequest::get("/"), None),
        (
            &caching,
            ClientRequest::chat("3").header("accept-encoding", accepted),
            Some("identity"),
        ),
        (&caching, ClientRequest::chat("4"), Some("identity")),
        (
            &caching,
            ClientRequest::get("/x").header("accept-encoding", accepted),
            Some("identity"),
        ),
    ] {
        let client_response = proxy.send(request).await;
        assert_eq!(client_response.status, 200);
        let received = backend.requests().pop().expect("a request");
        let requested = received.all("accept-encoding");
        assert_eq!(requested, Vec::from_iter(expected));
    }
}

#[tokio::test]
async fn recorded_content_is_decoded() {
    let sent = encoded_whole("br", CHAT_ANSWER);
    let backend = Backend::responding(move |_| {
        BackendResponse::bytes("application/json", sent.clone()).header("content-encoding", "br")
    })
    .await;
    let proxy = Setup::buffered(&backend)
        .events("content: redacted")
        .start()
        .await;
    let question = chat_request("is it so?", false).to_string();
    let request = ClientRequest::post(CHAT, encoded_whole("zstd", question));
    let client_response = proxy.send(request.header("content-encoding", "zstd")).await;
    let event = proxy.event_of(&client_response).await.to_string();
    assert!(event.contains("is it so?"), "{event}");
    assert!(event.contains("well then."), "{event}");
}
