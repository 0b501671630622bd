//! Tests of the fake backend itself.

use std::time::Duration;

use super::*;
use crate::client::{Client, ClientRequest, send};
use crate::raw::Raw;
use crate::sign::sha256_hex;

#[tokio::test]
async fn a_body_is_hashed_with_a_length_and_in_chunks() {
    let backend = Backend::echo().await;
    let body = vec![7; 70_000];
    let mut client = Client::h1(backend.address()).await;
    for sent in [
        ClientRequest::post("/a?b=c", body.clone()),
        ClientRequest::chunked("/a?b=c", &body, 999),
    ] {
        let response = client.send(sent).await.json();
        assert_eq!(response["bytes"], 70_000);
        assert_eq!(response["sha256"], sha256_hex(&body));
        assert_eq!(response["target"], "/a?b=c");
    }
    let requests = backend.requests();
    assert_eq!(requests[0].framing, Framing::Length);
    assert_eq!(requests[1].framing, Framing::Chunked);
    assert!(
        requests
            .iter()
            .all(|received| received.whole && received.connection == 0)
    );
    assert_eq!(backend.connections(), 1);
}

#[tokio::test]
async fn a_manual_response_is_sent_chunk_by_chunk() {
    let backend = Backend::manual().await;
    let mut client = Client::h1(backend.address()).await;
    let (mut streaming, mut call) = tokio::join!(client.open(ClientRequest::get("/")), async {
        let mut call = backend.next_request().await;
        call.send_event_stream_head().await;
        call
    });
    call.event("one").await;
    assert_eq!(streaming.until("one").await, "data: one\n\n");
    assert!(wait::still_waiting_after(Duration::from_millis(30), streaming.chunk()).await);
    call.event("two").await;
    assert_eq!(streaming.until("two").await, "data: two\n\n");
    call.finish().await;
    assert!(streaming.chunk().await.is_none());
}

#[tokio::test]
async fn a_truncated_body_and_a_reset_are_errors() {
    for end in [BackendResponse::truncated, BackendResponse::reset] {
        let backend = Backend::responding(move |_| end(BackendResponse::events(&["one"]))).await;
        let mut client = Client::h1(backend.address()).await;
        let cut = client.open(ClientRequest::get("/")).await.rest().await;
        cut.expect_err("a truncated body");
    }
    let backend = Backend::responding(|_| BackendResponse::reset_immediately()).await;
    let mut client = Client::h1(backend.address()).await;
    let nothing = client.try_open(ClientRequest::get("/")).await;
    nothing.expect_err("no response");
}

#[tokio::test]
async fn incomplete_requests_are_recorded_and_malformed_ones_are_faults() {
    let backend = Backend::echo().await;
    let mut raw = Raw::connect(backend.address()).await;
    raw.write("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhalf")
        .await;
    raw.finish_sending().await;
    raw.closes_within(wait::PATIENCE).await;
    assert!(!backend.only_request().whole);
    let mut raw = Raw::connect(backend.address()).await;
    raw.write("what is this\r\n\r\n").await;
    assert!(raw.closes_within(wait::PATIENCE).await);
    let faults = lock(&backend.record.faults).len();
    assert!(faults >= 1, "malformed HTTP went unnoticed");
}

#[tokio::test]
async fn health_checks_are_answered_and_not_recorded() {
    let backend = Backend::echo().await;
    assert_eq!(
        send(backend.address(), ClientRequest::get("/healthz"))
            .await
            .status,
        200
    );
    backend.assert_untouched();
    assert_eq!(backend.connections(), 0);
}

#[tokio::test]
async fn a_stopped_backend_refuses_connections() {
    let backend = Backend::echo().await;
    let address = backend.address();
    backend.stop();
    wait::eventually("a refusal", wait::PATIENCE, || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
}
