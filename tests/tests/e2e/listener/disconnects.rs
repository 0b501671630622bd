//! Clients that disconnect, or send no request.

use std::time::Duration;

use weir_tests::backend::Backend;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

#[tokio::test]
async fn empty_lines_do_not_keep_a_connection_open() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("header_timeout: 1s")
        .limit("idle_timeout: 2s")
        .start()
        .await;
    for line in ["\r\n", "\r"] {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.drip(line, Duration::from_millis(400), Duration::from_secs(5))
            .await;
        // The same after a response.
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write("GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n")
            .await;
        assert_eq!(raw.response().await.status, 200);
        raw.drip(line, Duration::from_millis(400), Duration::from_secs(5))
            .await;
    }
    // An extra empty line after a body is tolerated.
    let mut raw = Raw::connect(proxy.address()).await;
    let post = "POST /a HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 1\r\n\r\nx\r\n";
    for _ in 0..3 {
        raw.write(post).await;
        assert_eq!(raw.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_disconnect_after_pipelined_data_is_detected() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    for (ahead, reset) in [
        (0, false),
        (70 << 10, false),
        (70 << 10, true),
        (4 << 20, false),
    ] {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write("GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n")
            .await;
        let mut call = backend.next_request().await;
        let (read, mut write) = raw.into_stream().into_split();
        let next = vec![b'x'; ahead];
        let sending = tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut write, &next).await;
            write
        });
        // As much as is accepted.
        let _ = wait::still_waiting_after(Duration::from_millis(200), async {
            while !sending.is_finished() {
                wait::tick().await;
            }
        })
        .await;
        if reset {
            let write = sending.await.expect("sent");
            let stream = read.reunite(write).expect("one connection");
            stream.set_zero_linger().expect("SO_LINGER");
        } else {
            sending.abort();
            let _ = sending.await;
            drop(read);
        }
        let left = weir::clock::now();
        wait::within("the backend to be let go", wait::PATIENCE, call.closed()).await;
        let lasted = left.elapsed();
        // weir guarantees a second; the rest is for a busy machine.
        assert!(
            lasted < Duration::from_secs(3),
            "{ahead} ahead, reset {reset}: {lasted:?}"
        );
    }
}

#[tokio::test]
async fn many_pipelined_requests_are_all_answered() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    let one = format!(
        "GET /a HTTP/1.1\r\nHost: weir.test\r\nx: {}\r\n\r\n",
        "x".repeat(900)
    );
    raw.write(one.repeat(100)).await;
    for _ in 0..100 {
        assert_eq!(raw.response().await.status, 200);
    }
}

#[tokio::test]
async fn tls_handshakes_have_the_header_timeout_and_are_counted() {
    let backend = Backend::echo().await;
    let authority = weir_tests::certs::Authority::new();
    let files = tempfile::TempDir::new().expect("a directory");
    let proxy = Setup::open(&backend)
        .tls(&authority.issue(files.path()))
        .limit("header_timeout: 2s")
        .start()
        .await;
    let mut silent = Raw::connect(proxy.tls_address()).await;
    let mut started_at = Raw::connect(proxy.tls_address()).await;
    started_at.write(b"\x16\x03\x01").await;
    proxy
        .metrics_when("both to be counted", |metrics| {
            metrics.sum("weir_connections", &[]) == 2.0
        })
        .await;
    assert!(silent.closes_within(Duration::from_secs(5)).await);
    assert!(started_at.closes_within(Duration::from_secs(5)).await);
}
