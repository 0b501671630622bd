//! Shutdown, and a start that fails: complete responses, and meaningful exit codes.

use std::time::Duration;

use weir_tests::backend::{Backend, BackendResponse, PendingRequest};
use weir_tests::client::{Client, ClientRequest, StreamingResponse};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

mod streams;

/// A stream whose first token has arrived, and which neither side has ended.
async fn open_stream(
    proxy: &Proxy,
    backend: &Backend,
    word: &str,
) -> (Client, StreamingResponse, PendingRequest) {
    let mut client = Client::h1(proxy.address()).await;
    let (mut streaming, mut call) = backend
        .open_stream(&mut client, ClientRequest::chat_stream("hi"))
        .await;
    call.token(word).await;
    streaming.until(word).await;
    (client, streaming, call)
}

#[tokio::test]
async fn an_idle_proxy_exits_at_once() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    // Idle connections do not delay it: a new one, one after a response, and one of HTTP/2.
    let _fresh = Raw::connect(proxy.address()).await;
    let mut used = Client::h1(proxy.address()).await;
    assert_eq!(used.send(ClientRequest::get("/")).await.status, 200);
    let mut two = Client::h2(proxy.address()).await;
    assert_eq!(two.send(ClientRequest::get("/")).await.status, 200);
    // None has been used for a second: no request can be in transit.
    wait::sleep(Duration::from_millis(1100)).await;
    let started = weir::clock::now();
    proxy.sigterm();
    let exit = proxy.wait_exit(Duration::from_secs(10)).await;
    let lasted = started.elapsed();
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
    assert!(lasted < Duration::from_secs(1), "{lasted:?}");
    assert!(used.closed().await);
}

#[tokio::test]
async fn a_running_stream_finishes_at_shutdown() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let mut streams = Vec::new();
    for two in [false, true] {
        let mut client = if two {
            Client::h2(proxy.address()).await
        } else {
            Client::h1(proxy.address()).await
        };
        let (streaming, call) = client.begin_stream(&backend, "before").await;
        streams.push((client, streaming, call));
    }
    proxy.sigterm();
    let address = proxy.address();
    wait::eventually("new connections to be refused", wait::PATIENCE, || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    assert!(
        proxy.process().exit().is_none(),
        "exited with running streams"
    );
    let mut ids = Vec::new();
    for (_client, mut streaming, mut call) in streams {
        call.token("after").await;
        streaming.until("after").await;
        call.end_chat(2).await;
        ids.push(streaming.header("x-request-id").expect("an id").to_owned());
        let rest = streaming.rest().await.expect("a clean end");
        assert!(rest.ends_with(b"data: [DONE]\n\n"));
    }
    let exit = proxy.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
    for id in ids {
        let event = proxy.event(&id).await;
        assert!(event.get("error_code").is_none(), "{event}");
        assert_eq!(event["gen_ai"]["usage"]["output_tokens"], 2);
    }
}

#[tokio::test]
async fn keep_alive_clients_are_asked_to_close() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /last HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    let call = backend.next_request().await;
    proxy.sigterm();
    wait::within("draining", wait::PATIENCE, async {
        while proxy.admin_get("/readyz").await.status != 503 {
            wait::tick().await;
        }
    })
    .await;
    call.respond(BackendResponse::chat("the last")).await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 200);
    let connection = backend_response.header("connection").unwrap_or_default();
    assert!(connection.eq_ignore_ascii_case("close"), "{connection:?}");
    assert!(raw.closes_within(wait::PATIENCE).await);
    assert_eq!(proxy.wait_exit(wait::PATIENCE).await.code(), Some(0));
}

