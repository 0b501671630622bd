//! The circuit breaker of each endpoint.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

const NO_RETRY: &str = "retry: {attempts: 1}";

/// Opens after three failures, and fails while all circuits are open.
fn breaker(open_for: &str, when_all_open: &str) -> String {
    format!(
        "circuit_breaker: {{minimum_requests: 3, open_for: {open_for}, when_all_open: {when_all_open}}}"
    )
}

/// A backend that fails while the switch is on.
async fn switched() -> (Backend, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let switch = fails.clone();
    let backend = Backend::responding(move |received| match fails.load(Ordering::SeqCst) {
        true => BackendResponse::status(500),
        false => BackendResponse::echo(received),
    })
    .await;
    (backend, switch)
}

async fn send(proxy: &Proxy, count: usize, status: u16) {
    for _ in 0..count {
        let response = proxy.send(ClientRequest::get("/a")).await;
        assert_eq!(response.status, status, "{}", response.text());
    }
}

/// The circuit of the only endpoint, as the admin API shows it.
async fn circuit(proxy: &Proxy) -> String {
    let shown = proxy.admin_get("/api/backends").await.json();
    let circuit = &shown["backends"][0]["endpoints"][0]["circuit"];
    circuit.as_str().expect("a circuit").to_owned()
}

async fn assert_open(proxy: &Proxy, count: f64) {
    let labels = [("backend", "assistant")];
    assert_metric(proxy.admin(), "weir_circuit_open", &labels, count).await;
}

#[tokio::test]
async fn an_open_circuit_rejects() {
    let (backend, _fails) = switched().await;
    let proxy = Setup::open(&backend)
        .backend_options(&[NO_RETRY, &breaker("1h", "fail")])
        .start()
        .await;
    assert_open(&proxy, 0.0).await;
    send(&proxy, 3, 500).await;
    let response = proxy.send(ClientRequest::get("/a")).await;
    assert_eq!(
        (response.status, &*response.rejection()),
        (503, "circuit_open")
    );
    assert_eq!(backend.requests().len(), 3);
}

#[tokio::test]
async fn a_circuit_closes_after_a_successful_probe() {
    let (backend, fails) = switched().await;
    let proxy = Setup::open(&backend)
        .backend_options(&[NO_RETRY, &breaker("1ms", "try")])
        .start()
        .await;
    send(&proxy, 3, 500).await;
    fails.store(false, Ordering::SeqCst);
    send(&proxy, 1, 200).await;
    assert_open(&proxy, 0.0).await;
    send(&proxy, 5, 200).await;
    let log = proxy.stderr();
    assert_eq!(log.matches("opened").count(), 1, "{log}");
    assert_eq!(log.matches("closed: it responds again").count(), 1, "{log}");
}

#[tokio::test]
async fn with_every_circuit_open_requests_are_tried_by_default() {
    let (backend, fails) = switched().await;
    let proxy = Setup::open(&backend)
        .backend_options(&[NO_RETRY, &breaker("1h", "try")])
        .start()
        .await;
    send(&proxy, 5, 500).await;
    assert_open(&proxy, 1.0).await;
    let shown = proxy.admin_get("/api/backends").await.json();
    let endpoint = &shown["backends"][0]["endpoints"][0];
    assert_eq!(endpoint["circuit"], "open", "{shown}");
    assert_eq!(endpoint["reason"], "3 of 3 requests within 10s failed");
    assert!(endpoint["until"].is_string(), "{shown}");
    fails.store(false, Ordering::SeqCst);
    send(&proxy, 1, 200).await;
    assert_open(&proxy, 0.0).await;
}

#[tokio::test]
async fn an_endpoint_that_fails_leaves_the_rotation() {
    let ((failing, _), healthy) = (switched().await, Backend::echo().await);
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[failing.url(), healthy.url()],
            &[NO_RETRY, &breaker("1h", "fail")],
        )
        .routes(OPEN)
        .start()
        .await;
    let mut client = Client::h1(proxy.address()).await;
    for _ in 0..6 {
        client.send(ClientRequest::get("/a")).await;
    }
    assert_open(&proxy, 1.0).await;
    send(&proxy, 10, 200).await;
    assert_eq!(failing.requests().len(), 3);
}

#[tokio::test]
async fn with_every_circuit_open_the_fallback_goes_first() {
    let ((backend, _), cloud) = (switched().await, Backend::echo().await);
    let proxy = Setup::open(&backend)
        .backend_options(&[NO_RETRY, &breaker("1h", "try"), "fallback: cloud"])
        .backend("cloud", &[cloud.url()], &[])
        .start()
        .await;
    send(&proxy, 3, 500).await;
    // Also a request that must not be repeated: no endpoint has seen it.
    let response = proxy.send(ClientRequest::post("/orders", "x")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(proxy.event_of(&response).await["backend"], "cloud");
    assert_eq!(backend.requests().len(), 3);
}

#[tokio::test]
async fn a_request_that_opens_the_last_circuit_goes_to_the_fallback_at_once() {
    let (backend, cloud) = (
        Backend::responding(|_| BackendResponse::status(503)).await,
        Backend::echo().await,
    );
    let proxy = Setup::open(&backend)
        .backend_options(&[
            "retry: {backoff: 40s}",
            "circuit_breaker: {minimum_requests: 1, open_for: 1h}",
            "fallback: cloud",
        ])
        .backend("cloud", &[cloud.url()], &[])
        .start()
        .await;
    // A wait would be longer than the patience.
    let request = proxy.send(ClientRequest::get("/a"));
    let response = wait::within("a response", wait::PATIENCE, request).await;
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(proxy.event_of(&response).await["backend"], "cloud");
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn a_probe_is_decided_by_the_head_of_its_response() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend)
        .backend_options(&[NO_RETRY, &breaker("1ms", "fail")])
        .start()
        .await;
    for _ in 0..3 {
        let (response, ()) = tokio::join!(proxy.send(ClientRequest::get("/a")), async {
            let call = backend.next_request().await;
            call.respond(BackendResponse::status(500)).await;
        });
        assert_eq!(response.status, 500);
    }
    // It is half-open a millisecond later: the next request is its probe.
    assert_ne!(circuit(&proxy).await, "closed");
    let mut client = Client::h1(proxy.address()).await;
    let (streaming, call) = client.begin_stream(&backend, "first").await;
    assert_eq!(circuit(&proxy).await, "closed");
    call.end_chat(1).await;
    streaming.rest().await.expect("whole");
}

#[tokio::test]
async fn errors_inside_a_response_count_as_failures() {
    let failed = |_: &_| BackendResponse::events(&[r#"{"error":{"message":"overloaded"}}"#]);
    let backend = Backend::responding(failed).await;
    let proxy = Setup::open(&backend)
        .backend_options(&[NO_RETRY, &breaker("1h", "fail")])
        .start()
        .await;
    for _ in 0..3 {
        let response = proxy.send(ClientRequest::chat_stream("hi")).await;
        assert_eq!(response.status, 200);
    }
    assert_open(&proxy, 1.0).await;
}
