//! Limits of a connection, and of all connections.

use std::time::Duration;

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

/// A head of exactly this many bytes.
fn head_of(bytes: usize) -> String {
    let start = "GET /big HTTP/1.1\r\nHost: weir.test\r\nX-Filler: ";
    let filler = "f".repeat(bytes - start.len() - 4);
    format!("{start}{filler}\r\n\r\n")
}

/// Long enough for a busy machine, and shorter than the default timeouts.
const LATE: Duration = Duration::from_secs(8);

#[tokio::test]
async fn a_head_below_the_limit_passes_and_above_is_rejected() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("header_bytes: 4KiB")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(head_of(4096 - 16)).await;
    assert_eq!(raw.response().await.status, 200);

    for bytes in [4096 + 16, 20_000, 400_000] {
        let mut raw = Raw::connect(proxy.address()).await;
        // The proxy may have rejected it before all of it was sent.
        let _ = raw.try_write(head_of(bytes)).await;
        let backend_response = raw.response().await;
        assert_eq!(
            backend_response.status,
            431,
            "{bytes} bytes: {}",
            backend_response.text()
        );
        assert!(backend_response.text().contains("header_too_large"));
        let id = backend_response
            .header("x-request-id")
            .expect("an id")
            .to_owned();
        let event = proxy.event(&id).await;
        assert_eq!(event["error_code"], "header_too_large");
        assert!(raw.closes_within(wait::PATIENCE).await);
    }
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn many_small_header_lines_do_not_bypass_the_limit() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut bomb = "GET /bomb HTTP/1.1\r\nHost: weir.test\r\n".to_owned();
    for number in 0..20_000 {
        bomb.push_str(&format!("X-{number}: y\r\n"));
    }
    bomb.push_str("\r\n");
    let mut raw = Raw::connect(proxy.address()).await;
    let _ = raw.try_write(bomb).await;
    assert_eq!(raw.response().await.status, 431);
    backend.assert_untouched();
}

#[tokio::test]
async fn the_head_limit_applies_over_http2() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("header_bytes: 4KiB")
        .start()
        .await;
    let mut client = Client::h2(proxy.address()).await;
    let under = ClientRequest::get("/under").header("x-filler", &"f".repeat(3000));
    assert_eq!(client.send(under).await.status, 200);
    let over = ClientRequest::get("/over").header("x-filler", &"f".repeat(12_000));
    // A rejection, or a reset of the stream: both are fine.
    if let Ok(streaming) = client.try_open(over).await {
        assert_eq!(streaming.status, 431);
    }
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn a_slow_head_is_cut_off_at_its_total_timeout() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("header_timeout: 1s")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /slow HTTP/1.1\r\nHost: weir.test\r\n").await;
    let started = weir::clock::now();
    let output = raw
        .drip("X-Drop: y\r\n", Duration::from_millis(200), wait::PATIENCE)
        .await;
    let lasted = started.elapsed();
    assert!(
        (Duration::from_millis(700)..LATE).contains(&lasted),
        "cut off after {lasted:?}"
    );
    let output = String::from_utf8_lossy(&output);
    assert!(output.starts_with("HTTP/1.1 408"), "{output:?}");
    let event = proxy.event_with_code("header_timeout").await;
    assert_eq!(event["http"]["response"]["status_code"], 408);
    backend.assert_untouched();
}

#[tokio::test]
async fn a_slow_second_head_is_cut_off() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("header_timeout: 1s")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /first HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    assert_eq!(raw.response().await.status, 200);
    raw.write("GET /second HTTP/1.1\r\n").await;
    let started = weir::clock::now();
    raw.drip("X-Drop: y\r\n", Duration::from_millis(200), wait::PATIENCE)
        .await;
    assert!(started.elapsed() < LATE);
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("header_timeout: 1s")
        .limit("idle_timeout: 1s")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    assert!(raw.closes_within(LATE).await);
    // Nor one that has received its response.
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    assert_eq!(raw.response().await.status, 200);
    assert!(raw.closes_within(LATE).await);
    // A connection without a request is not a request.
    proxy.events_when(1).await;
}

#[tokio::test]
async fn connections_over_the_limit_get_503() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).limit("connections: 2").start().await;
    let mut first = Client::h1(proxy.address()).await;
    let mut second = Client::h1(proxy.address()).await;
    assert_eq!(first.send(ClientRequest::get("/1")).await.status, 200);
    assert_eq!(second.send(ClientRequest::get("/2")).await.status, 200);

    let mut third = Raw::connect(proxy.address()).await;
    let _ = third
        .try_write("GET /3 HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    let backend_response = third.response().await;
    assert_eq!(backend_response.status, 503, "{}", backend_response.text());
    assert!(backend_response.text().contains("too_many_connections"));
    proxy.event_with_code("too_many_connections").await;
    assert_eq!(first.send(ClientRequest::get("/4")).await.status, 200);

    // A released slot can be used again.
    drop(second);
    wait::within("a free place", wait::PATIENCE, async {
        loop {
            let mut raw = Raw::connect(proxy.address()).await;
            let _ = raw
                .try_write("GET /5 HTTP/1.1\r\nHost: weir.test\r\n\r\n")
                .await;
            if raw.response().await.status == 200 {
                return;
            }
            wait::tick().await;
        }
    })
    .await;
    assert!(
        backend
            .requests()
            .iter()
            .all(|received| received.target != "/3")
    );
}
