//! Bodies that no stage reads are passed through, over both versions of HTTP, with the same limits, headers and events as
//! buffered ones.

use std::time::Duration;

use tempfile::TempDir;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::process::Process;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::sha256_hex;
use weir_tests::wait;

mod timeouts;

/// More than is buffered if no stage reads it.
const LARGE_BYTES: usize = 300_000;

#[tokio::test]
async fn a_large_upload_arrives_complete_and_is_recorded() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let body = vec![7; LARGE_BYTES];
    for mut client in [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ] {
        for request in [
            ClientRequest::post("/up?x=1", body.clone()),
            ClientRequest::chunked("/up?x=1", &body, 30_011),
        ] {
            let client_response = client.send(request.header("x-weir-client", "forged")).await;
            assert_eq!(client_response.status, 200, "{}", client_response.text());
            let received = backend.requests().pop().expect("a request");
            assert_eq!(received.body_sha256, sha256_hex(&body));
            assert_eq!(received.target, "/up?x=1");
            assert_eq!(received.header("x-weir-client"), None);
            let id = client_response.header("x-request-id").expect("an id");
            assert_eq!(received.header("x-request-id"), Some(id));
            let event = proxy.event_of(&client_response).await;
            assert_eq!(event["http"]["response"]["status_code"], 200);
            assert_eq!(event["http"]["request"]["body"]["bytes"], LARGE_BYTES);
            assert_eq!(event["backend"], "assistant");
        }
    }
    backend.assert_faultless();
}

#[tokio::test]
async fn an_oversized_body_is_rejected_when_passed_through() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .limit("body_bytes: 200KiB")
        .start()
        .await;
    let body = vec![7; LARGE_BYTES];
    // Announced: before a byte is forwarded.
    let client_response = proxy
        .send(ClientRequest::post("/announced", body.clone()))
        .await;
    assert_eq!(client_response.status, 413, "{}", client_response.text());
    assert_eq!(client_response.rejection(), "body_too_large");
    backend.assert_untouched();
    // Not announced: when it exceeds the limit.
    let client_response = proxy
        .send(ClientRequest::chunked("/chunked", &body, 30_011))
        .await;
    assert_eq!(client_response.status, 413, "{}", client_response.text());
    let event = proxy.event_of(&client_response).await;
    assert_eq!(event["error_code"], "body_too_large");
    assert!(backend.requests().iter().all(|received| !received.whole));
}

#[tokio::test]
async fn a_100_continue_is_not_the_response() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(format!(
        "POST /up HTTP/1.1\r\nHost: weir.test\r\nExpect: 100-continue\r\n\
         Content-Length: {LARGE_BYTES}\r\n\r\n"
    ))
    .await;
    let reported = raw.read_until(b"\r\n\r\n", wait::PATIENCE).await;
    assert!(reported.starts_with(b"HTTP/1.1 100 "), "{reported:?}");
    raw.write(vec![b'x'; LARGE_BYTES]).await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 200, "{}", backend_response.text());
    let events = proxy.events_when(1).await;
    assert_eq!(events[0]["http"]["response"]["status_code"], 200);
}

#[tokio::test]
async fn an_unreachable_backend_is_reported() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    backend.stop();
    for mut client in [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ] {
        let client_response = client
            .send(ClientRequest::post("/up", vec![7; LARGE_BYTES]))
            .await;
        assert_eq!(client_response.status, 502, "{}", client_response.text());
        let event = proxy.event_of(&client_response).await;
        let code = event["error_code"].as_str().expect("a code");
        assert!(
            ["upstream_connect", "upstream_reset"].contains(&code),
            "{code}"
        );
    }
}

/// gRPC needs a backend with cleartext HTTP/2: the demo assistant.
#[tokio::test]
async fn grpc_uses_http2_on_both_sides() {
    let directory = TempDir::new().expect("a directory");
    let arguments = ["assistant", "--address", "127.0.0.1:0", "--latency", "1ms"];
    let assistant = Process::start(directory.path(), &arguments, &[], b"");
    let address = wait::found("the assistant's address", wait::PATIENCE, || {
        let output = assistant.stderr();
        let line = output
            .lines()
            .find_map(|line| line.split_once("assistant on "))?;
        Some(line.1.to_owned())
    })
    .await;
    let proxy = Setup::without_backend()
        .backend("assistant", &[format!("http://{address}")], &[])
        .routes("- {name: all, path: /*, backend: assistant}")
        .start()
        .await;
    let mut client = Client::h2(proxy.address()).await;
    let request = ClientRequest::post("/pkg.Service/Call", "\0\0\0\0\u{2}hi")
        .header("content-type", "application/grpc")
        .header("te", "trailers");
    let client_response = client.send(request).await;
    assert_eq!(client_response.status, 200, "{}", client_response.text());
    assert_eq!(client_response.json()["bytes"], 7);
    let event = proxy.event_of(&client_response).await;
    assert_eq!(event["http"]["version"], "2");
    assistant.sigterm();
    assistant.wait_exit(wait::PATIENCE).await;
}

#[tokio::test]
async fn a_malformed_chunk_is_a_client_error() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(
        "POST /up HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n",
    )
    .await;
    // The first chunk is forwarded before the second is written.
    let call = wait::still_waiting_after(Duration::from_millis(100), raw.try_response());
    assert!(call.await);
    raw.write("zz\r\nhello\r\n0\r\n\r\n").await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 400, "{}", backend_response.text());
    let events = proxy.events_when(1).await;
    assert_eq!(events[0]["error_code"], "bad_request");
    assert_eq!(events[0]["url"]["path"], "/up");
}

#[tokio::test]
async fn bytes_before_an_upgrade_are_no_backend_error() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(
        "GET /ws HTTP/1.1\r\nHost: weir.test\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    )
    .await;
    let _call = backend.next_request().await;
    raw.write("more").await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 400, "{}", backend_response.text());
    let events = proxy.events_when(1).await;
    assert_eq!(events[0]["error_code"], "bad_request");
}

#[tokio::test]
async fn a_rejected_head_is_recorded_with_method_and_path() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for rest in [
        "Host: weir.test\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "Host: weir.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n",
    ] {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(format!("POST /up?x=1 HTTP/1.1\r\n{rest}")).await;
        let backend_response = raw.response().await;
        assert_eq!(backend_response.status, 400, "{}", backend_response.text());
        let id = backend_response.header("x-request-id").expect("an id");
        let event = proxy.event(id).await;
        assert_eq!(event["http"]["request"]["method"], "POST");
        assert_eq!(event["url"]["path"], "/up");
    }
    backend.assert_untouched();
}
