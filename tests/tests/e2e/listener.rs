//! Connections and request heads: protocols, limits, timeouts and validation.

use std::time::Duration;

use weir_tests::backend::Backend;
use weir_tests::certs::Authority;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::sha256_hex;
use weir_tests::wait;

mod descriptors;
mod disconnects;
mod early_responses;
mod floods;
mod http1;
mod limits;
mod memory;
mod smuggling;
mod streams;

#[tokio::test]
async fn every_protocol_is_accepted() {
    let backend = Backend::echo().await;
    let authority = Authority::new();
    let files = tempfile::TempDir::new().expect("a directory");
    let proxy = Setup::open(&backend)
        .tls(&authority.issue(files.path()))
        .start()
        .await;
    let (plain, tls) = (proxy.address(), proxy.tls_address());
    let both = ["h2", "http/1.1"];
    let clients = [
        (Client::h1(plain).await, "1.1", "http"),
        (Client::h2(plain).await, "2", "http"),
        (Client::tls(tls, &authority, &both).await, "2", "https"),
        (
            Client::tls(tls, &authority, &["http/1.1"]).await,
            "1.1",
            "https",
        ),
        (Client::tls(tls, &authority, &[]).await, "1.1", "https"),
    ];
    for (mut client, version, scheme) in clients {
        let client_response = client
            .send(ClientRequest::post("/hello?a=b", "a body"))
            .await;
        assert_eq!(
            client_response.status,
            200,
            "{client:?}: {}",
            client_response.text()
        );
        assert_eq!(
            client_response.json()["sha256"],
            sha256_hex(b"a body"),
            "{client:?}"
        );
        assert_eq!(client_response.json()["target"], "/hello?a=b");
        let received = backend.requests().pop().expect("a request");
        assert_eq!(
            received.header("x-forwarded-proto"),
            Some(scheme),
            "{client:?}"
        );
        let event = proxy.event_of(&client_response).await;
        let recorded = event["http"]["version"].as_str().expect("a version");
        assert!(recorded.starts_with(version), "{recorded}, not {version}");
    }
}

#[tokio::test]
async fn alpn_prefers_http2() {
    let backend = Backend::echo().await;
    let authority = Authority::new();
    let files = tempfile::TempDir::new().expect("a directory");
    let proxy = Setup::open(&backend)
        .tls(&authority.issue(files.path()))
        .start()
        .await;
    for (offered, chosen) in [
        (&["http/1.1", "h2"][..], Some("h2")),
        (&["http/1.1"][..], Some("http/1.1")),
    ] {
        let client = Client::tls(proxy.tls_address(), &authority, offered).await;
        assert_eq!(client.negotiated().alpn.as_deref(), chosen);
    }
}

#[tokio::test]
async fn certificates_are_reloaded_unless_invalid() {
    let backend = Backend::echo().await;
    let authority = Authority::new();
    let directory = tempfile::TempDir::new().expect("a directory");
    let first = authority.issue(directory.path());
    let proxy = Setup::open(&backend).tls(&first).start().await;
    let mut old = Client::tls(proxy.tls_address(), &authority, &["http/1.1"]).await;
    assert_eq!(old.negotiated().leaf, first.leaf);

    let second = authority.issue(directory.path());
    assert_ne!(first.leaf, second.leaf);
    wait::within("the new certificate", wait::PATIENCE, async {
        loop {
            let client = Client::tls(proxy.tls_address(), &authority, &["h2"]).await;
            if client.negotiated().leaf == second.leaf {
                return;
            }
            wait::tick().await;
        }
    })
    .await;
    // Existing connections are not affected.
    assert_eq!(old.send(ClientRequest::get("/still")).await.status, 200);

    std::fs::write(&second.certificate, "no certificate").expect("written");
    let third_try = wait::still_waiting_after(Duration::from_secs(3), async {
        loop {
            let client = Client::tls(proxy.tls_address(), &authority, &["h2"]).await;
            assert_eq!(client.negotiated().leaf, second.leaf);
            wait::tick().await;
        }
    });
    assert!(third_try.await);
}

