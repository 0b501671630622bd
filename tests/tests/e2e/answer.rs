//! The response on its way to the client: measured, unchanged, and cancelled with its client.

use std::time::Duration;

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::assert_metric;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

#[tokio::test]
async fn token_usage_of_a_complete_response_is_recorded() {
    let backend = Backend::chat().await;
    let proxy = Setup::open(&backend).start().await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    let event = proxy.event_of(&response).await;
    let call = &event["gen_ai"];
    assert_eq!(call["operation"]["name"], "chat");
    assert_eq!(call["request"]["model"], "glm-4");
    assert_ne!(call["request"]["stream"], true);
    assert_eq!(call["response"]["model"], "glm-4");
    assert_eq!(
        call["response"]["finish_reasons"],
        serde_json::json!(["stop"])
    );
    assert_eq!(call["usage"]["input_tokens"], 7);
    assert_eq!(call["usage"]["output_tokens"], 3);
    for (direction, tokens) in [("input", 7.0), ("output", 3.0)] {
        let labels = [("model", "glm-4"), ("direction", direction)];
        assert_metric(proxy.admin(), "weir_tokens_total", &labels, tokens).await;
    }
}

#[tokio::test]
async fn token_usage_and_first_token_of_a_stream_are_recorded() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let mut client = Client::h1(proxy.address()).await;
    let (mut streaming, mut call) = backend
        .open_stream(&mut client, ClientRequest::chat_stream("hi"))
        .await;
    // The first token is delayed; the last events arrive in chunks that split a line.
    assert!(wait::still_waiting_after(Duration::from_millis(100), streaming.chunk()).await);
    call.token("one").await;
    streaming.until("one").await;
    call.token("two").await;
    streaming.until("two").await;
    call.chunk("data: {\"id\":\"x\",\"model\":\"glm-4\",\"choices\":[{\"index\":0,\"del")
        .await;
    call.chunk("ta\":{},\"finish_reason\":\"length\"}]}\r")
        .await;
    call.chunk("\n\r\ndata: {\"model\":\"glm-4\",\"choices\":[],\"usage\":{\"prompt_tokens\":11,")
        .await;
    call.chunk("\"completion_tokens\":22,\"total_tokens\":33}}\n\ndata: [DONE]\n\n")
        .await;
    call.finish().await;
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    streaming.rest().await.expect("a clean end");
    let event = proxy.event(&id).await;
    let call = &event["gen_ai"];
    assert_eq!(call["request"]["stream"], true);
    assert_eq!(call["usage"]["input_tokens"], 11);
    assert_eq!(call["usage"]["output_tokens"], 22);
    assert_eq!(
        call["response"]["finish_reasons"],
        serde_json::json!(["length"])
    );
    let first = call["response"]["time_to_first_chunk_ms"]
        .as_f64()
        .expect("a time to the first chunk");
    assert!((95.0..5_000.0).contains(&first), "{first}");
    let labels = [("model", "glm-4")];
    let name = "weir_time_to_first_token_seconds_count";
    assert_metric(proxy.admin(), name, &labels, 1.0).await;
}

