//! Retries: what is sent again, and what never is.

use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir::clock;
use weir_tests::backend::{Backend, BackendResponse, ReceivedRequest};
use weir_tests::client::{CHAT, Client, ClientRequest, ClientResponse, chat_request};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{BUFFERED, OPEN, Setup};
use weir_tests::sign::{fresh_id, sign_feishu};
use weir_tests::wait;

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
pub(super) async fn recovering(
    first: impl Fn() -> BackendResponse + Send + Sync + 'static,
) -> Backend {
    let count = AtomicUsize::new(0);
    Backend::responding(move |received| match count.fetch_add(1, Ordering::SeqCst) {
        0 => first(),
        _ => BackendResponse::echo(received),
    })
    .await
}

pub(super) async fn start(backend: &Backend, retry: &str) -> Proxy {
    Setup::open(backend).backend_options(&[retry]).start().await
}

/// The outcomes of the attempts of a request.
pub(super) async fn outcomes(proxy: &Proxy, response: &ClientResponse) -> Vec<String> {
    outcomes_of(&proxy.event_of(response).await)
}

/// The outcomes of the attempts that an event lists.
pub(super) fn outcomes_of(event: &Value) -> Vec<String> {
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

/// Every first request with an `x-case` fails as its `x-failure` states; those that follow it are echoed.
async fn failing_once() -> Backend {
    let seen = Mutex::new(HashSet::new());
    Backend::responding(move |received| {
        let case = received.header("x-case").map(str::to_owned);
        let is_first = seen.lock().expect("unpoisoned").insert(case);
        match received.header("x-failure") {
            Some("reset") if is_first => BackendResponse::reset_immediately(),
            Some("status_5xx") if is_first => BackendResponse::status(503),
            _ => BackendResponse::echo(received),
        }
        // A reused connection that breaks is replaced, whatever the request.
        .header("connection", "close")
    })
    .await
}

/// More than is buffered without need.
fn large_chat() -> String {
    chat_request(&"x".repeat(100_000), false).to_string()
}

#[tokio::test]
async fn statuses_and_resets_are_retried_only_where_repeating_does_no_harm() {
    let requests: [(fn() -> ClientRequest, bool); 9] = [
        (|| ClientRequest::get("/a"), true),
        (|| ClientRequest::chat("hi"), true),
        (|| ClientRequest::post(CHAT, large_chat()), true),
        (
            || ClientRequest::chunked(CHAT, large_chat().as_bytes(), 9000),
            false,
        ),
        (
            || ClientRequest::post("/orders", "x").header("idempotency-key", "1"),
            true,
        ),
        (
            || ClientRequest::post("/orders", "x").header("idempotency-key", ""),
            false,
        ),
        (
            || ClientRequest::post("/v1/responses", r#"{"input":"a","background":true}"#),
            false,
        ),
        (|| ClientRequest::post("/orders", "x"), false),
        (|| ClientRequest::new("DELETE", "/orders/1"), false),
    ];
    let backend = failing_once().await;
    let breaker = "circuit_breaker: {minimum_requests: 1000}";
    let proxy = Setup::open(&backend)
        .backend_options(&[FAST, breaker])
        .start()
        .await;
    let mut cases = 0;
    for (request, is_repeatable) in requests {
        for (outcome, status) in [("status_5xx", 503), ("reset", 502)] {
            for mut client in [
                Client::h1(proxy.address()).await,
                Client::h2(proxy.address()).await,
            ] {
                cases += 1;
                let case = cases.to_string();
                let what = format!("{case}: {:?}, {outcome}", request().header("x-case", &case));
                let request = request()
                    .header("x-case", &case)
                    .header("x-failure", outcome);
                let response = client.send(request).await;
                let received = backend.requests();
                let received = received.iter();
                let of_case =
                    |received: &&ReceivedRequest| received.header("x-case") == Some(&*case);
                let count = received.filter(of_case).count();
                let (expected, tried) = match is_repeatable {
                    true => ((200, 2), &[outcome, "ok"][..]),
                    false => ((status, 1), &[][..]),
                };
                assert_eq!((response.status, count), expected, "{what}");
                assert_eq!(outcomes(&proxy, &response).await, tried, "{what}");
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

const FEISHU: &str = "- {name: feishu, path: /hooks/feishu, backend: assistant, \
                      signature: {scheme: feishu, secrets: [key], verification_token: token}}\n\
                      - {name: forgetful, path: /hooks/forgetful, backend: assistant, \
                      signature: {scheme: feishu, secrets: [key], verification_token: token, replay: 0s}}";

/// A delivery of a platform, which states that it may be repeated.
fn delivery(path: &str) -> ClientRequest {
    let body = json!({
        "schema": "2.0",
        "header": {"event_id": fresh_id(), "token": "token", "event_type": "im.message.receive_v1"},
        "event": {},
    });
    let body = body.to_string();
    let now = clock::unix_now().as_secs();
    let headers = sign_feishu("key", &fresh_id(), now, body.as_bytes());
    ClientRequest::post(path, body)
        .headers(headers)
        .header("idempotency-key", "1")
}

#[tokio::test]
async fn a_delivery_of_a_platform_is_retried_on_refused_connections_only() {
    for path in ["/hooks/feishu", "/hooks/forgetful"] {
        let backend = recovering(|| BackendResponse::status(503)).await;
        let proxy = Setup::new(&backend)
            .backend_options(&[FAST])
            .routes(FEISHU)
            .start()
            .await;
        assert_eq!(proxy.send(delivery(path)).await.status, 503, "{path}");
        assert_eq!(backend.requests().len(), 1, "{path}");
    }

    let backend = Backend::echo().await;
    let proxy = Setup::without_backend()
        .backend("assistant", &[refusing().await, backend.url()], &[FAST])
        .routes(FEISHU)
        .start()
        .await;
    for _ in 0..2 {
        let response = proxy.send(delivery("/hooks/feishu")).await;
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
    let proxy = Setup::new(&backend)
        .backend_options(&["retry: {attempts: 1, when: []}"])
        .routes(FEISHU)
        .routes(OPEN)
        .start()
        .await;
    let mut client = Client::h1(proxy.address()).await;
    for expected in [&[][..], &["reset", "ok"], &["reset", "ok"]] {
        let response = client.send(ClientRequest::post("/orders", "x")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(outcomes(&proxy, &response).await, expected);
    }
    // The platform repeats a delivery itself; this one may have been processed.
    let response = client.send(delivery("/hooks/feishu")).await;
    assert_eq!(response.rejection(), "upstream_reset");
}

#[tokio::test]
async fn a_large_body_is_sent_again_whole() {
    const BYTES: usize = 10 << 20;
    // The one route has to read it, and the other one could pass it through.
    let buffered = BUFFERED.replace("/*", "/buffered");
    for path in ["/buffered", "/open"] {
        let backend = failing_once().await;
        let proxy = Setup::new(&backend)
            .backend_options(&[FAST])
            .routes(&buffered)
            .routes(&OPEN.replace("name: all", "name: open"))
            .start()
            .await;
        let clients = [
            Client::h1(proxy.address()).await,
            Client::h2(proxy.address()).await,
        ];
        for (number, mut client) in clients.into_iter().enumerate() {
            let request = ClientRequest::post(path, vec![b'y'; BYTES])
                .header("idempotency-key", "1")
                .header("x-case", &number.to_string())
                .header("x-failure", "status_5xx");
            let response = client.send(request).await;
            assert_eq!(response.status, 200, "{}", response.text());
        }
        let received = backend.requests();
        assert_eq!(received.len(), 4, "{path}");
        for request in received {
            assert_eq!(request.body_bytes, BYTES as u64, "{path}");
            assert!(request.whole);
        }
    }
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
    assert!(begun.elapsed() < wait::PATIENCE);
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
    // Nothing is in progress with the endpoint while the retry is waited for.
    let waiting = async {
        while proxy.admin_get("/api/backends").await.json()["backends"][0]["endpoints"][0]["live"]
            != 0
        {
            wait::tick().await;
        }
    };
    wait::within("the wait for the retry", wait::PATIENCE, waiting).await;
    sending.abort();
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(event["weir"]["upstream"]["attempts"], 1);
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn retries_are_bounded_by_the_budget() {
    const REQUESTS: usize = 12;
    let unavailable = |_: &_| BackendResponse::status(503).header("retry-after", "5");
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
