//! Backends that fail in different ways; a truncated response never looks complete to the client.

use std::sync::Arc;

use serde_json::json;
use tokio::io::AsyncReadExt as _;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::certs::Authority;
use weir_tests::client::{Client, ClientRequest, ClientResponse};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

async fn assert_rejected(proxy: &Proxy, response: &ClientResponse, status: u16, code: &str) {
    assert_eq!(response.status, status, "{}", response.text());
    assert_eq!(response.rejection(), code);
    let event = proxy.event_of(response).await;
    assert_eq!(event["error_code"], code);
    assert_eq!(event["event"]["outcome"], "failure");
    assert_eq!(event["backend"], "assistant");
    let labels = [("route", "all"), ("error_code", code)];
    assert_metric(proxy.admin(), "weir_errors_total", &labels, 1.0).await;
    let labels = [("route", "all")];
    assert_metric(proxy.admin(), "weir_failed_requests_total", &labels, 1.0).await;
}

#[tokio::test]
async fn connection_refused() {
    let backend = Backend::echo().await;
    backend.stop();
    let address = backend.address();
    wait::eventually("a refusal", wait::PATIENCE, || {
        std::net::TcpStream::connect(address).is_err()
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    assert_rejected(&proxy, &response, 502, "upstream_connect").await;
}

#[tokio::test]
async fn an_untrusted_certificate() {
    let authority = Authority::new();
    let (leaf, key) = authority.leaf();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("TLS versions")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
        )
        .expect("a server certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let (reported, mut leaks) = tokio::sync::mpsc::channel(8);
    let backend = Backend::raw(move |stream| {
        let (acceptor, reported) = (acceptor.clone(), reported.clone());
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                let mut bytes = [0; 16];
                if stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                    let _ = reported.send(()).await;
                }
            }
        }
    })
    .await;
    let endpoint = format!("https://localhost:{}", backend.address().port());
    let proxy = Setup::without_backend()
        .backend("assistant", &[endpoint], &[])
        .routes(OPEN)
        .start()
        .await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    assert_rejected(&proxy, &response, 502, "upstream_connect").await;
    assert!(leaks.try_recv().is_err(), "a request went to a stranger");
}

#[tokio::test]
async fn first_byte_timeout() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend)
        .backend_options(&["first_byte_timeout: 500ms"])
        .start()
        .await;
    let started = weir::clock::now();
    let (response, mut call) = tokio::join!(
        proxy.send(ClientRequest::chat("hi")),
        backend.next_request()
    );
    // The default is a minute.
    assert!(started.elapsed() < wait::PATIENCE);
    assert_rejected(&proxy, &response, 504, "upstream_timeout").await;
    wait::within("the connection is given up", wait::PATIENCE, call.closed()).await;
}

#[tokio::test]
async fn a_reset_before_the_response() {
    let backend = Backend::responding(|_| BackendResponse::reset_immediately()).await;
    let proxy = Setup::open(&backend).start().await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    assert_rejected(&proxy, &response, 502, "upstream_reset").await;
}

#[tokio::test]
async fn a_response_that_is_not_http() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let (response, ()) = tokio::join!(proxy.send(ClientRequest::chat("hi")), async {
        let mut call = backend.next_request().await;
        call.write("what is this\r\n\r\n").await;
    });
    assert_eq!(response.status, 502, "{}", response.text());
    assert_eq!(response.rejection(), "upstream_reset");
}

/// The client has received the head and the first token when `end` happens.
async fn interrupted_stream(
    options: &[&str],
    end: impl AsyncFnOnce(weir_tests::backend::PendingRequest),
) -> (Proxy, String) {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).backend_options(options).start().await;
    let mut client = Client::h1(proxy.address()).await;
    let (streaming, call) = client.begin_stream(&backend, "first").await;
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    end(call).await;
    let cut = streaming.rest().await;
    cut.expect_err("a truncated transfer");
    (proxy, id)
}

