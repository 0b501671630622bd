//! Memory of connections, and that it is released.

use std::time::Duration;

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::certs::Authority;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

const CONNECTIONS: usize = 1500;
const KIB: u64 = 1024;

/// Waits until this many connections are counted, and returns the resident memory.
async fn resident_bytes_with(proxy: &Proxy, connections: usize) -> u64 {
    proxy
        .metrics_when("the connections to be counted", |metrics| {
            metrics.sum("weir_connections", &[]) == connections as f64
        })
        .await;
    proxy.process().resident_bytes()
}

/// Waits until the memory is within a fifth of `rest`, as guaranteed ten seconds after a load.
async fn wait_until_released(proxy: &Proxy, rest: u64) {
    resident_bytes_with(proxy, 0).await;
    let mut least = u64::MAX;
    let waiting = async {
        loop {
            least = least.min(proxy.process().resident_bytes());
            if least <= rest + rest / 5 {
                return;
            }
            wait::tick().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(15), waiting).await;
    assert!(
        waited.is_ok(),
        "at rest {rest} bytes, after the load {least}"
    );
}

#[tokio::test]
async fn an_idle_connection_uses_little_memory_and_releases_it() {
    let backend = Backend::responding(|_| BackendResponse::bytes("text/plain", "x")).await;
    let authority = Authority::new();
    let files = tempfile::TempDir::new().expect("a directory");
    let proxy = Setup::open(&backend)
        .tls(&authority.issue(files.path()))
        .start()
        .await;
    // Warm up: what every code path allocates once is not part of the cost.
    let mut client = Client::tls(proxy.tls_address(), &authority, &["http/1.1"]).await;
    assert_eq!(client.send(ClientRequest::get("/")).await.status, 200);
    drop(client);
    assert_eq!(proxy.send(ClientRequest::get("/")).await.status, 200);
    let rest = resident_bytes_with(&proxy, 0).await;

    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS {
        silent.push(Raw::connect(proxy.address()).await);
    }
    let resident = resident_bytes_with(&proxy, CONNECTIONS).await;
    let each = resident.saturating_sub(rest) / CONNECTIONS as u64;
    assert!(each <= 8 * KIB, "plain: {each} bytes");
    drop(silent);
    wait_until_released(&proxy, rest).await;

    // After a request.
    let before = proxy.process().resident_bytes();
    let mut used = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write("GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n")
            .await;
        assert_eq!(raw.response().await.status, 200);
        used.push(raw);
    }
    let resident = resident_bytes_with(&proxy, CONNECTIONS).await;
    let each = resident.saturating_sub(before) / CONNECTIONS as u64;
    assert!(each <= 8 * KIB, "used: {each} bytes");
    drop(used);
    wait_until_released(&proxy, rest).await;

    let before = proxy.process().resident_bytes();
    let mut tls = Vec::new();
    for _ in 0..CONNECTIONS / 3 {
        tls.push(Client::tls(proxy.tls_address(), &authority, &["http/1.1"]).await);
    }
    let resident = resident_bytes_with(&proxy, CONNECTIONS / 3).await;
    let each = resident.saturating_sub(before) / (CONNECTIONS as u64 / 3);
    // The futures of a debug build are larger than those of a release build.
    assert!(each <= 10 * KIB, "TLS: {each} bytes");
    drop(tls);
    wait_until_released(&proxy, rest).await;
}

#[tokio::test]
async fn an_open_stream_uses_little_memory_and_releases_it() {
    const STREAMS: usize = 400;
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let request =
        "POST /v1/chat/completions HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\n{}";
    let mut streams = Vec::new();
    let mut rest = 0;
    for number in 0..=STREAMS {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(request).await;
        let mut call = backend.next_request().await;
        call.send_event_stream_head().await;
        call.token("one").await;
        raw.read_until(b"one", wait::PATIENCE).await;
        if number == 0 {
            // Warm up every code path.
            rest = proxy.process().resident_bytes();
        }
        streams.push((raw, call));
    }
    let resident = resident_bytes_with(&proxy, STREAMS + 1).await;
    let each = resident.saturating_sub(rest) / STREAMS as u64;
    assert!(each <= 20 * KIB, "{each} bytes");
    drop(streams);
    wait_until_released(&proxy, rest).await;
}

#[tokio::test]
async fn rejected_connections_use_bounded_memory() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("connections: 100")
        .start()
        .await;
    let mut clients = Vec::new();
    for _ in 0..1000 {
        clients.push(Raw::connect(proxy.address()).await);
    }
    let metrics = proxy
        .metrics_when("the others to be rejected", |metrics| {
            let refused =
                |outcome| metrics.sum("weir_connections_refused_total", &[("outcome", outcome)]);
            refused("answered") + refused("closed") >= 900.0
        })
        .await;
    assert_eq!(metrics.sum("weir_connections", &[]), 100.0);
    // A few may get a response; the rest are closed at once.
    let open = metrics.sum("process_open_fds", &[]);
    assert!(open < 100.0 + 64.0 + 60.0, "{open}");
}