#[tokio::test]
async fn token_usage_of_a_truncated_stream_is_recorded() {
    let backend = Backend::responding(|_| {
        let usage =
            r#"{"model":"glm-4","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#;
        BackendResponse::events(&[
            r#"{"model":"glm-4","choices":[{"index":0,"delta":{"content":"w"}}]}"#,
            usage,
        ])
        .truncated()
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    let mut client = Client::h1(proxy.address()).await;
    let streaming = client.open(ClientRequest::chat_stream("hi")).await;
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    streaming.rest().await.expect_err("a truncated body");
    let event = proxy.event(&id).await;
    assert_eq!(event["gen_ai"]["usage"]["output_tokens"], 6);
    assert_eq!(event["error_code"], "upstream_reset");
}

#[tokio::test]
async fn unusual_responses_pass_unchanged() {
    let strange: [(&str, Vec<u8>); 5] = [
        (
            "text/event-stream",
            b"data: not json\n\ndata: {\"usage\":7}\n\n:\n\n".to_vec(),
        ),
        ("text/event-stream", vec![b'x'; 300_000]),
        (
            "application/json",
            b"{\"usage\": {\"prompt_tokens\": \"many\"".to_vec(),
        ),
        ("application/json", b"\xff\xfe\x00".to_vec()),
        ("application/json", b"[[[[".repeat(20_000)),
    ];
    for (kind, body) in strange {
        let sent = body.clone();
        let backend = Backend::responding(move |_| {
            let pieces = sent.chunks(999).map(bytes::Bytes::copy_from_slice);
            BackendResponse::chunks(kind, pieces.collect())
        })
        .await;
        let proxy = Setup::open(&backend).start().await;
        let response = proxy.send(ClientRequest::chat_stream("hi")).await;
        assert_eq!(response.status, 200);
        assert!(response.body == body, "{kind}: the bytes were changed");
        assert_eq!(
            proxy.event_of(&response).await["http"]["response"]["status_code"],
            200
        );
    }
}

#[tokio::test]
async fn a_client_disconnect_cancels_the_backend_request() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    for two in [false, true] {
        let mut client = if two {
            Client::h2(proxy.address()).await
        } else {
            Client::h1(proxy.address()).await
        };
        let (mut streaming, mut call) =
            tokio::join!(client.open(ClientRequest::chat_stream("hi")), async {
                let mut call = backend.next_request().await;
                call.send_event_stream_head().await;
                call.token("first").await;
                call
            });
        streaming.until("first").await;
        let id = streaming.header("x-request-id").expect("an id").to_owned();
        drop(streaming);
        drop(client);
        wait::within("the backend is left", wait::PATIENCE, call.closed()).await;
        let event = proxy.event(&id).await;
        assert!(event.get("error_code").is_none(), "{event}");
        assert_eq!(event["http"]["response"]["status_code"], 200);
        assert_eq!(event["weir"]["client_aborted"], true);
    }
    assert_metric(proxy.admin(), "weir_failed_requests_total", &[], 0.0).await;
}

#[tokio::test]
async fn a_client_disconnect_before_the_response_head_cancels_too() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("POST /left HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\nhi")
        .await;
    let mut call = backend.next_request().await;
    drop(raw);
    wait::within("the backend is left", wait::PATIENCE, call.closed()).await;
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(event["http"]["response"]["status_code"], 499);
    assert_eq!(event["url"]["path"], "/left");
}

#[tokio::test]
async fn a_slow_reader_applies_backpressure_without_buffering() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    proxy.admin_get("/healthz").await;
    let before = proxy.process().resident_bytes_max();
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /slow HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    let mut call = backend.next_request().await;
    call.send_head("application/octet-stream").await;
    raw.read_until(b"\r\n\r\n", wait::PATIENCE).await;
    // The client stops reading: of 200 MiB only as much as fits into the buffers may be read from the backend.
    let piece = vec![b'x'; 1 << 20];
    let mut taken = 0;
    while taken < 200
        && !wait::still_waiting_after(Duration::from_millis(500), call.chunk(&piece)).await
    {
        taken += 1;
    }
    assert!(
        taken < 64,
        "{taken} MiB were taken for a client that reads nothing"
    );
    let grown = proxy.process().resident_bytes_max() - before;
    assert!(grown < 32 << 20, "grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn the_request_id_of_the_backend_is_renamed() {
    let backend = Backend::responding(|received| {
        let backend_response =
            BackendResponse::json(&serde_json::json!({})).header("x-upstream-request-id", "older");
        match &*received.target {
            "/named" => backend_response.header("x-request-id", "req_123"),
            _ => backend_response,
        }
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    for (path, id) in [("/named", "req_123"), ("/unnamed", "older")] {
        for request in [
            ClientRequest::post(path, "x"),
            ClientRequest::chunked(path, b"xyz", 1),
        ] {
            let response = proxy.send(request).await;
            let all = |name: &str| -> Vec<String> {
                let values = response.headers.get_all(name).iter();
                values
                    .map(|value| value.to_str().expect("ASCII").to_owned())
                    .collect()
            };
            assert_eq!(all("x-upstream-request-id"), [id], "{path}");
            assert_eq!(all("x-request-id").len(), 1, "{path}");
            assert_eq!(all("x-request-id")[0].len(), 26, "weir's own");
        }
    }
}
