//! The exchange with a backend: choice of endpoint, request, and response.

use bytes::Bytes;
use weir_tests::backend::{Backend, BackendResponse, Framing};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::raw::Raw;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

mod balancing;
mod breaker;
mod broken_responses;
mod deadlines;
mod departures;
mod failover;
mod failures;
mod health;
mod hold;
mod http2_streams;
mod hung;
mod loops;
mod memory;
mod names;
mod outages;
mod protocols;
mod quota;
mod retry;
mod silence;
mod tls;
mod upgrades;
mod variants;

#[tokio::test]
async fn endpoints_are_used_round_robin() {
    let (one, two) = (Backend::echo().await, Backend::echo().await);
    let proxy = Setup::without_backend()
        .backend("assistant", &[one.url(), two.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    let mut client = Client::h1(proxy.address()).await;
    for _ in 0..10 {
        let client_response = client.send(ClientRequest::get("/")).await;
        assert_eq!(client_response.status, 200);
        let event = proxy.event_of(&client_response).await;
        let endpoint = event["weir"]["upstream"]["endpoint"].clone();
        assert!(endpoint == one.url() || endpoint == two.url(), "{endpoint}");
        assert_eq!(event["backend"], "assistant");
    }
    assert_eq!((one.requests().len(), two.requests().len()), (5, 5));
}

#[tokio::test]
async fn hop_by_hop_headers_are_not_forwarded() {
    let backend = Backend::responding(|_| {
        BackendResponse::json(&serde_json::json!({}))
            .header("connection", "x-secret-hop, keep-alive")
            .header("x-secret-hop", "for weir only")
            .header("keep-alive", "timeout=5")
            .header("proxy-authenticate", "Basic")
            .header("upgrade", "h2c")
            .header("x-kept", "yes")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(
        "POST /hops HTTP/1.1\r\nHost: weir.test\r\nConnection: keep-alive, X-Private\r\n\
         X-Private: 1\r\nKeep-Alive: timeout=9\r\nTE: trailers\r\nProxy-Authorization: Basic eA==\r\n\
         Proxy-Connection: keep-alive\r\nX-End: kept\r\nX-End: twice\r\nContent-Length: 2\r\n\r\nhi",
    )
    .await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 200);
    let received = backend.only_request();
    assert_eq!(received.all("x-end"), ["kept", "twice"]);
    assert_eq!(received.all("content-length"), ["2"]);
    for gone in [
        "x-private",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",
    ] {
        assert_eq!(received.header(gone), None, "{gone} reached the backend");
    }
    assert_eq!(backend_response.header("x-kept"), Some("yes"));
    let cookies = backend_response
        .headers
        .iter()
        .filter(|(name, _)| name == "set-cookie");
    assert_eq!(cookies.count(), 2);
    for gone in ["x-secret-hop", "proxy-authenticate", "upgrade"] {
        assert_eq!(
            backend_response.header(gone),
            None,
            "{gone} reached the client"
        );
    }
}

#[tokio::test]
async fn a_client_cannot_remove_weirs_own_headers() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(
        "GET / HTTP/1.1\r\nHost: weir.test\r\n\
         Connection: X-Forwarded-For, X-Request-Id, X-Weir-Platform, Host\r\n\r\n",
    )
    .await;
    let backend_response = raw.response().await;
    assert!(
        [200, 400].contains(&backend_response.status),
        "{}",
        backend_response.status
    );
    for received in backend.requests() {
        for stored in ["x-forwarded-for", "x-request-id", "x-weir-platform", "host"] {
            assert!(received.header(stored).is_some(), "{stored} was dropped");
        }
    }
}

#[tokio::test]
async fn configured_backend_headers_and_prefix_are_applied() {
    let backend = Backend::echo().await;
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[backend.url()],
            &[
                "path_prefix: /v1",
                "request_headers: {authorization: \"Bearer ${BACKEND_KEY}\", x-team: weir, \
                 x-empty: \"${NOT_SET:-}\"}",
            ],
        )
        .routes(OPEN)
        .variable("BACKEND_KEY", "sk-backend")
        .start()
        .await;
    let request = ClientRequest::get("/chat?a=%20b")
        .header("authorization", "Bearer of-the-client")
        .header("x-team", "other");
    proxy.send(request).await;
    let received = backend.only_request();
    assert_eq!(received.target, "/v1/chat?a=%20b");
    assert_eq!(received.all("authorization"), ["Bearer sk-backend"]);
    assert_eq!(received.all("x-team"), ["weir"]);
    assert_eq!(received.header("x-empty"), None);
}

#[tokio::test]
async fn responses_pass_with_any_framing() {
    let backend = Backend::responding(|received| {
        let body = BackendResponse::bytes("text/plain", "a body");
        match received.target.as_str() {
            "/chunked" => body.chunked(),
            "/until-close" => body.until_close(),
            "/empty" => BackendResponse::status(200),
            "/no-content" => BackendResponse::status(204).head_only(),
            "/not-modified" => BackendResponse::status(304)
                .head_only()
                .header("etag", "\"1\""),
            "/teapot" => body.with_status(418),
            "/head" => BackendResponse::status(200)
                .head_only()
                .header("content-length", "12345"),
            _ => body,
        }
    })
    .await;
    let proxy = Setup::open(&backend).start().await;
    for mut client in [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ] {
        for (method, path, status, body) in [
            ("GET", "/length", 200, "a body"),
            ("GET", "/chunked", 200, "a body"),
            ("GET", "/until-close", 200, "a body"),
            ("GET", "/empty", 200, ""),
            ("GET", "/no-content", 204, ""),
            ("GET", "/not-modified", 304, ""),
            ("GET", "/teapot", 418, "a body"),
            ("HEAD", "/head", 200, ""),
            ("DELETE", "/length", 200, "a body"),
        ] {
            let client_response = client.send(ClientRequest::new(method, path)).await;
            assert_eq!(
                (client_response.status, client_response.text().as_str()),
                (status, body),
                "{path}"
            );
            match path {
                "/head" => assert_eq!(client_response.header("content-length"), Some("12345")),
                "/not-modified" => assert_eq!(client_response.header("etag"), Some("\"1\"")),
                "/no-content" => assert_eq!(client_response.header("transfer-encoding"), None),
                _ => {}
            }
        }
    }
}

#[tokio::test]
async fn interim_responses_are_not_treated_as_final() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let (client_response, ()) = tokio::join!(proxy.send(ClientRequest::get("/")), async {
        let mut call = backend.next_request().await;
        call.write("HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")
            .await;
        call.write("HTTP/1.1 102 Processing\r\n\r\n").await;
        call.respond(BackendResponse::chat("the answer")).await;
    });
    assert_eq!(client_response.status, 200);
    assert!(client_response.text().contains("the answer"));
}

