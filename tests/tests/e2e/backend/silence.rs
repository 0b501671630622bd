//! Backends that accept connections and stay silent, at each step of a connection: a request ends at its deadline, and
//! leaves no descriptor behind.

use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

const REQUESTS: usize = 60;

/// Reads everything and sends nothing; connections are closed by their clients.
async fn silent() -> Backend {
    Backend::raw(|mut stream| async move {
        let mut scratch = vec![0; 16 * 1024];
        while stream.read(&mut scratch).await.is_ok_and(|bytes| bytes > 0) {}
    })
    .await
}

/// Accepts connections and does not even read; they are never closed.
async fn frozen() -> Backend {
    Backend::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await
}

/// The open descriptors. weir duplicates its listening sockets when it begins to accept: once a request to each of them has
/// been answered, all are open.
async fn descriptors_at_rest(proxy: &Proxy) -> usize {
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(raw.response().await.status, 400);
    let _ = proxy.metrics().await;
    proxy.process().open_descriptors()
}

/// Sends requests that all end with this code, and waits until their connections are closed.
async fn expect_rejections(backend: &Backend, scheme: &str, status: u16, code: &str) {
    let port = backend.address().port();
    let endpoint = format!("{scheme}://127.0.0.1:{port}");
    let options = ["connect_timeout: 300ms", "first_byte_timeout: 600ms"];
    let proxy = Setup::without_backend()
        .backend("assistant", &[endpoint], &options)
        .routes(OPEN)
        .start()
        .await;
    let rest = descriptors_at_rest(&proxy).await;
    let requests = (0..REQUESTS).map(|_| proxy.send(ClientRequest::post("/a", "hello")));
    for response in join_all(requests).await {
        assert_eq!(
            (response.status, response.rejection().as_str()),
            (status, code)
        );
    }
    wait::eventually("the descriptors of rest", wait::PATIENCE, || {
        proxy.process().open_descriptors() <= rest
    })
    .await;
}

#[tokio::test]
async fn a_response_that_never_begins() {
    let backend = silent().await;
    expect_rejections(&backend, "http", 504, "upstream_timeout").await;
    wait::eventually("closed connections", wait::PATIENCE, || {
        backend.connections_open() == 0
    })
    .await;
    expect_rejections(&frozen().await, "http", 504, "upstream_timeout").await;
}

#[tokio::test]
async fn a_tls_handshake_that_never_ends() {
    let backend = silent().await;
    expect_rejections(&backend, "https", 502, "upstream_connect").await;
    wait::eventually("closed connections", wait::PATIENCE, || {
        backend.connections_open() == 0
    })
    .await;
    expect_rejections(&frozen().await, "https", 502, "upstream_connect").await;
}

#[tokio::test]
async fn http2_settings_that_never_arrive() {
    let backend = silent().await;
    expect_rejections(&backend, "h2c", 504, "upstream_timeout").await;
    wait::eventually("closed connections", wait::PATIENCE, || {
        backend.connections_open() == 0
    })
    .await;
    expect_rejections(&frozen().await, "h2c", 504, "upstream_timeout").await;
}

/// A window that is never updated, over HTTP/2; a full socket, over HTTP/1.1 and a backend that does not read.
#[tokio::test]
async fn a_body_that_is_not_accepted_ends_in_the_idle_timeout() {
    for (backend, scheme) in [
        (silent().await, "h2c"),
        (frozen().await, "h2c"),
        (frozen().await, "http"),
    ] {
        let endpoint = format!("{scheme}://{}", backend.address());
        let options = ["idle_timeout: 500ms", "first_byte_timeout: 60s"];
        let proxy = Setup::without_backend()
            .backend("assistant", &[endpoint], &options)
            .routes("- {name: all, path: /*, backend: assistant, body_bytes: 64MiB}")
            .start()
            .await;
        let rest = descriptors_at_rest(&proxy).await;
        let started = weir::clock::now();
        let mut client = Client::h1(proxy.address()).await;
        let response = client
            .send(ClientRequest::post("/a", vec![7; 32 * 1024 * 1024]))
            .await;
        assert_eq!(response.status, 504, "{}", response.text());
        assert_eq!(response.rejection(), "upstream_timeout");
        assert!(started.elapsed() < wait::PATIENCE);
        drop(client);
        wait::eventually("the descriptors of rest", wait::PATIENCE, || {
            proxy.process().open_descriptors() <= rest
        })
        .await;
    }
}
