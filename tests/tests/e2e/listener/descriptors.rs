//! Few file descriptors: the admin address stays reachable, and accepted clients are served.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;

const OPEN_FILES: u32 = 128;
const GET: &str = "GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n";

#[tokio::test]
async fn clients_cannot_exhaust_the_descriptors_of_admin() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).open_files(OPEN_FILES).start().await;
    let output = proxy.stderr();
    assert!(
        output.contains("of limits.connections (10000) can be open at once")
            && output.contains("may open 128 files"),
        "{output}"
    );
    // More than the process may open: some are accepted, the others wait in the kernel's queue.
    let mut clients = Vec::new();
    for _ in 0..2 * OPEN_FILES {
        clients.push(Raw::connect(proxy.address()).await);
    }
    let full = proxy
        .metrics_when("connections", |metrics| {
            metrics.sum("weir_connections", &[]) >= 10.0
        })
        .await;
    let taken = full.sum("weir_connections", &[]) as usize;
    assert!(taken < OPEN_FILES as usize, "{taken}");
    for _ in 0..20 {
        assert_eq!(proxy.admin_get("/healthz").await.status, 200);
        assert_eq!(proxy.admin_get("/metrics").await.status, 200);
    }
    // Each accepted client has a descriptor for the backend.
    for client in &mut clients {
        client.write(GET).await;
    }
    for client in clients.iter_mut().take(taken) {
        assert_eq!(client.response().await.status, 200);
    }
    // Released slots go to waiting clients, and none was rejected.
    for mut client in clients.split_off(taken) {
        clients.remove(0);
        assert_eq!(client.response().await.status, 200);
        clients.push(client);
    }
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.sum("weir_errors_total", &[("error_code", "upstream_connect")]),
        0.0
    );
    assert!(
        proxy
            .stderr()
            .contains("no further connection is accepted until one is closed")
    );
}

#[tokio::test]
async fn requests_cannot_exhaust_the_descriptors_of_admin() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).open_files(OPEN_FILES).start().await;
    let mut clients = Vec::new();
    for _ in 0..2 * OPEN_FILES {
        let mut client = Raw::connect(proxy.address()).await;
        client.write(GET).await;
        clients.push(client);
    }
    // As many as are accepted wait for the backend.
    let mut calls = Vec::new();
    for _ in 0..10 {
        calls.push(backend.next_request().await);
    }
    for _ in 0..20 {
        assert_eq!(proxy.admin_get("/healthz").await.status, 200);
        assert_eq!(proxy.admin_get("/metrics").await.status, 200);
    }
    drop(clients);
    drop(calls);
    proxy
        .metrics_when("every connection to be closed", |metrics| {
            metrics.sum("weir_connections", &[]) == 0.0
        })
        .await;
}

#[tokio::test]
async fn streams_cannot_exhaust_the_descriptors_of_admin() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).open_files(OPEN_FILES).start().await;
    // One client connection, and a hundred to the backend.
    let mut senders = Vec::new();
    for _ in 0..2 {
        let stream = Raw::connect(proxy.address()).await.into_stream();
        let hello = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (sender, driver) = hello.expect("a connection");
        tokio::spawn(driver);
        senders.push(sender);
    }
    for sender in &senders {
        for _ in 0..100 {
            let mut sender = sender.clone();
            tokio::spawn(async move {
                let request = http::Request::get("http://weir.test/").body(Empty::<Bytes>::new());
                let _ = sender.send_request(request.expect("a request")).await;
            });
        }
    }
    let mut calls = Vec::new();
    for _ in 0..50 {
        calls.push(backend.next_request().await);
    }
    for _ in 0..20 {
        assert_eq!(proxy.admin_get("/healthz").await.status, 200);
        assert_eq!(proxy.admin_get("/metrics").await.status, 200);
    }
}

#[tokio::test]
async fn the_soft_limit_is_raised_to_the_hard_one() {
    let backend = Backend::echo().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let file = directory.path().join("weir.yaml");
    std::fs::write(&file, Setup::open(&backend).yaml(directory.path())).expect("written");
    let weir = weir_tests::process::weir();
    let script = "ulimit -S -n 100 && exec \"$@\"";
    let paths = [&weir, &file].map(|path| path.to_str().expect("UTF-8").to_owned());
    let process = weir_tests::process::Process::program(
        std::path::Path::new("/bin/sh"),
        directory.path(),
        &["-c", script, "sh", &paths[0], "run", "--config", &paths[1]],
    );
    let proxy = weir_tests::proxy::Proxy::ready(process, directory).await;
    let metrics = proxy.metrics().await;
    let limit = metrics.sum("process_max_fds", &[]);
    assert!(limit > 100.0, "{limit}");
    assert_eq!(proxy.send(ClientRequest::get("/")).await.status, 200);
}
