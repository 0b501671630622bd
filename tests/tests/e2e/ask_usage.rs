//! `ask_usage`: the usage of a stream is requested where the client does not, and hidden from the client.

use bytes::Bytes;
use serde_json::Value;
use weir_tests::backend::{Backend, BackendResponse, ReceivedRequest, chat_event};
use weir_tests::client::{CHAT, Client, ClientRequest, ClientResponse};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::sign::sign_hmac_now;
use weir_tests::wait;

const BODY: &str = r#"{ "model":"glm-4", "stream" : true,"messages":[] }"#;
const ASKED: &str =
    r#"{"stream_options":{"include_usage":true}, "model":"glm-4", "stream" : true,"messages":[] }"#;
const USAGE: &str =
    r#"data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#;

/// The events of a response, with the usage if it was requested, and with these line ends.
fn events(with_usage: bool, end: &str) -> String {
    let word = |word: &str| format!("data: {}", chat_event(word));
    let stop =
        r#"data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    let mut events = vec![
        ": hello".to_owned(),
        word("one"),
        word(" two"),
        stop.to_owned(),
    ];
    events.extend(with_usage.then(|| USAGE.to_owned()));
    events.push("data: [DONE]".to_owned());
    let ended = events.iter().map(|event| format!("{event}{end}{end}"));
    ended.collect()
}

fn requests_usage(backend_request: &ReceivedRequest) -> bool {
    let prompt: Value = serde_json::from_slice(&backend_request.body).unwrap_or_default();
    prompt["stream_options"]["include_usage"] == true
}

/// Responds like a provider; `x-cut` sets the size of chunks, `x-end` the line end.
fn provider(backend_request: &ReceivedRequest) -> BackendResponse {
    let end = match backend_request.header("x-end") {
        Some("crlf") => "\r\n",
        Some("cr") => "\r",
        _ => "\n",
    };
    let events = Bytes::from(events(requests_usage(backend_request), end));
    let cut = backend_request
        .header("x-cut")
        .and_then(|cut| cut.parse().ok());
    let cut = cut.unwrap_or(events.len());
    let pieces = (0..events.len()).step_by(cut);
    let pieces = pieces.map(|at| events.slice(at..events.len().min(at + cut)));
    BackendResponse::chunks("text/event-stream", pieces.collect())
}

async fn start(backend: &Backend) -> Proxy {
    setup_for(backend).routes(OPEN).start().await
}

fn setup_for(backend: &Backend) -> Setup {
    Setup::new(backend).backend_options(&["ask_usage: true"])
}

fn request_with(body: impl Into<Bytes>) -> ClientRequest {
    ClientRequest::post(CHAT, body).header("content-type", "application/json")
}

async fn assert_usage(proxy: &Proxy, response: &ClientResponse) {
    let event = proxy.event_of(response).await;
    let usage = &event["gen_ai"]["usage"];
    let tokens = (&usage["input_tokens"], &usage["output_tokens"]);
    assert_eq!(tokens, (&Value::from(5), &Value::from(2)), "{event:#}");
    assert!(event["weir"]["usage"].is_null(), "{event:#}");
    let bytes = event["http"]["response"]["body"]["bytes"].as_u64();
    assert_eq!(bytes, Some(response.body.len() as u64));
}

