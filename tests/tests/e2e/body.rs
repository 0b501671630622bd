//! Promise 1: nothing reaches a backend before its signature is verified over the raw bytes, and the backend receives the
//! same bytes. And the limits of a body.

use std::time::Duration;

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::Metrics;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::{sha256_hex, sign_hmac_now};
use weir_tests::wait;

mod flood;

const SECRET: &str = "a-secret-of-these-tests";

const SIGNED: &str = "- {name: signed, path: /*, backend: assistant, \
                      signature: {scheme: hmac, secrets: [a-secret-of-these-tests]}}";

const SIZES: [usize; 6] = [0, 1, 65_535, 65_536, 65_537, 10 << 20];

/// Bytes without repetition that are not UTF-8.
fn bytes_of(size: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[1]
    };
    (0..size).map(|_| next()).collect()
}

#[tokio::test]
async fn the_backend_receives_exactly_the_signed_bytes() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(SIGNED).start().await;
    for size in SIZES {
        let body = bytes_of(size);
        for mut client in [
            Client::h1(proxy.address()).await,
            Client::h2(proxy.address()).await,
        ] {
            for request in [
                ClientRequest::post("/with-length", body.clone()),
                ClientRequest::chunked("/chunked", &body, 30_011),
            ] {
                let client_response = client
                    .send(request.headers(sign_hmac_now(SECRET, &body)))
                    .await;
                assert_eq!(
                    client_response.status,
                    200,
                    "{size}: {}",
                    client_response.text()
                );
                let received = backend.requests().pop().expect("a request");
                assert!(received.whole);
                assert_eq!(received.body_bytes, size as u64);
                assert_eq!(received.body_sha256, sha256_hex(&body), "{size}");
                let event = proxy.event_of(&client_response).await;
                assert_eq!(event["http"]["request"]["body"]["bytes"], size);
                assert_eq!(event["weir"]["signature"]["outcome"], "valid");
            }
        }
    }
    assert_eq!(backend.requests().len(), SIZES.len() * 4);
    backend.assert_faultless();
}

#[tokio::test]
async fn nothing_arrives_with_an_invalid_signature() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(SIGNED).start().await;
    for size in SIZES {
        let body = bytes_of(size);
        let mut other = body.clone();
        match other.last_mut() {
            Some(last) => *last ^= 1,
            None => other.push(0),
        }
        for mut client in [
            Client::h1(proxy.address()).await,
            Client::h2(proxy.address()).await,
        ] {
            for request in [
                ClientRequest::post("/with-length", body.clone()),
                ClientRequest::chunked("/chunked", &body, 30_011),
            ] {
                // The signature is valid for a body that differs in the last bit.
                let client_response = client
                    .send(request.headers(sign_hmac_now(SECRET, &other)))
                    .await;
                assert_eq!(client_response.status, 401, "{size}");
                assert_eq!(client_response.rejection(), "signature_invalid");
            }
        }
    }
    backend.assert_untouched();
    assert_eq!(backend.connections_open(), 0, "not even a connection");
}

#[tokio::test]
async fn an_oversized_body_is_rejected_before_it_is_read() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend)
        .limit("body_bytes: 64KiB")
        .start()
        .await;
    let bound = 64 << 10;
    let client_response = proxy
        .send(ClientRequest::post("/just", vec![b'x'; bound]))
        .await;
    assert_eq!(client_response.status, 200);
    let client_response = proxy
        .send(ClientRequest::chunked("/just", &vec![b'x'; bound], 8000))
        .await;
    assert_eq!(client_response.status, 200);

    // Announced by its length: no byte of it has to be sent.
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(format!(
        "POST /over HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {}\r\n\r\n",
        bound + 1
    ))
    .await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 413);
    assert!(backend_response.text().contains("body_too_large"));

    // Not announced: detected while reading, without waiting for the end.
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("POST /over HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await;
    let chunk = format!("8000\r\n{}\r\n", "x".repeat(0x8000));
    raw.write(format!("{chunk}{chunk}2\r\nxx\r\n")).await;
    assert_eq!(raw.response().await.status, 413);

    let mut client = Client::h2(proxy.address()).await;
    let over = ClientRequest::post("/over", vec![b'x'; bound + 1]);
    // Read to the end: a client that aborts a response is another event.
    assert_eq!(client.send(over).await.status, 413);

    let events = proxy.events_when(5).await;
    let refused = events
        .iter()
        .filter(|event| event["error_code"] == "body_too_large");
    assert_eq!(refused.count(), 3);
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn a_slow_body_is_rejected() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend)
        .limit("body_timeout: 1s")
        .start()
        .await;
    for framing in ["Content-Length: 100000", "Transfer-Encoding: chunked"] {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(format!(
            "POST /slow HTTP/1.1\r\nHost: weir.test\r\n{framing}\r\n\r\n"
        ))
        .await;
        let started = weir::clock::now();
        // An occasional byte prevents a timeout for each read from firing.
        let output = raw
            .drip("1\r\nx\r\n", Duration::from_millis(200), wait::PATIENCE)
            .await;
        let lasted = started.elapsed();
        assert!(
            (Duration::from_millis(700)..wait::PATIENCE).contains(&lasted),
            "{framing}: {lasted:?}"
        );
        let output = String::from_utf8_lossy(&output);
        assert!(output.starts_with("HTTP/1.1 408"), "{output}");
        assert!(output.contains("body_timeout"), "{output}");
    }
    proxy.event_with_code("body_timeout").await;
    backend.assert_untouched();
}

#[tokio::test]
async fn a_slow_body_over_http2_is_rejected() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend)
        .limit("body_timeout: 1s")
        .start()
        .await;
    let mut client = Client::h2(proxy.address()).await;
    let (request, chunks) = ClientRequest::streamed("/slow");
    chunks.send("half".into()).await.expect("sent");
    let streaming = client.open(request).await;
    assert_eq!(streaming.status, 408);
    backend.assert_untouched();
}

#[tokio::test]
async fn an_incomplete_body_is_recorded_and_released() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend).start().await;
    for (path, goodbye) in [("/closed", false), ("/reset", true)] {
        let is_quiet = |metrics: &Metrics| metrics.sum("weir_requests_in_flight", &[]) < 0.5;
        proxy.metrics_when("no request", is_quiet).await;
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(format!(
            "POST {path} HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 1000\r\n\r\nhalf"
        ))
        .await;
        // The proxy has started to read before the client leaves.
        let has_begun = |metrics: &Metrics| metrics.sum("weir_requests_in_flight", &[]) > 0.5;
        proxy.metrics_when("the request", has_begun).await;
        if goodbye {
            raw.reset();
        } else {
            drop(raw);
        }
        let event = proxy
            .event_where(path, |event| event["url"]["path"] == path)
            .await;
        assert_eq!(event["error_code"], "client_closed");
        assert_eq!(event["http"]["response"]["status_code"], 499);
    }
    backend.assert_untouched();
}
