//! Every model call is recorded, whatever its size, framing, format and body mode.

use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{CHAT, Client, ClientRequest, ClientResponse};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{BUFFERED, Setup};
use weir_tests::sign::sha256_hex;
use weir_tests::wait;

mod codings;

/// The size up to which bodies are buffered if no stage reads them.
const BUFFERED_BYTES: usize = 64 * 1024;

/// A chat request of this many bytes, with the model at its end.
fn question(bytes: usize, stream: bool) -> Vec<u8> {
    let around = json!({"messages": [{"role": "user", "content": ""}], "stream": stream,
                        "tail": {"model": "not this"}, "zmodel": 1});
    let mut text = around.to_string();
    text.truncate(text.len() - 1);
    text.push_str(r#","model":"glm-4"}"#);
    let place = text.find(r#""content":""#).expect("a content") + 11;
    text.insert_str(place, &"x".repeat(bytes - text.len()));
    text.into_bytes()
}

async fn clients(proxy: &Proxy) -> [Client; 2] {
    [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ]
}

/// The call in an event: operation, model, stream, input and output tokens.
async fn recorded_call(proxy: &Proxy, response: &ClientResponse) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    let event = proxy.event_of(response).await;
    let call = &event["gen_ai"];
    json!([
        call["operation"]["name"],
        call["request"]["model"],
        call["request"]["stream"] == true,
        call["usage"]["input_tokens"],
        call["usage"]["output_tokens"],
    ])
}

#[tokio::test]
async fn model_calls_of_any_size_and_framing_are_recorded() {
    let backend = Backend::chat().await;
    let open = Setup::open(&backend)
        .limit("body_bytes: 32MiB")
        .start()
        .await;
    let read = Setup::new(&backend)
        .limit("body_bytes: 32MiB")
        .routes(BUFFERED)
        .start()
        .await;
    for proxy in [&open, &read] {
        let mut calls = 0.0;
        for bytes in [
            200,
            BUFFERED_BYTES - 1,
            BUFFERED_BYTES,
            BUFFERED_BYTES + 1,
            10 << 20,
        ] {
            let body = question(bytes, false);
            for client in &mut clients(proxy).await {
                for request in [
                    ClientRequest::post(CHAT, body.clone()),
                    ClientRequest::chunked(CHAT, &body, 16_001),
                ] {
                    let response = client
                        .send(request.header("cache-control", "no-store"))
                        .await;
                    let call = recorded_call(proxy, &response).await;
                    assert_eq!(call, json!(["chat", "glm-4", false, 7, 3]), "{bytes} bytes");
                    calls += 1.0;
                    let received = backend.requests().pop().expect("a request");
                    assert_eq!(received.body_sha256, sha256_hex(&body), "{bytes} bytes");
                }
            }
        }
        let labels = [("model", "glm-4"), ("direction", "input")];
        assert_metric(proxy.admin(), "weir_tokens_total", &labels, 7.0 * calls).await;
        let labels = [
            ("model", "glm-4"),
            ("backend", "assistant"),
            ("outcome", "success"),
        ];
        assert_metric(proxy.admin(), "weir_model_calls_total", &labels, calls).await;
    }
    backend.assert_faultless();
}

#[tokio::test]
async fn a_stream_is_recorded_when_the_request_body_is_passed_through() {
    let backend = Backend::chat().await;
    let proxy = Setup::open(&backend).start().await;
    for client in &mut clients(&proxy).await {
        for request in [
            ClientRequest::post(CHAT, question(BUFFERED_BYTES + 1, true)),
            ClientRequest::chunked(CHAT, &question(300, true), 7),
        ] {
            let response = client.send(request).await;
            let call = recorded_call(&proxy, &response).await;
            assert_eq!(call, json!(["chat", "glm-4", true, 7, 3]));
        }
    }
}

#[tokio::test]
async fn model_calls_of_every_format_are_recorded() {
    let backend = Backend::responding(|_| {
        BackendResponse::json(&json!({"model": "m", "object": "list", "data": [],
                             "usage": {"prompt_tokens": 5, "completion_tokens": 2}}))
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    let padding = "x".repeat(BUFFERED_BYTES);
    for (path, operation) in [
        ("/v1/embeddings", "embeddings"),
        ("/compatible-mode/v1/completions", "text_completion"),
        ("/api/v3/chat/completions", "chat"),
        ("/v1/responses", "chat"),
        ("/anthropic/v1/messages", "chat"),
        ("/v1/messages/count_tokens", "count_tokens"),
        ("/v1/images/generations", "image_generation"),
        ("/v1/audio/speech", "speech"),
        ("/v2/rerank", "rerank"),
        ("/v1/moderations", "moderation"),
        ("/api/chat", "chat"),
        ("/api/generate", "text_completion"),
        ("/v2/chat", "chat"),
        ("/v2/embed", "embeddings"),
        ("/v1/chat%2Fcompletions", "chat"),
        ("/V1/Chat/Completions/", "chat"),
    ] {
        for padding in ["", &padding] {
            let body = json!({"model": "m", "stream": false, "input": padding});
            let response = proxy.send(ClientRequest::json(path, &body)).await;
            let event = proxy.event_of(&response).await;
            let call = &event["gen_ai"];
            assert_eq!(call["operation"]["name"], operation, "{path}");
            assert_eq!(call["request"]["model"], "m", "{path}");
        }
    }
    for (path, model) in [
        ("/v1beta/models/gemini-pro:generateContent", "gemini-pro"),
        ("/v1beta/models/gemini-pro:countTokens", "gemini-pro"),
        (
            "/openai/deployments/mine/chat/completions?api-version=1",
            "mine",
        ),
    ] {
        for padding in ["", &padding] {
            let body = json!({"contents": [{"parts": [{"text": padding}]}]});
            let response = proxy.send(ClientRequest::json(path, &body)).await;
            let event = proxy.event_of(&response).await;
            assert_eq!(event["gen_ai"]["request"]["model"], model, "{path}");
        }
    }
    for request in [
        ClientRequest::get("/v1/responses/resp_1"),
        ClientRequest::get(CHAT),
        ClientRequest::json("/v1/threads/t/messages", &json!({"model": "m"})),
        ClientRequest::json("/v1/files", &json!({"model": "m"})),
        ClientRequest::new("POST", CHAT),
    ] {
        let response = proxy.send(request).await;
        let event = proxy.event_of(&response).await;
        assert_eq!(event.get("gen_ai"), None, "{event}");
    }
}

#[tokio::test]
async fn the_model_is_read_from_a_form() {
    let backend = Backend::responding(|_| {
        BackendResponse::json(
            &json!({"text": "hello", "usage": {"type": "tokens", "input_tokens": 14,
                             "output_tokens": 4, "total_tokens": 18}}),
        )
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    for recording in [300, 300_000] {
        let body = [
            b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
              Content-Type: audio/wav\r\n\r\n"
                .to_vec(),
            b"\r\n--".repeat(recording / 4),
            b"\r\n--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n"
                .to_vec(),
        ]
        .concat();
        let path = "/v1/audio/transcriptions";
        for client in &mut clients(&proxy).await {
            for request in [
                ClientRequest::post(path, body.clone()),
                ClientRequest::chunked(path, &body, 997),
            ] {
                let request = request.header("content-type", "multipart/form-data; boundary=b");
                let response = client.send(request).await;
                assert_eq!(response.status, 200);
                let event = proxy.event_of(&response).await;
                assert_eq!(event["gen_ai"]["operation"]["name"], "transcription");
                assert_eq!(event["gen_ai"]["request"]["model"], "whisper-1");
                let received = backend.requests().pop().expect("a request");
                assert_eq!(received.body_sha256, sha256_hex(&body));
            }
        }
    }
}

/// The request is recorded even if the response never arrives.
#[tokio::test]
async fn an_early_response_is_recorded() {
    let backend = Backend::raw(|mut stream| async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut held = Vec::new();
        let mut room = vec![0; 4096];
        while !held.windows(5).any(|bytes| bytes == b"glm-4") {
            match stream.read(&mut room).await {
                Ok(read @ 1..) => held.extend_from_slice(&room[..read]),
                _ => return,
            }
        }
        let body = r#"{"model":"glm-4","usage":{"prompt_tokens":7,"completion_tokens":3},"choices":[{"index":0,"finish_reason":"stop","message":{"role":"assistant","content":"early"}}]}"#;
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    for client in &mut clients(&proxy).await {
        let (request, chunks) = ClientRequest::streamed(CHAT);
        let first = r#"{"model":"glm-4","messages":[{"role":"user","content":"it continues"#;
        chunks.send(first.into()).await.expect("taken");
        let streaming = client.open(request).await;
        assert_eq!(streaming.status, 200);
        let id = streaming.header("x-request-id").expect("an id").to_owned();
        let _ = streaming.rest().await;
        drop(chunks);
        let event = proxy.event(&id).await;
        assert_eq!(event["gen_ai"]["request"]["model"], "glm-4");
        assert_eq!(event["gen_ai"]["usage"]["output_tokens"], 3);
    }
}

/// `total_timeout` ends a slow response in either body mode.
#[tokio::test]
async fn a_slow_response_ends_at_its_timeout() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend)
        .backend_options(&["idle_timeout: 10s", "total_timeout: 700ms"])
        .start()
        .await;
    for request in [
        || ClientRequest::post(CHAT, question(BUFFERED_BYTES + 1, true)),
        || ClientRequest::chunked(CHAT, &question(300, true), 100),
        || ClientRequest::post(CHAT, question(300, true)),
    ] {
        for client in &mut clients(&proxy).await {
            let dripping = async {
                let mut call = backend.next_request().await;
                call.send_event_stream_head().await;
                let pause = Duration::from_millis(50);
                while call.try_chunk(": still there\n\n").await.is_ok()
                    && wait::still_waiting_after(pause, call.closed()).await
                {}
            };
            let sending = async {
                let streaming = client.open(request()).await;
                let id = streaming.header("x-request-id").expect("an id").to_owned();
                streaming.rest().await.expect_err("a truncated response");
                id
            };
            let (id, ()) = tokio::join!(sending, dripping);
            let event = proxy.event(&id).await;
            assert_eq!(event["error_code"], "upstream_timeout");
            assert_eq!(event["gen_ai"]["request"]["model"], "glm-4");
        }
    }
}