#[tokio::test]
async fn a_large_response_uses_bounded_memory() {
    let backend = Backend::responding(|_| BackendResponse::repeated(&[b'x'; 65_536], 800)).await;
    let proxy = Setup::open(&backend).start().await;
    proxy.send(ClientRequest::get("/warm-up")).await;
    let before = proxy.process().resident_bytes_max();
    for mut client in [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ] {
        let client_response = client.send(ClientRequest::get("/large")).await;
        assert_eq!(client_response.body.len(), 50 << 20);
        let event = proxy.event_of(&client_response).await;
        assert_eq!(event["http"]["response"]["body"]["bytes"], 50 << 20);
    }
    let grown = proxy.process().resident_bytes_max() - before;
    assert!(grown < 32 << 20, "grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn a_stale_pooled_connection_does_not_fail_a_post() {
    // Each connection carries one request, announces keep-alive, and is closed by the backend when idle.
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let mut client = Client::h1(proxy.address()).await;
    for round in 0..5 {
        let (client_response, ()) =
            tokio::join!(client.send(ClientRequest::post("/", "question")), async {
                let mut call = backend.next_request().await;
                call.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
                drop(call);
            });
        assert_eq!(
            client_response.status,
            200,
            "round {round}: {}",
            client_response.text()
        );
        // The proxy has received the close before the next request.
        wait::eventually("the backend's connections to end", wait::PATIENCE, || {
            backend.connections_open() == 0
        })
        .await;
        assert!(
            wait::still_waiting_after(std::time::Duration::from_millis(50), client.closed()).await
        );
    }
    assert_eq!(backend.connections(), 5);
}

#[tokio::test]
async fn a_request_without_a_body_gets_none() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for mut client in [
        Client::h1(proxy.address()).await,
        Client::h2(proxy.address()).await,
    ] {
        client.send(ClientRequest::get("/")).await;
        client.send(ClientRequest::new("HEAD", "/")).await;
        client.send(ClientRequest::post("/", Bytes::new())).await;
    }
    let requests = backend.requests();
    assert!(
        requests
            .iter()
            .all(|received| received.body_bytes == 0 && received.whole)
    );
    for received in requests.iter().filter(|received| received.method != "POST") {
        assert_eq!(received.framing, Framing::None, "{received:?}");
    }
}
