//! Timeouts of requests whose body is passed through.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

/// A proxy whose backend has these timeouts.
async fn proxy_with_timeouts(backend: &Backend, options: &[&str]) -> Proxy {
    Setup::new(backend)
        .backend_options(options)
        .routes(OPEN)
        .start()
        .await
}

async fn clients(proxy: &Proxy) -> [Client; 2] {
    [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ]
}

async fn assert_released(backend: &Backend) {
    wait::eventually("the backend's connection to end", wait::PATIENCE, || {
        backend.connections_open() == 0
    })
    .await;
}

#[tokio::test]
async fn first_byte_timeout_of_a_passed_through_request() {
    let backend = Backend::manual().await;
    let proxy = proxy_with_timeouts(&backend, &["first_byte_timeout: 300ms"]).await;
    for mut client in clients(&proxy).await {
        let client_response = client
            .send(ClientRequest::chunked("/up", b"hello", 2))
            .await;
        assert_eq!(client_response.status, 504, "{}", client_response.text());
        assert_eq!(client_response.rejection(), "upstream_timeout");
        drop(backend.next_request().await);
        assert_released(&backend).await;
    }
}

#[tokio::test]
async fn the_first_byte_timeout_starts_after_the_body() {
    let backend = Backend::echo().await;
    let proxy = proxy_with_timeouts(
        &backend,
        &["first_byte_timeout: 300ms", "total_timeout: 600ms"],
    )
    .await;
    for mut client in clients(&proxy).await {
        let (request, chunks) = ClientRequest::streamed("/up");
        let sending = tokio::spawn(async move {
            for _ in 0..20 {
                chunks.send("piece".into()).await.expect("taken");
                // Slower in total than the backend timeout.
                let pause = std::future::pending::<()>();
                assert!(wait::still_waiting_after(Duration::from_millis(50), pause).await);
            }
        });
        let client_response = client.send(request).await;
        assert_eq!(client_response.status, 200, "{}", client_response.text());
        sending.await.expect("sent");
        let event = proxy.event_of(&client_response).await;
        assert_eq!(event["http"]["request"]["body"]["bytes"], 100);
    }
}

#[tokio::test]
async fn timeouts_of_a_stalled_or_endless_response() {
    for (options, silent) in [
        (["idle_timeout: 300ms", "total_timeout: 60s"], true),
        (["idle_timeout: 10s", "total_timeout: 700ms"], false),
    ] {
        let backend = Backend::manual().await;
        let proxy = proxy_with_timeouts(&backend, &options).await;
        for mut client in clients(&proxy).await {
            let responding = async {
                let mut call = backend.next_request().await;
                call.send_event_stream_head().await;
                call.event("first").await;
                let pause = Duration::from_millis(50);
                while silent || call.try_chunk("data: more\n\n").await.is_ok() {
                    let closed = call.closed();
                    if !wait::still_waiting_after(pause, closed).await {
                        break;
                    }
                }
            };
            let asking = async {
                let streaming = client
                    .open(ClientRequest::chunked("/up", b"hello", 2))
                    .await;
                let id = streaming.header("x-request-id").expect("an id").to_owned();
                assert!(
                    streaming.rest().await.is_err(),
                    "{options:?}: it ended as if it were complete"
                );
                id
            };
            let (id, ()) = tokio::join!(asking, responding);
            let event = proxy.event(&id).await;
            assert_eq!(event["error_code"], "upstream_timeout", "{options:?}");
        }
    }
}