#[tokio::test]
async fn a_busy_connection_may_send_one_more_request() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let get = "GET /again HTTP/1.1\r\nHost: weir.test\r\n\r\n";
    let mut busy = Raw::connect(proxy.address()).await;
    let mut silent = Raw::connect(proxy.address()).await;
    for raw in [&mut busy, &mut silent] {
        raw.write(get).await;
        assert_eq!(raw.response().await.status, 200);
    }
    proxy.sigterm();
    let address = proxy.address();
    wait::eventually("new connections to be refused", wait::PATIENCE, || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    // This request arrives during shutdown.
    busy.write(get).await;
    let backend_response = busy.response().await;
    assert_eq!(backend_response.status, 200);
    assert_eq!(backend_response.header("connection"), Some("close"));
    assert!(busy.closes_within(wait::PATIENCE).await);
    // Silent clients are waited for, but not long.
    let exit = proxy.wait_exit(Duration::from_secs(8)).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
    assert!(
        !proxy.stderr().contains("are cut off"),
        "{}",
        proxy.stderr()
    );
    assert!(silent.closes_within(wait::PATIENCE).await);
}

#[tokio::test]
async fn clients_connected_before_shutdown_are_answered() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    // The proxy responds itself, so that no backend has to accept as many connections at once.
    let options = "OPTIONS * HTTP/1.1\r\nHost: weir.test\r\n\r\n";
    let mut late = Vec::new();
    // More than a task may accept without yielding.
    for _ in 0..300 {
        late.push(Raw::connect(proxy.address()).await);
    }
    proxy.sigterm();
    for raw in &mut late {
        raw.write(options).await;
    }
    for raw in &mut late {
        assert_eq!(raw.response().await.status, 204);
    }
    assert_eq!(proxy.wait_exit(wait::PATIENCE).await.code(), Some(0));
}

#[tokio::test]
async fn requests_that_outlast_the_drain_are_cut_and_recorded() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend)
        .top("shutdown: {drain: 1s}")
        .start()
        .await;
    let (_client, streaming, _call) = open_stream(&proxy, &backend, "first").await;
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    // Another has not even sent its head.
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /waits HTTP/1.1\r\nHost: weir.test\r\n\r\n")
        .await;
    let _waits = backend.next_request().await;
    let started = weir::clock::now();
    proxy.sigterm();
    let exit = proxy.wait_exit(Duration::from_secs(10)).await;
    let lasted = started.elapsed();
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(10)).contains(&lasted),
        "{lasted:?}"
    );
    streaming.rest().await.expect_err("a truncated body");
    proxy.event(&id).await;
    let events = proxy.events_when(2).await;
    assert!(events.iter().any(|event| event["url"]["path"] == "/waits"));
}

#[tokio::test]
async fn an_address_in_use_is_an_error_at_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its number").to_string();
    let backend = Backend::echo().await;
    for setup in [
        Setup::open(&backend).listen(&address),
        Setup::open(&backend).admin_address(&address),
    ] {
        let directory = tempfile::TempDir::new().expect("a directory");
        let process = setup.spawn(directory.path());
        let ended = process.finished(wait::PATIENCE).await;
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        assert!(ended.stderr.contains(&address), "{}", ended.stderr);
        assert!(!ended.stderr.contains("weir: ready"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_missing_certificate_is_an_error_at_start() {
    let backend = Backend::echo().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let authority = weir_tests::certs::Authority::new();
    let files = authority.issue(directory.path());
    std::fs::remove_file(&files.key).expect("removed");
    let process = Setup::open(&backend).tls(&files).spawn(directory.path());
    let ended = process.finished(wait::PATIENCE).await;
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("tls.key"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
}

/// A request cut off at the end of the drain is no success, and has its actual duration.
#[tokio::test]
async fn a_stream_cut_at_shutdown_is_recorded_as_cut() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend)
        .top("shutdown: {drain: 300ms}")
        .start()
        .await;
    let (_client, streaming, _call) = open_stream(&proxy, &backend, "before").await;
    proxy.sigterm();
    let exit = proxy.wait_exit(Duration::from_secs(20)).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
    assert!(
        streaming.rest().await.is_err(),
        "it ended as if it were complete"
    );
    let events = proxy.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0]["http"]["response"]["status_code"], 200);
    assert_eq!(events[0]["event"]["outcome"], "failure", "{}", events[0]);
    assert_eq!(events[0]["error_code"], "internal");
    let lasted_ms = events[0]["response_time"].as_f64().expect("a time");
    assert!(lasted_ms >= 200.0, "{lasted_ms}");
}
