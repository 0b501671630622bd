//! Many large bodies at once: memory is bounded, and requests in progress finish.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

const CLIENTS: usize = 200;
const BODY_BYTES: usize = 10 << 20;
const RESIDENT_BYTES_MAX: u64 = 600 << 20;

/// The progress of the clients.
#[derive(Default)]
struct Progress {
    /// Everything is sent but the last byte.
    held: AtomicUsize,
    refused: AtomicUsize,
}

/// Sends all but the last byte, waits for `go`, and sends the last byte; returns the response.
async fn client(
    stream: TcpStream,
    body: Arc<Vec<u8>>,
    progress: Arc<Progress>,
    mut go: watch::Receiver<bool>,
) -> String {
    let (mut read, mut write) = stream.into_split();
    let counted = progress.clone();
    let sending = tokio::spawn(async move {
        let head = format!(
            "POST /flood HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        );
        write.write_all(head.as_bytes()).await?;
        write.write_all(&body[..BODY_BYTES - 1]).await?;
        counted.held.fetch_add(1, Ordering::SeqCst);
        let _ = go.wait_for(|go| *go).await;
        write.write_all(&body[BODY_BYTES - 1..]).await?;
        // Kept open until the response arrives.
        std::future::pending::<std::io::Result<()>>().await
    });
    let mut backend_response = Vec::new();
    while !backend_response
        .windows(4)
        .any(|window| window == b"\r\n\r\n")
    {
        match read.read_buf(&mut backend_response).await {
            Ok(read) if read > 0 => {}
            _ => break,
        }
    }
    sending.abort();
    let backend_response = String::from_utf8_lossy(&backend_response).into_owned();
    if !backend_response.starts_with("HTTP/1.1 200") {
        progress.refused.fetch_add(1, Ordering::SeqCst);
    }
    backend_response
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_for_many_large_bodies_is_bounded() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend)
        .limit("buffered_bytes: 256MiB")
        .limit("body_timeout: 120s")
        .start()
        .await;
    let body = Arc::new(vec![b'x'; BODY_BYTES]);
    let progress = Arc::new(Progress::default());
    let (go, going) = watch::channel(false);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..CLIENTS {
        let stream = TcpStream::connect(proxy.address())
            .await
            .expect("connected");
        clients.spawn(client(
            stream,
            body.clone(),
            progress.clone(),
            going.clone(),
        ));
    }
    wait::eventually(
        "all clients waiting or rejected",
        wait::PATIENCE * 3,
        || {
            let refused = progress.refused.load(Ordering::SeqCst);
            // A client that was rejected while sending may count as waiting.
            refused + progress.held.load(Ordering::SeqCst) >= CLIENTS
        },
    )
    .await;
    let resident = proxy.process().resident_bytes_max();
    go.send(true).expect("clients that wait");
    let responses = wait::within("every answer", wait::PATIENCE * 3, clients.join_all()).await;

    let served = responses
        .iter()
        .filter(|head| head.starts_with("HTTP/1.1 200"));
    let refused: Vec<&String> = responses
        .iter()
        .filter(|head| head.starts_with("HTTP/1.1 503"))
        .collect();
    let served = served.count();
    assert!(served >= 20, "only {served} of those in work finished");
    assert!(refused.len() >= 100, "only {} were rejected", refused.len());
    for head in refused {
        assert!(head.to_lowercase().contains("retry-after:"), "{head}");
    }
    let resident = resident.max(proxy.process().resident_bytes_max());
    assert!(
        resident < RESIDENT_BYTES_MAX,
        "{} MiB of resident memory",
        resident >> 20
    );
    let event = proxy.event_with_code("over_capacity").await;
    assert_eq!(event["http"]["response"]["status_code"], 503);
    // All memory is released.
    let response = proxy
        .send(ClientRequest::post("/after", body.to_vec()))
        .await;
    assert_eq!(response.status, 200);
    assert_eq!(backend.requests().len(), served + 1);
}

/// A head is cheap to send: the announced length must not reserve memory.
#[tokio::test]
async fn announced_bodies_reserve_no_memory() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend)
        .limit("buffered_bytes: 2MiB")
        .start()
        .await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write("POST /h HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 10000000\r\n\r\nx")
            .await;
        silent.push(raw);
    }
    proxy
        .metrics_when("all of them to be read", |metrics| {
            metrics.sum("weir_requests_in_flight", &[]) >= 20.0
        })
        .await;
    let response = proxy.send(ClientRequest::post("/small", "hello")).await;
    assert_eq!(response.status, 200, "{}", response.text());
}
