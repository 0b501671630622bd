//! Streaming: server-sent events, and WebSockets in both directions.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};
use weir_tests::backend::{Backend, PendingRequest};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

#[tokio::test]
async fn events_are_forwarded_as_they_arrive() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    for mut client in [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ] {
        let (mut streaming, mut call) = backend
            .open_stream(&mut client, ClientRequest::chat_stream("hi"))
            .await;
        assert_eq!(streaming.status, 200);
        assert_eq!(streaming.header("content-type"), Some("text/event-stream"));
        for word in ["one", "two", "three"] {
            call.token(word).await;
            streaming.until(word).await;
            assert!(wait::still_waiting_after(Duration::from_millis(20), streaming.chunk()).await);
        }
        call.end_chat(3).await;
        let rest = streaming.rest().await.expect("a clean end");
        assert!(rest.ends_with(b"data: [DONE]\n\n"));
    }
}

async fn connect(proxy: &Proxy) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(proxy.address())
        .await
        .expect("a connection");
    let upgrading = client_async("ws://weir.test/socket", stream);
    let (socket, response) = wait::within("101", wait::PATIENCE, upgrading)
        .await
        .expect("an upgrade");
    assert_eq!(response.status(), 101);
    socket
}

async fn expect_echo(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.expect("sent");
    let echoed = wait::within("an echo", wait::PATIENCE, socket.next())
        .await
        .expect("a message")
        .expect("a complete one");
    assert_eq!(echoed.into_text().expect("text").as_str(), text);
}

async fn echo_all(mut socket: WebSocketStream<TcpStream>) {
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() || socket.send(message).await.is_err() {
            return;
        }
    }
}

/// The 101 for a request, as a server writes it.
fn switch_head(call: &PendingRequest) -> Vec<u8> {
    let key = call.request().header("sec-websocket-key").expect("a key");
    let accept = derive_accept_key(key.as_bytes());
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )
    .into_bytes()
}

#[tokio::test]
async fn a_websocket_passes_in_both_directions() {
    let backend = Backend::raw(|stream| async {
        if let Ok(socket) = accept_async(stream).await {
            echo_all(socket).await;
        }
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    let mut socket = connect(&proxy).await;
    expect_echo(&mut socket, "hello").await;
    expect_echo(&mut socket, &"large ".repeat(50_000)).await;
    socket.close(None).await.expect("closed");
    let event = proxy
        .event_where("the upgrade", |event| event["url"]["path"] == "/socket")
        .await;
    assert_eq!(event["http"]["response"]["status_code"], 101);
    assert!(event.get("error_code").is_none(), "{event}");
}

#[tokio::test]
async fn a_late_101_is_accepted() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let (mut socket, server) = tokio::join!(connect(&proxy), async {
        let mut call = backend.next_request().await;
        // weir must not respond by itself while the backend has not.
        assert!(wait::still_waiting_after(Duration::from_millis(300), call.closed()).await);
        call.write(switch_head(&call)).await;
        WebSocketStream::from_raw_socket(call.into_stream(), Role::Server, None).await
    });
    let server = tokio::spawn(echo_all(server));
    expect_echo(&mut socket, "late").await;
    drop(socket);
    wait::within("the backend's end", wait::PATIENCE, server)
        .await
        .expect("an end");
}

#[tokio::test]
async fn a_first_frame_in_the_same_packet_as_the_101_is_not_lost() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let (mut socket, server) = tokio::join!(connect(&proxy), async {
        let mut call = backend.next_request().await;
        let mut bytes = switch_head(&call);
        // An unmasked text frame: "early".
        bytes.extend_from_slice(b"\x81\x05early");
        call.write(bytes).await;
        WebSocketStream::from_raw_socket(call.into_stream(), Role::Server, None).await
    });
    let first = wait::within("the first frame", wait::PATIENCE, socket.next())
        .await
        .expect("a message")
        .expect("a complete one");
    assert_eq!(first.into_text().expect("text").as_str(), "early");
    let _echoing = tokio::spawn(echo_all(server));
    expect_echo(&mut socket, "then this").await;
}

#[tokio::test]
async fn upgrades_are_checked_like_other_requests() {
    let backend = Backend::manual().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: socket, path: /socket, backend: assistant, \
             signature: {scheme: bearer, secrets: [sk-socket-0123456789]}}",
        )
        .start()
        .await;
    let stream = TcpStream::connect(proxy.address())
        .await
        .expect("a connection");
    let refused = client_async("ws://weir.test/socket", stream).await;
    let error = refused.expect_err("a rejection").to_string();
    assert!(error.contains("401"), "{error}");
    backend.assert_untouched();
}

/// The HTTP/2 implementation rejects it before the gateway sees it.
#[tokio::test]
async fn malformed_requests_over_http2_are_recorded_and_counted() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut client = Client::h2(proxy.address()).await;
    for rejected in 1..=3 {
        let request = ClientRequest::get("/").header("host", "user@weir.test");
        assert_eq!(client.send(request).await.status, 400);
        let events = proxy.events_when(rejected).await;
        let event = &events[rejected - 1];
        assert_eq!(event["error_code"], "bad_request", "{event}");
        assert_eq!(event["http"]["response"]["status_code"], 400);
        assert_eq!(event["http"]["version"], "2");
    }
    // The connection continues, but not for a client that sends nothing else.
    assert_eq!(client.send(ClientRequest::get("/")).await.status, 200);
    let mut more = 0;
    let malformed = || ClientRequest::get("/").header("host", "user@weir.test");
    while client.try_open(malformed()).await.is_ok() {
        more += 1;
        assert!(more < 100, "the connection is still open");
    }
    assert!(client.closed().await);
    let metrics = proxy.metrics().await;
    let counted = metrics.sum("weir_requests_total", &[("code", "400")]);
    // Three above, and those that ended the connection.
    assert_eq!(counted, 32.0);
    proxy.events_when(33).await;
    assert_eq!(backend.requests().len(), 1);
}