async fn assert_truncated(proxy: &Proxy, id: &str, code: &str) {
    let event = proxy.event(id).await;
    assert_eq!(event["error_code"], code);
    assert_eq!(event["http"]["response"]["status_code"], 200);
    assert_eq!(event["event"]["outcome"], "failure");
    let labels = [("route", "all")];
    assert_metric(proxy.admin(), "weir_failed_requests_total", &labels, 1.0).await;
}

#[tokio::test]
async fn a_reset_in_the_middle_of_a_stream() {
    let (proxy, id) = interrupted_stream(&[], async |call| call.reset()).await;
    assert_truncated(&proxy, &id, "upstream_reset").await;
}

#[tokio::test]
async fn a_close_in_the_middle_of_a_stream() {
    let (proxy, id) = interrupted_stream(&[], async |call| drop(call)).await;
    assert_truncated(&proxy, &id, "upstream_reset").await;
}

#[tokio::test]
async fn a_stall_in_the_middle_of_a_stream() {
    let (proxy, id) = interrupted_stream(&["idle_timeout: 2s"], async |mut call| {
        wait::within("the proxy gives up", wait::PATIENCE, call.closed()).await;
    })
    .await;
    assert_truncated(&proxy, &id, "upstream_timeout").await;
}

#[tokio::test]
async fn a_stream_that_never_ends() {
    let started = weir::clock::now();
    let options = ["idle_timeout: 10s", "total_timeout: 3s"];
    let (proxy, id) = interrupted_stream(&options, async |mut call| {
        let talking = async {
            while call.try_chunk(": still here\n\n").await.is_ok() {
                wait::tick().await;
            }
        };
        wait::within("the proxy gives up", wait::PATIENCE, talking).await;
    })
    .await;
    // The default is five minutes.
    assert!(started.elapsed() < wait::PATIENCE);
    assert_truncated(&proxy, &id, "upstream_timeout").await;
}

#[tokio::test]
async fn a_truncated_response_with_a_length_is_detectable() {
    let backend = Backend::responding(|_| BackendResponse::chat("half").truncated()).await;
    let proxy = Setup::open(&backend).start().await;
    for mut client in [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ] {
        // weir may still respond with 502 before the head; but never with a complete 200.
        if let Ok(streaming) = client.try_open(ClientRequest::chat("hi")).await {
            let status = streaming.status;
            let rest = streaming.rest().await;
            assert!(status == 502 || rest.is_err(), "{status} {rest:?}");
        }
    }
    let event = proxy.event_with_code("upstream_reset").await;
    assert_eq!(event["event"]["outcome"], "failure");
}

#[tokio::test]
async fn an_error_of_the_backend_is_forwarded_and_counted() {
    let backend = Backend::responding(|_| {
        BackendResponse::json(&json!({"error": {"message": "overloaded"}}))
            .with_status(529)
            .header("retry-after", "7")
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    assert_eq!(response.status, 529);
    assert_eq!(response.json()["error"]["message"], "overloaded");
    assert_eq!(response.header("retry-after"), Some("7"));
    let event = proxy.event_of(&response).await;
    assert_eq!(event["error_code"], "upstream_status");
    assert_eq!(event["http"]["response"]["status_code"], 529);
    let labels = [("error_code", "upstream_status")];
    assert_metric(proxy.admin(), "weir_errors_total", &labels, 1.0).await;
}

#[tokio::test]
async fn a_4xx_of_the_backend_is_no_failure() {
    let backend = Backend::responding(|_| BackendResponse::chat("no").with_status(422)).await;
    let proxy = Setup::open(&backend).start().await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    assert_eq!(response.status, 422);
    let event = proxy.event_of(&response).await;
    assert!(event.get("error_code").is_none(), "{event}");
    assert_metric(proxy.admin(), "weir_failed_requests_total", &[], 0.0).await;
}
