//! Retries: what is sent again, and what never is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir::clock;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest, ClientResponse};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::sign::{fresh_id, sign_feishu};
use weir_tests::wait;

/// Makes the response of an attempt that fails.
type FailingResponse = fn() -> BackendResponse;

const FAST: &str = "retry: {backoff: 10ms}";

/// The URL of an endpoint that refuses connections.
pub(super) async fn refusing() -> String {
    let backend = Backend::echo().await;
    backend.stop();
    let address = backend.address();
    wait::eventually("a refusal", wait::PATIENCE, || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    backend.url()
}

/// The first response is `first`; those that follow echo the request.
async fn recovering(first: impl Fn() -> BackendResponse + Send + Sync + 'static) -> Backend {
    let count = AtomicUsize::new(0);
    Backend::responding(move |received| match count.fetch_add(1, Ordering::SeqCst) {
        0 => first(),
        _ => BackendResponse::echo(received),
    })
    .await
}

async fn start(backend: &Backend, retry: &str) -> Proxy {
    Setup::open(backend).backend_options(&[retry]).start().await
}

/// The outcomes of the attempts of a request.
pub(super) async fn outcomes(proxy: &Proxy, response: &ClientResponse) -> Vec<String> {
    let event = proxy.event_of(response).await;
    let tried = event["weir"]["upstream"]["tried"].as_array().cloned();
    let outcome = |attempt: &Value| attempt["outcome"].as_str().expect("an outcome").to_owned();
    tried.unwrap_or_default().iter().map(outcome).collect()
}

#[tokio::test]
async fn a_refused_connection_is_retried_for_every_method() {
    let backend = Backend::echo().await;
    let proxy = Setup::without_backend()
        .backend("assistant", &[refusing().await, backend.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    let mut refused = 0;
    for _ in 0..4 {
        let response = proxy.send(ClientRequest::post("/orders", "one")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["bytes"], 3);
        let outcomes = outcomes(&proxy, &response).await;
        if !outcomes.is_empty() {
            assert_eq!(outcomes, ["connect_error", "ok"]);
            refused += 1;
        }
    }
    assert_eq!(refused, 2, "every other request begins there");
    let labels = [("backend", "assistant"), ("outcome", "connect_error")];
    assert_metric(proxy.admin(), "weir_upstream_attempts_total", &labels, 2.0).await;
}

#[tokio::test]
async fn a_pass_through_body_is_sent_to_another_endpoint_after_a_refused_connection() {
    let backend = Backend::echo().await;
    let proxy = Setup::without_backend()
        .backend("assistant", &[refusing().await, backend.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    let body = vec![b'x'; 300 * 1024];
    for _ in 0..2 {
        let request = ClientRequest::chunked("/upload", &body, 16 * 1024);
        let response = proxy.send(request).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.json()["bytes"], body.len());
    }
}

#[tokio::test]
async fn statuses_and_resets_are_retried_only_where_repeating_does_no_harm() {
    let requests: [(fn() -> ClientRequest, bool); 5] = [
        (|| ClientRequest::get("/a"), true),
        (|| ClientRequest::chat("hi"), true),
        (
            || ClientRequest::post("/orders", "x").header("idempotency-key", "1"),
            true,
        ),
        (|| ClientRequest::post("/orders", "x"), false),
        (|| ClientRequest::new("DELETE", "/orders/1"), false),
    ];
    let failures: [(FailingResponse, u16, &str); 2] = [
        (|| BackendResponse::status(503), 503, "status_5xx"),
        (BackendResponse::reset_immediately, 502, "reset"),
    ];
    for (request, is_repeatable) in requests {
        for (failure, status, outcome) in failures {
            let backend = recovering(failure).await;
            let proxy = start(&backend, FAST).await;
            let response = proxy.send(request()).await;
            let what = format!("{:?}, {outcome}", request());
            match is_repeatable {
                true => {
                    assert_eq!(response.status, 200, "{what}: {}", response.text());
                    assert_eq!(outcomes(&proxy, &response).await, [outcome, "ok"], "{what}");
                    assert_eq!(backend.requests().len(), 2, "{what}");
                }
                false => {
                    assert_eq!(response.status, status, "{what}");
                    assert_eq!(backend.requests().len(), 1, "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn statuses_that_are_not_listed_are_delivered() {
    let backend = recovering(|| BackendResponse::bytes("text/plain", "no").with_status(500)).await;
    let proxy = start(&backend, FAST).await;
    let response = proxy.send(ClientRequest::get("/a")).await;
    assert_eq!((response.status, &*response.text()), (500, "no"));
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn a_delivery_of_a_platform_is_retried_on_refused_connections_only() {
    const ROUTES: &str = "- {name: feishu, path: /hooks/feishu, backend: assistant, \
                          signature: {scheme: feishu, secrets: [key], verification_token: token}}\n\
                          - {name: forgetful, path: /hooks/forgetful, backend: assistant, \
                          signature: {scheme: feishu, secrets: [key], verification_token: token, replay: 0s}}";
    let deliver = async |proxy: &Proxy, path: &str| {
        let body = json!({
            "schema": "2.0",
            "header": {"event_id": fresh_id(), "token": "token", "event_type": "im.message.receive_v1"},
            "event": {},
        });
        let body = body.to_string();
        let headers = sign_feishu(
            "key",
            &fresh_id(),
            clock::unix_now().as_secs(),
            body.as_bytes(),
        );
        let request = ClientRequest::post(path, body).headers(headers);
        proxy.send(request.header("idempotency-key", "1")).await
    };
    for path in ["/hooks/feishu", "/hooks/forgetful"] {
        let backend = recovering(|| BackendResponse::status(503)).await;
        let proxy = Setup::new(&backend)
            .backend_options(&[FAST])
            .routes(ROUTES)
            .start()
            .await;
        assert_eq!(deliver(&proxy, path).await.status, 503, "{path}");
        assert_eq!(backend.requests().len(), 1, "{path}");
    }

    let backend = Backend::echo().await;
    let proxy = Setup::without_backend()
        .backend("assistant", &[refusing().await, backend.url()], &[FAST])
        .routes(ROUTES)
        .start()
        .await;
    for _ in 0..2 {
        let response = deliver(&proxy, "/hooks/feishu").await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

#[tokio::test]
async fn a_post_whose_reused_connection_broke_is_sent_once_over_a_new_one() {
    // Every connection serves one request, and ends when the next one has arrived.
    let backend = Backend::raw(async |mut stream| {
        let mut bytes = [0; 4096];
        if !stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
            return;
        }
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        let _ = stream.write_all(response).await;
        let _ = stream.read(&mut bytes).await;
    })
    .await;
    let proxy = start(&backend, "retry: {attempts: 1, when: []}").await;
    let mut client = Client::h1(proxy.address()).await;
    for expected in [&[][..], &["reset", "ok"], &["reset", "ok"]] {
        let response = client.send(ClientRequest::post("/orders", "x")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(outcomes(&proxy, &response).await, expected);
    }
}

#[tokio::test]
async fn a_large_body_is_sent_again_whole() {
    let backend = recovering(|| BackendResponse::status(502)).await;
    let proxy = Setup::buffered(&backend)
        .backend_options(&[FAST])
        .start()
        .await;
    let body = vec![b'y'; 10 * 1024 * 1024];
    let request = ClientRequest::post("/a", body.clone()).header("idempotency-key", "1");
    let response = proxy.send(request).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let received = backend.requests();
    assert_eq!(received.len(), 2);
    for request in received {
        assert_eq!(request.body_bytes, body.len() as u64);
        assert!(request.whole);
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_up_to_its_maximum() {
    const RETRY: &str = "retry: {backoff: 1ms, when: [429, '503'], retry_after_max: 2s}";
    for (header, is_retried) in [("1", true), ("3", false), ("later", true)] {
        let limited = || BackendResponse::status(429).header("retry-after", header);
        let backend = recovering(limited).await;
        let proxy = start(&backend, RETRY).await;
        let begun = clock::now();
        let response = proxy.send(ClientRequest::chat("hi")).await;
        match is_retried {
            true => assert_eq!(response.status, 200, "{header}"),
            false => assert_eq!(response.status, 429, "{header}"),
        }
        let took = begun.elapsed();
        assert!(header != "1" || took >= Duration::from_secs(1), "{took:?}");
        assert!(took < wait::PATIENCE);
    }
}

#[tokio::test]
async fn an_exhausted_quota_is_never_retried() {
    let body = r#"{ "error": {"code": "insufficient_quota", "message": "You exceeded it"} }"#;
    let backend = Backend::responding(move |_| {
        BackendResponse::bytes("application/json", body).with_status(429)
    })
    .await;
    let proxy = start(&backend, "retry: {backoff: 1ms, when: [429]}").await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    assert_eq!((response.status, &*response.text()), (429, body));
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn retries_end_with_total_timeout() {
    let backend = Backend::responding(|_| BackendResponse::status(503)).await;
    let proxy = Setup::open(&backend)
        .backend_options(&[
            "total_timeout: 2s",
            "retry: {attempts: 50, backoff: 400ms, budget: 100%}",
        ])
        .start()
        .await;
    let begun = clock::now();
    let response = proxy.send(ClientRequest::chat("hi")).await;
    assert_eq!(response.status, 503, "the response of the last attempt");
    assert!(begun.elapsed() < Duration::from_secs(3));
    let attempts = backend.requests().len();
    assert!((2..8).contains(&attempts), "{attempts}");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_wait_for_a_retry() {
    let unavailable = || BackendResponse::status(503).header("retry-after", "9");
    let backend = recovering(unavailable).await;
    let proxy = start(&backend, "retry: {backoff: 10ms}").await;
    let address = proxy.address();
    let sending =
        tokio::spawn(
            async move { weir_tests::client::send(address, ClientRequest::chat("hi")).await },
        );
    wait::eventually("the first attempt", wait::PATIENCE, || {
        backend.requests().len() == 1
    })
    .await;
    sending.abort();
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(event["weir"]["upstream"]["attempts"], 1);
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn retries_are_bounded_by_the_budget() {
    const REQUESTS: usize = 12;
    let unavailable = |_: &_| BackendResponse::status(503).header("retry-after", "1");
    let backend = Backend::responding(unavailable).await;
    let proxy = start(&backend, "retry: {attempts: 2, budget: 1%}").await;
    let address = proxy.address();
    let sent: Vec<_> = (0..REQUESTS)
        .map(|_| {
            tokio::spawn(async move {
                weir_tests::client::send(address, ClientRequest::chat("hi")).await
            })
        })
        .collect();
    for response in sent {
        assert_eq!(response.await.expect("a response").status, 503);
    }
    // A quiet backend has three at the same time.
    assert_eq!(backend.requests().len(), REQUESTS + 3);
}