#[tokio::test]
async fn usage_is_requested_and_hidden_from_the_client_over_both_versions() {
    let backend = Backend::responding(provider).await;
    let proxy = start(&backend).await;
    let text = "all work and no play ".repeat(10_000);
    let large = |requested: &str| {
        format!(r#"{{{requested}"stream":true,"messages":[{{"role":"user","content":"{text}"}}]}}"#)
    };
    let large = [
        large(""),
        large(r#""stream_options":{"include_usage":true},"#),
    ];
    for mut client in [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ] {
        for (prompt, [body, requested]) in [
            (request_with(BODY), [BODY, ASKED]),
            (
                ClientRequest::chunked(CHAT, BODY.as_bytes(), 7),
                [BODY, ASKED],
            ),
            (request_with(large[0].clone()), [&large[0], &large[1]]),
            (
                ClientRequest::chunked(CHAT, large[0].as_bytes(), 9_000),
                [&large[0], &large[1]],
            ),
        ] {
            let before = backend.requests().len();
            let response = client.send(prompt).await;
            assert_eq!(
                (response.status, response.text()),
                (200, events(false, "\n"))
            );
            let backend_request = &backend.requests()[before];
            assert_eq!(backend_request.text(), requested);
            let length = requested.len().to_string();
            assert_eq!(
                backend_request.header("content-length"),
                Some(length.as_str())
            );
            assert_usage(&proxy, &response).await;
            let event = proxy.event_of(&response).await;
            let received = event["http"]["request"]["body"]["bytes"].as_u64();
            assert_eq!(received, Some(body.len() as u64), "the client's own");
        }
    }
    backend.assert_faultless();
    let labels = [("model", "glm-4"), ("direction", "output")];
    assert_metric(proxy.admin(), "weir_tokens_total", &labels, 16.0).await;
}

#[tokio::test]
async fn the_usage_chunk_is_removed_for_any_chunking_and_framing() {
    let backend = Backend::responding(|backend_request| {
        let backend_response = provider(backend_request);
        match backend_request.header("x-framing") {
            Some("close") => backend_response.until_close(),
            Some("length") => {
                let body = events(requests_usage(backend_request), "\n");
                BackendResponse::bytes("text/event-stream; charset=utf-8", body)
                    .header("etag", "\"1\"")
            }
            _ => backend_response,
        }
    })
    .await;
    let proxy = start(&backend).await;
    let mut client = Client::h1(proxy.address()).await;
    for (name, end) in [("lf", "\n"), ("crlf", "\r\n"), ("cr", "\r")] {
        for cut in [1, 2, 3, 61, 97, 200, 1_000] {
            let prompt = request_with(BODY).header("x-cut", &cut.to_string());
            let response = client.send(prompt.header("x-end", name)).await;
            assert_eq!(response.text(), events(false, end), "{name} cut at {cut}");
            assert_usage(&proxy, &response).await;
        }
    }
    for framing in ["close", "length"] {
        let response = proxy
            .send(request_with(BODY).header("x-framing", framing))
            .await;
        assert_eq!(response.text(), events(false, "\n"), "{framing}");
        assert_eq!(
            (response.header("content-length"), response.header("etag")),
            (None, None)
        );
        assert_usage(&proxy, &response).await;
    }
}

#[tokio::test]
async fn clients_that_request_usage_get_it_unchanged() {
    let backend = Backend::responding(provider).await;
    let proxy = start(&backend).await;
    let itself = r#"{"stream":true,"stream_options":{"include_usage":true}}"#;
    let response = proxy.send(request_with(itself)).await;
    assert_eq!(response.text(), events(true, "\n"));
    assert_usage(&proxy, &response).await;
    for (path, body) in [
        (CHAT, itself),
        (CHAT, r#"{"stream":false}"#),
        (CHAT, r#"{"stream":true,"stream":true}"#),
        (CHAT, "\u{feff}{\"stream\":true}"),
        (CHAT, r#"{"stream":true"#),
        ("/v1/completions", BODY),
        ("/v1/responses", BODY),
        ("/v1/messages", BODY),
        ("/v1/models/m:streamRawPredict", BODY),
        ("/hooks/any", BODY),
    ] {
        let before = backend.requests().len();
        proxy.send(ClientRequest::post(path, body)).await;
        assert_eq!(backend.requests()[before].text(), body, "{path}");
    }
    for (name, value) in [
        ("content-encoding", "gzip"),
        ("content-digest", "sha-256=:AA==:"),
    ] {
        let before = backend.requests().len();
        proxy.send(request_with(BODY).header(name, value)).await;
        assert_eq!(backend.requests()[before].text(), BODY, "{name}");
    }

    let off = Setup::open(&backend).start().await;
    let before = backend.requests().len();
    let response = off.send(request_with(BODY)).await;
    assert_eq!(response.text(), events(false, "\n"));
    assert_eq!(backend.requests()[before].text(), BODY);
}

#[tokio::test]
async fn the_signed_body_is_verified_and_the_delivered_stream_is_stored() {
    let backend = Backend::responding(provider).await;
    let proxy = setup_for(&backend)
        .routes(
            "- {name: signed, path: /signed/*, backend: assistant, \
                signature: {scheme: hmac, secrets: [a-secret-of-the-route]}}\n\
             - {name: kept, path: /v1/*, backend: assistant, \
                cache: {answers: true, memory: 1MiB, ttl: 1h, scope: route}}",
        )
        .start()
        .await;
    let signed = ClientRequest::post("/signed/v1/chat/completions", BODY)
        .headers(sign_hmac_now("a-secret-of-the-route", BODY.as_bytes()));
    let response = proxy.send(signed).await;
    assert_eq!(
        (response.status, response.text()),
        (200, events(false, "\n"))
    );
    assert_eq!(backend.only_request().text(), ASKED);

    let miss = proxy.send(request_with(BODY)).await;
    let hit = proxy.send(request_with(BODY)).await;
    assert_eq!(backend.requests().len(), 2);
    assert_eq!(hit.header("cache-status"), Some("weir; hit; detail=memory"));
    assert_eq!((&miss.body, hit.text()), (&hit.body, events(false, "\n")));
    // A request for the usage has another cache key.
    let itself = r#"{"stream":true,"stream_options":{"include_usage":true}}"#;
    assert_eq!(
        proxy.send(request_with(itself)).await.text(),
        events(true, "\n")
    );
}

#[tokio::test]
async fn encoded_responses_are_neither_requested_nor_changed() {
    let backend = Backend::responding(|backend_request| {
        let backend_response = BackendResponse::bytes(
            "text/event-stream",
            events(requests_usage(backend_request), "\n"),
        );
        backend_response.header("content-encoding", "x-none-known")
    })
    .await;
    let proxy = start(&backend).await;
    let response = proxy
        .send(request_with(BODY).header("accept-encoding", "gzip, br"))
        .await;
    assert_eq!(response.text(), events(true, "\n"), "it cannot be read");
    assert_eq!(response.header("content-encoding"), Some("x-none-known"));
    let backend_request = backend.only_request();
    assert!(matches!(
        backend_request.header("accept-encoding"),
        None | Some("identity")
    ));
}

#[tokio::test]
async fn content_is_not_delayed() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let mut client = Client::h1(proxy.address()).await;
    let (mut streaming, mut call) = backend.open_stream(&mut client, request_with(BODY)).await;
    // Each event arrives before the next is sent, complete or in part.
    call.token("one").await;
    streaming.until("one").await;
    call.chunk(": still there\n").await;
    streaming.until("still there").await;
    call.chunk("\ndata: {\"id\":\"x\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"tw")
        .await;
    streaming.until("\"tw").await;
    call.chunk("o\"}}]}\n\n").await;
    streaming.until("o\"}}]}").await;
    call.chunk(format!("{}\n", USAGE.split_at(40).0)).await;
    assert!(
        wait::still_waiting_after(std::time::Duration::from_millis(50), streaming.chunk()).await
    );
    // Nothing follows: what was held back is no chunk, and is forwarded.
    call.chunk("\n\ndata: [DONE]\n\n").await;
    let rest = streaming.until("[DONE]").await;
    assert!(rest.contains(USAGE.split_at(40).0), "{rest}");
    call.finish().await;
    streaming.rest().await.expect("a clean end");
}

#[tokio::test]
async fn a_truncated_stream_ends_where_the_backend_ended_it() {
    let started_at = format!("data: {}\n\n{}", chat_event("one"), USAGE.split_at(50).0);
    let body = started_at.clone();
    let backend = Backend::responding(move |_| {
        BackendResponse::chunks("text/event-stream", vec![body.clone().into()]).truncated()
    })
    .await;
    let proxy = start(&backend).await;
    let mut client = Client::h1(proxy.address()).await;
    let streaming = client.open(request_with(BODY)).await;
    let cut = streaming.rest().await.expect_err("it is truncated");
    assert_eq!(String::from_utf8_lossy(&cut.received), started_at);
}