/// A backend that responds before the whole body was sent needs no more of it.
#[tokio::test]
async fn timeout_of_an_endless_early_response() {
    let backend = Backend::raw(|mut stream| async move {
        let mut room = vec![0; 4096];
        if stream.read(&mut room).await.is_err() {
            return;
        }
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let pause = Duration::from_millis(50);
        while stream.write_all(b"3\r\n:\n\n\r\n").await.is_ok() {
            let read = async {
                while stream.read(&mut room).await.is_ok_and(|read| read > 0) {}
            };
            if !wait::still_waiting_after(pause, read).await {
                break;
            }
        }
    })
    .await;
    let proxy = proxy_with_timeouts(&backend, &["idle_timeout: 10s", "total_timeout: 700ms"]).await;
    for mut client in clients(&proxy).await {
        let (request, chunks) = ClientRequest::streamed("/up");
        chunks.send("hello".into()).await.expect("taken");
        let streaming = client.open(request).await;
        let id = streaming.header("x-request-id").expect("an id").to_owned();
        let sending = async {
            let pause = || std::future::pending::<()>();
            while chunks.send("more".into()).await.is_ok() {
                assert!(wait::still_waiting_after(Duration::from_millis(50), pause()).await);
            }
        };
        let rest = async {
            let rest =
                wait::within("the end of the response", wait::PATIENCE, streaming.rest()).await;
            rest.expect_err("a truncated response");
        };
        tokio::select! {
            () = rest => {}
            () = sending => panic!("the body was rejected"),
        }
        let event = proxy.event(&id).await;
        assert_eq!(event["error_code"], "upstream_timeout");
    }
}

#[tokio::test]
async fn timeout_of_a_stalled_request_body() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("body_timeout: 300ms")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(
        "POST /up HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    )
    .await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 408, "{}", backend_response.text());
    let (request, chunks) = ClientRequest::streamed("/up");
    let mut client = Client::h2(proxy.address()).await;
    chunks.send("hello".into()).await.expect("taken");
    let client_response = client.send(request).await;
    assert_eq!(client_response.status, 408, "{}", client_response.text());
    assert_eq!(client_response.rejection(), "body_timeout");
    drop(chunks);
    assert_released(&backend).await;
    assert!(backend.requests().iter().all(|received| !received.whole));
}

#[tokio::test]
async fn timeout_of_a_backend_that_does_not_read() {
    let backend = Backend::raw(|stream| async move {
        // Accepted, and never read from.
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let proxy = Setup::new(&backend)
        .limit("body_bytes: 128MiB")
        .backend_options(&["idle_timeout: 300ms", "first_byte_timeout: 60s"])
        .routes(OPEN)
        .start()
        .await;
    for mut client in clients(&proxy).await {
        let client_response = client
            .send(ClientRequest::post("/up", vec![7; 64 << 20]))
            .await;
        assert_eq!(client_response.status, 504, "{}", client_response.text());
        assert_eq!(client_response.rejection(), "upstream_timeout");
    }
}

#[tokio::test]
async fn a_client_disconnect_within_its_body() {
    let backend = Backend::manual().await;
    let proxy = proxy_with_timeouts(&backend, &[]).await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("POST /up HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 100000\r\n\r\nhello")
        .await;
    wait::eventually("a request at the backend", wait::PATIENCE, || {
        backend.connections_open() == 1
    })
    .await;
    raw.reset();
    assert_released(&backend).await;
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(event["http"]["response"]["status_code"], 499);
}

/// An upgraded connection is ended only by its own timeout, when both sides are silent.
#[tokio::test]
async fn an_upgraded_connection_lives_while_it_is_used() {
    let backend = Backend::manual().await;
    let proxy = Setup::new(&backend)
        .limit("upgrade_idle_timeout: 1s")
        .backend_options(&["idle_timeout: 100ms", "total_timeout: 300ms"])
        .routes(OPEN)
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(
        "GET /up HTTP/1.1\r\nHost: weir.test\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n",
    )
    .await;
    let mut call = backend.next_request().await;
    assert_eq!(call.request().header("upgrade"), Some("lines"));
    call.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\nhi\r\n\r\n")
        .await;
    let head = raw.read_until(b"\r\n\r\n", wait::PATIENCE).await;
    let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 101 "), "{head}");
    assert!(head.contains("connection: upgrade\r\n") && head.contains("upgrade: lines\r\n"));
    assert_eq!(
        raw.read_until(b"\r\n\r\n", wait::PATIENCE).await,
        b"hi\r\n\r\n"
    );
    for _ in 0..8 {
        assert!(wait::still_waiting_after(Duration::from_millis(100), call.closed()).await);
        raw.write("ping").await;
    }
    wait::within("the end of a silent upgrade", wait::PATIENCE, call.closed()).await;
    let event = proxy
        .event_where("the upgrade", |event| event["url"]["path"] == "/up")
        .await;
    assert_eq!(event["http"]["response"]["status_code"], 101);
    assert_eq!(event["http"]["request"]["body"]["bytes"], 32);
}
