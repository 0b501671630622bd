//! Memory of connections to a backend: while waiting for a response, and while idle.

use std::time::Duration;

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

const EXCHANGES: usize = 400;
const KIB: u64 = 1024;
const ASK: &str =
    "POST /v1/chat/completions HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\n{}";

/// Waits until at most this many bytes are resident.
async fn wait_for_memory(proxy: &Proxy, bound: u64) {
    let mut least = u64::MAX;
    let waiting = async {
        loop {
            least = least.min(proxy.process().resident_bytes());
            if least <= bound {
                return;
            }
            wait::tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(15), waiting).await;
    assert!(waited.is_ok(), "{least} bytes, {bound} are allowed");
}

#[tokio::test]
async fn a_waiting_connection_holds_no_buffer() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend)
        .backend_options(&["pool: {idle_connections: 1000}"])
        .start()
        .await;
    let rest = {
        // Warm up: what every code path allocates once is not part of the cost.
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(ASK).await;
        backend
            .next_request()
            .await
            .respond(BackendResponse::chat("hi"))
            .await;
        assert_eq!(raw.response().await.status, 200);
        proxy.process().resident_bytes()
    };
    let mut exchanges = Vec::new();
    for _ in 0..EXCHANGES {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(ASK).await;
        exchanges.push((raw, backend.next_request().await));
    }
    // Including the connection of the client.
    let resident = proxy.process().resident_bytes();
    let each = resident.saturating_sub(rest) / EXCHANGES as u64;
    assert!(each <= 16 * KIB, "waiting for a response: {each} bytes");

    for (mut raw, call) in exchanges {
        call.respond(BackendResponse::chat("hi")).await;
        assert_eq!(raw.response().await.status, 200);
    }
    // Including what the load leaves in the allocator.
    wait_for_memory(&proxy, rest + 12 * KIB * EXCHANGES as u64).await;
    // The connections are still open: each carries another request.
    let connections = backend.connections();
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(ASK).await;
    backend
        .next_request()
        .await
        .respond(BackendResponse::chat("hi"))
        .await;
    assert_eq!(raw.response().await.status, 200);
    assert_eq!(backend.connections(), connections);
}