#[tokio::test]
async fn exactly_one_valid_host_is_required() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let bad = [
        "GET /a HTTP/1.1\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: weir.test\r\nHost: weir.test\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: weir.test\r\nHost: other.test\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: \r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: weir test\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: weir.test/path\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: user@weir.test\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: weir.test:port\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: a.test, b.test\r\n\r\n",
        "GET http://other.test/a HTTP/1.1\r\nHost: weir.test\r\n\r\n",
    ];
    for head in bad {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(head).await;
        let backend_response = raw.response().await;
        assert_eq!(
            backend_response.status,
            400,
            "{head:?}: {}",
            backend_response.text()
        );
        let id = backend_response
            .header("x-request-id")
            .expect("an id")
            .to_owned();
        let event = proxy.event(&id).await;
        assert_eq!(event["error_code"], "bad_request", "{head:?}");
        assert_eq!(event["http"]["response"]["status_code"], 400);
    }
    backend.assert_untouched();
    let good = [
        "GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n",
        "GET /a HTTP/1.1\r\nhOsT: weir.test:8080\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        "GET http://weir.test/a HTTP/1.1\r\nHost: weir.test\r\n\r\n",
    ];
    for head in good {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(head).await;
        let backend_response = raw.response().await;
        assert_eq!(
            backend_response.status,
            200,
            "{head:?}: {}",
            backend_response.text()
        );
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for count in [2, 5] {
        let mut raw = Raw::connect(proxy.address()).await;
        let mut requests = String::new();
        for number in 0..count {
            let body = "x".repeat(number);
            requests.push_str(&format!(
                "POST /{number} HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {number}\r\n\r\n{body}"
            ));
        }
        raw.write(requests).await;
        for number in 0..count {
            let backend_response = raw.response().await;
            assert_eq!(backend_response.status, 200);
            let echo: serde_json::Value =
                serde_json::from_slice(&backend_response.body).expect("an echo");
            assert_eq!(echo["target"], format!("/{number}"));
            assert_eq!(echo["bytes"], number);
        }
    }
    backend.assert_faultless();
    proxy.events_when(7).await;
}

#[tokio::test]
async fn connections_are_reused_on_both_sides() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut client = Client::h1(proxy.address()).await;
    for _ in 0..5 {
        assert_eq!(client.send(ClientRequest::post("/", "x")).await.status, 200);
    }
    // A rejection does not close the connection either.
    let proxy = Setup::new(&backend)
        .routes("- {name: one, path: /one, backend: assistant}")
        .start()
        .await;
    let mut client_of_refusals = Client::h1(proxy.address()).await;
    for _ in 0..3 {
        assert_eq!(
            client_of_refusals
                .send(ClientRequest::get("/two"))
                .await
                .status,
            404
        );
        assert_eq!(
            client_of_refusals
                .send(ClientRequest::get("/one"))
                .await
                .status,
            200
        );
    }
    assert_eq!(backend.connections(), 2, "one for each proxy");
}

#[tokio::test]
async fn http_1_0_connections_are_closed_after_the_response() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write("GET /old HTTP/1.0\r\nHost: weir.test\r\n\r\n")
        .await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 200, "{}", backend_response.text());
    assert_eq!(backend_response.header("transfer-encoding"), None);
    assert!(raw.closes_within(wait::PATIENCE).await);
}

#[tokio::test]
async fn expect_100_continue_is_answered_before_the_body() {
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend)
        .limit("body_bytes: 1KiB")
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    let head = |length: usize| {
        format!(
            "POST /a HTTP/1.1\r\nHost: weir.test\r\nExpect: 100-continue\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    };
    raw.write(head(5)).await;
    let backend_response = raw.read_until(b"\r\n\r\n", wait::PATIENCE).await;
    assert!(
        backend_response.starts_with(b"HTTP/1.1 100"),
        "{backend_response:?}"
    );
    raw.write("hello").await;
    let backend_response = raw.response().await;
    assert_eq!(backend_response.status, 200);
    assert!(backend_response.text().contains(&sha256_hex(b"hello")));
    // A body that would be rejected is not requested.
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(head(2000)).await;
    assert_eq!(raw.response().await.status, 413);
    assert_eq!(backend.requests().len(), 1);
}
