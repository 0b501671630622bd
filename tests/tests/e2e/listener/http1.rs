//! HTTP/1 as weir reads and writes it: bodies in any number of packets, keep-alive, and heads that are sent before their
//! bodies.

use std::time::Duration;

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::sha256_hex;
use weir_tests::wait;

const CHUNKED: &str = "POST /a HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Writes chunks so that each arrives separately.
async fn write_separately(raw: &mut Raw, chunks: &[&str]) {
    for chunk in chunks {
        raw.write(chunk).await;
        assert!(wait::still_waiting_after(Duration::from_millis(20), raw.try_response()).await);
    }
}

#[tokio::test]
async fn a_chunked_body_is_read_across_packet_boundaries() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    for _ in 0..2 {
        let chunks = [
            "2\r",
            "\nhe\r\n3;a=b\r\nl",
            "lo",
            "\r",
            "\n0\r\nX-Trailer: 1\r\n",
        ];
        raw.write(CHUNKED).await;
        write_separately(&mut raw, &chunks).await;
        raw.write("\r\n").await;
        let backend_response = raw.response().await;
        assert_eq!(backend_response.status, 200, "{}", backend_response.text());
        assert!(backend_response.text().contains(&sha256_hex(b"hello")));
    }
    assert_eq!(backend.requests().len(), 2);
    assert_eq!(backend.requests()[0].header("x-trailer"), None);
}

#[tokio::test]
async fn an_invalid_chunk_in_a_later_packet_is_rejected() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend).start().await;
    for size in ["", " ", ";x", "zz", "-1", "0x5", "5\n", "fffffffffffffffff"] {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(CHUNKED).await;
        write_separately(&mut raw, &["2\r\nhi\r\n"]).await;
        raw.write(format!("{size}\r\nhello\r\n0\r\n\r\n")).await;
        let backend_response = raw.response().await;
        assert_eq!(
            backend_response.status,
            400,
            "{size:?}: {}",
            backend_response.text()
        );
        assert!(raw.closes_within(wait::PATIENCE).await);
    }
    backend.assert_untouched();
}

#[tokio::test]
async fn a_response_head_is_sent_before_the_body() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /slow HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    let mut call = backend.next_request().await;
    call.send_event_stream_head().await;
    let head = raw.read_until(b"\r\n\r\n", wait::PATIENCE).await;
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{head:?}");
    call.event("one").await;
    let event = raw.read_until(b"one\n\n\r\n", wait::PATIENCE).await;
    assert!(event.ends_with(b"data: one\n\n\r\n"), "{event:?}");
    call.finish().await;
    let end = raw.read_until(b"0\r\n\r\n", wait::PATIENCE).await;
    assert_eq!(end, b"0\r\n\r\n");
    // The connection is usable.
    raw.write("GET /next HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    backend
        .next_request()
        .await
        .respond(BackendResponse::status(204))
        .await;
    assert_eq!(raw.head_response().await.status, 204);
}

#[tokio::test]
async fn http_1_0_keep_alive_is_supported() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    let keep = "GET /old HTTP/1.0\r\nHost: weir.test\r\nConnection: Keep-Alive\r\n\r\n";
    for _ in 0..2 {
        raw.write(keep).await;
        let backend_response = raw.response().await;
        assert_eq!(backend_response.status, 200, "{}", backend_response.text());
        assert_eq!(backend_response.header("connection"), Some("keep-alive"));
    }
    raw.write(
        keep.replace("HTTP/1.0", "HTTP/1.1")
            .replace("Keep-Alive", "x, close"),
    )
    .await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.header("connection"), Some("close"));
    assert!(raw.closes_within(wait::PATIENCE).await);
    // Without a length the end of the connection is the end of the response.
    let stream = Backend::responding(|_| BackendResponse::events(&["one"]).chunked()).await;
    let proxy = Setup::open(&stream).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(keep).await;
    let all = raw.read_to_end(wait::PATIENCE).await;
    let all = String::from_utf8_lossy(&all);
    assert!(all.contains("connection: close\r\n"), "{all}");
    assert!(!all.contains("transfer-encoding"), "{all}");
    assert!(all.ends_with("\r\n\r\ndata: one\n\n"), "{all}");
}

#[tokio::test]
async fn a_response_has_one_date_and_head_has_no_body() {
    let dated = Backend::responding(|_| {
        BackendResponse::bytes("text/plain", "12345")
            .header("date", "Sun, 06 Nov 1994 08:49:37 GMT")
    });
    let dated = dated.await;
    let proxy = Setup::open(&dated).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    let backend_response = raw.response().await;
    assert_eq!(
        backend_response.header("date"),
        Some("Sun, 06 Nov 1994 08:49:37 GMT")
    );
    raw.write("HEAD /a HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    let backend_response = raw.head_response().await;
    assert_eq!(backend_response.header("content-length"), Some("5"));
    // weir's own responses have a date as well; the next follows directly after the last head.
    raw.write("GET /%00 HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 400);
    assert!(
        backend_response
            .header("date")
            .is_some_and(|date| date.ends_with(" GMT"))
    );
}

#[tokio::test]
async fn waiting_for_a_body_is_not_counted_as_overhead() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("POST /late HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 5\r\n\r\n")
        .await;
    assert!(wait::still_waiting_after(Duration::from_millis(300), raw.try_response()).await);
    raw.write("hello").await;
    assert_eq!(raw.response().await.status, 200);
    let events = proxy.events_when(1).await;
    let timing = &events[0]["weir"]["timing"];
    let of = |name: &str| timing[name].as_f64().expect("a time");
    assert!(of("body_ms") >= 290.0, "{timing}");
    assert!(of("overhead_ms") < 200.0, "{timing}");
}

#[tokio::test]
async fn a_response_without_a_body_has_no_length() {
    let backend = Backend::responding(|_| {
        BackendResponse::status(204)
            .header("content-length", "5")
            .head_only()
    });
    let backend = backend.await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    for _ in 0..2 {
        raw.write("GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n")
            .await;
        let backend_response = raw.head_response().await;
        assert_eq!(
            (
                backend_response.status,
                backend_response.header("content-length")
            ),
            (204, None)
        );
    }
}
