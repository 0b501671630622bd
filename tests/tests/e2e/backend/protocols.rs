//! The protocols between weir and a backend: HTTP/2 in clear text and over TLS, HTTP/1.1 over a Unix socket, gRPC, and
//! upgrades.

use futures_util::future::join_all;
use futures_util::{SinkExt as _, StreamExt as _};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{accept_async, client_async};
use weir_tests::backend::{Backend, BackendResponse, Http2Backend, TlsTargets, UnixSocket};
use weir_tests::certs::Authority;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::setup::{BUFFERED, OPEN, Setup};
use weir_tests::wait;

/// More than any stage buffers without need.
const LARGE_BYTES: usize = 900_000;

async fn proxy_to(endpoint: &str, routes: &str) -> Proxy {
    Setup::without_backend()
        .backend("assistant", &[endpoint.to_owned()], &[])
        .routes(routes)
        .start()
        .await
}

/// A proxy to this port with TLS, which trusts `authority`.
async fn proxy_over_tls(port: u16, authority: &Authority, directory: &TempDir) -> Proxy {
    let ca_file = directory.path().join("ca.pem");
    std::fs::write(&ca_file, authority.pem()).expect("written");
    let tls = format!("tls: {{ca_file: {}}}", ca_file.display());
    Setup::without_backend()
        .backend("assistant", &[format!("https://localhost:{port}")], &[&tls])
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

/// A WebSocket through the proxy carries messages in both directions.
async fn expect_websocket(proxy: &Proxy) {
    let stream = TcpStream::connect(proxy.address()).await.expect("open");
    let upgrading = client_async("ws://weir.test/socket", stream);
    let (mut socket, response) = wait::within("101", wait::PATIENCE, upgrading)
        .await
        .expect("an upgrade");
    assert_eq!(response.status(), 101);
    socket.send(Message::text("hello")).await.expect("sent");
    let echoed = wait::within("an echo", wait::PATIENCE, socket.next()).await;
    let echoed = echoed.expect("a message").expect("a complete one");
    assert_eq!(echoed.into_text().expect("text").as_str(), "hello");
}

async fn websocket_backend() -> Backend {
    Backend::raw(|stream| async {
        if let Ok(mut socket) = accept_async(stream).await {
            while let Some(Ok(message)) = socket.next().await {
                if message.is_close() || socket.send(message).await.is_err() {
                    return;
                }
            }
        }
    })
    .await
}

#[tokio::test]
async fn ordinary_requests_use_http2_with_an_h2c_endpoint() {
    let backend = Http2Backend::start().await;
    for routes in [OPEN, BUFFERED] {
        let proxy = proxy_to(&backend.url(), routes).await;
        for mut client in clients(&proxy).await {
            for request in [
                ClientRequest::get("/a"),
                ClientRequest::post("/a", "hello"),
                ClientRequest::post("/a", vec![7; LARGE_BYTES]),
                ClientRequest::chunked("/a", &vec![7; LARGE_BYTES], 10_000),
            ] {
                let response = client.send(request).await;
                assert_eq!(response.status, 200, "{}", response.text());
                let received = response.json();
                assert_eq!(received["path"], "/a");
                assert_eq!(received["scheme"], "http");
                assert_eq!(received["authority"], backend.address().to_string());
                assert_eq!(received["forwarded_host"], "weir.test");
                assert!(received["host"].is_null(), "{received}");
                let bytes = received["bytes"].as_u64().expect("a number");
                assert!([0, 5, LARGE_BYTES as u64].contains(&bytes), "{received}");
                let event = proxy.event_of(&response).await;
                assert_eq!(event["weir"]["upstream"]["endpoint"], backend.url());
            }
        }
    }
}

#[tokio::test]
async fn concurrent_requests_share_http2_connections() {
    let backend = Http2Backend::start().await;
    let proxy = proxy_to(&backend.url(), OPEN).await;
    let requests = (0..200).map(|_| proxy.send(ClientRequest::post("/a", "hello")));
    for response in join_all(requests).await {
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // Each worker has its own, of a hundred streams.
    let connections = backend.connections();
    assert!(
        connections <= 3 * workers,
        "{connections} for {workers} workers"
    );
}

#[tokio::test]
async fn a_connection_that_is_shut_down_is_replaced_between_requests() {
    let backend = Http2Backend::start().await;
    let proxy = proxy_to(&backend.url(), OPEN).await;
    let mut client = Client::h1(proxy.address()).await;
    for _ in 0..5 {
        let response = client.send(ClientRequest::post("/a", "hello")).await;
        assert_eq!(response.status, 200, "{}", response.text());
        backend.shut_connections_down();
        wait::eventually("the end of the connection", wait::PATIENCE, || {
            backend.connections_open() == 0
        })
        .await;
    }
    assert_eq!(backend.connections(), 5);
}

#[tokio::test]
async fn grpc_passes_with_its_trailers_over_h2c_and_tls() {
    let backend = Http2Backend::start().await;
    let authority = Authority::new();
    let directory = TempDir::new().expect("a directory");
    let targets = TlsTargets {
        http1: None,
        http2: Some(backend.address()),
    };
    let tls = Backend::behind_alpn(&authority, targets).await;
    let port = tls.address().port();
    for proxy in [
        proxy_to(&backend.url(), OPEN).await,
        proxy_to(&format!("http://{}", backend.address()), OPEN).await,
        proxy_over_tls(port, &authority, &directory).await,
    ] {
        let mut client = Client::h2(proxy.address()).await;
        let request = ClientRequest::post("/pkg.Service/Call", "\0\0\0\0\u{2}hi")
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        let response = client.open(request).await;
        assert_eq!(response.status, 200);
        let (data, trailers) = response.with_trailers().await;
        assert_eq!(data, b"\0\0\0\0\x02hi");
        assert_eq!(trailers["grpc-status"], "0");
    }
}

#[tokio::test]
async fn tls_negotiates_the_protocol() {
    let one = Backend::echo().await;
    let two = Http2Backend::start().await;
    let authority = Authority::new();
    let directory = TempDir::new().expect("a directory");
    let cases = [
        (Some(one.address()), None),
        (Some(one.address()), Some(two.address())),
        (None, Some(two.address())),
    ];
    for (http1, http2) in cases {
        let tls = Backend::behind_alpn(&authority, TlsTargets { http1, http2 }).await;
        let proxy = proxy_over_tls(tls.address().port(), &authority, &directory).await;
        for mut client in clients(&proxy).await {
            for _ in 0..3 {
                let request = ClientRequest::post("/a", vec![7; LARGE_BYTES]);
                let response = client.send(request).await;
                assert_eq!(response.status, 200, "{}", response.text());
                let received = response.json();
                assert_eq!(received["bytes"], LARGE_BYTES);
                // Only the HTTP/2 backend describes it.
                assert_eq!(received["scheme"] == "https", http2.is_some(), "{received}");
            }
        }
        // The connections are used again: one a worker at most.
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        assert!(tls.connections() <= workers, "{}", tls.connections());
    }
}

#[tokio::test]
async fn an_upgrade_uses_http1_where_tls_offers_http2() {
    let (one, two) = (websocket_backend().await, Http2Backend::start().await);
    let authority = Authority::new();
    let directory = TempDir::new().expect("a directory");
    let targets = TlsTargets {
        http1: Some(one.address()),
        http2: Some(two.address()),
    };
    let tls = Backend::behind_alpn(&authority, targets).await;
    let proxy = proxy_over_tls(tls.address().port(), &authority, &directory).await;
    let ordinary = proxy.send(ClientRequest::get("/a")).await;
    assert_eq!(ordinary.json()["scheme"], "https");
    expect_websocket(&proxy).await;
}

#[tokio::test]
async fn requests_pass_over_a_unix_socket() {
    let backend = Backend::echo().await;
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("assistant.sock");
    let _socket = UnixSocket::before(backend.address(), &path);
    let endpoint = format!("unix:{}", path.display());
    for routes in [OPEN, BUFFERED] {
        let proxy = proxy_to(&endpoint, routes).await;
        for mut client in clients(&proxy).await {
            for bytes in [5, LARGE_BYTES] {
                let request = ClientRequest::post("/a", vec![7; bytes]);
                let response = client.send(request.header("host", "named.test:81")).await;
                assert_eq!(response.status, 200, "{}", response.text());
                assert_eq!(response.json()["bytes"], bytes);
                let event = proxy.event_of(&response).await;
                assert_eq!(event["weir"]["upstream"]["endpoint"], endpoint);
            }
        }
    }
    for received in backend.requests() {
        // A socket has no name: the backend gets the client's.
        assert_eq!(received.all("host"), ["named.test:81"]);
    }
    backend.assert_faultless();
}

#[tokio::test]
async fn a_websocket_passes_over_a_unix_socket() {
    let backend = websocket_backend().await;
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("assistant.sock");
    let _socket = UnixSocket::before(backend.address(), &path);
    expect_websocket(&proxy_to(&format!("unix:{}", path.display()), OPEN).await).await;
}

#[tokio::test]
async fn a_unix_socket_without_a_server_cannot_be_connected_to() {
    let directory = TempDir::new().expect("a directory");
    let path = directory.path().join("nothing.sock");
    let proxy = proxy_to(&format!("unix:{}", path.display()), OPEN).await;
    let response = proxy.send(ClientRequest::get("/a")).await;
    assert_eq!(
        (response.status, response.rejection().as_str()),
        (502, "upstream_connect")
    );
}

#[tokio::test]
async fn a_backend_that_speaks_http1_is_no_h2c_endpoint() {
    let backend = Backend::responding(|_| BackendResponse::status(200)).await;
    let proxy = proxy_to(&format!("h2c://{}", backend.address()), OPEN).await;
    let response = proxy.send(ClientRequest::get("/a")).await;
    assert_eq!(
        (response.status, response.rejection().as_str()),
        (502, "upstream_reset")
    );
}
