//! `CDN-Loop` (RFC 8586): loops are rejected, chains of several weirs are not.

use std::net::{SocketAddr, TcpListener};

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest, ClientResponse};
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};

/// A free address: weir must know its own before it starts.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

async fn start_at(address: SocketAddr, backend: SocketAddr) -> Proxy {
    Setup::without_backend()
        .backend("next", &[format!("http://{backend}")], &[])
        .routes(&OPEN.replace("assistant", "next"))
        .listen(&address.to_string())
        .start()
        .await
}

/// One request of each kind: buffered, passed through, and over HTTP/2.
async fn send_all(address: SocketAddr, headers: &[(&str, &str)]) -> Vec<ClientResponse> {
    let with = |request: ClientRequest| {
        let headers = headers.iter();
        headers.fold(request, |request, (name, value)| {
            request.header(name, value)
        })
    };
    let mut responses = Vec::new();
    for request in [
        ClientRequest::get("/"),
        ClientRequest::post("/", "x"),
        ClientRequest::chunked("/", b"xyz", 1),
    ] {
        responses.push(Client::h1(address).await.send(with(request)).await);
    }
    for request in [
        ClientRequest::post("/", "x"),
        ClientRequest::chunked("/", b"xyz", 1),
    ] {
        responses.push(Client::h2(address).await.send(with(request)).await);
    }
    responses
}

/// The error code of the rejection that returned through the loop.
fn error_code(response: &ClientResponse) -> serde_json::Value {
    response.json()["error"]["code"].clone()
}

#[tokio::test]
async fn a_weir_that_is_its_own_backend_detects_the_loop() {
    let address = free_address();
    let proxy = start_at(address, address).await;
    let responses = send_all(address, &[]).await;
    for response in &responses {
        assert_eq!(
            (response.status, error_code(response)),
            (508, "loop_detected".into())
        );
    }
    let events = proxy.events_when(2 * responses.len()).await;
    let with = |error_code: &str| {
        events
            .iter()
            .filter(|event| event["error_code"] == error_code)
            .count()
    };
    assert_eq!(with("loop_detected"), responses.len());
    assert_eq!(with("upstream_status"), responses.len());
}

#[tokio::test]
async fn a_loop_through_two_weirs_is_detected() {
    let (one, other) = (free_address(), free_address());
    let (first, second) = (start_at(one, other).await, start_at(other, one).await);
    let responses = send_all(one, &[("cdn-loop", "a.example;x=1")]).await;
    for response in &responses {
        assert_eq!(
            (response.status, error_code(response)),
            (508, "loop_detected".into())
        );
    }
    assert_eq!(
        first.events_when(2 * responses.len()).await.len(),
        2 * responses.len()
    );
    assert_eq!(
        second.events_when(responses.len()).await.len(),
        responses.len()
    );
}

#[tokio::test]
async fn chained_weirs_are_no_loop_and_each_adds_its_token() {
    let backend = Backend::echo().await;
    let inner = Setup::open(&backend).start().await;
    let outer = start_at(free_address(), inner.address()).await;
    // Naming the field in `Connection` does not remove it.
    let sent = [
        ("cdn-loop", "a.example;x=1"),
        ("cdn-loop", "b"),
        ("connection", "cdn-loop"),
    ];
    for response in send_all(outer.address(), &sent[..2]).await {
        assert_eq!(response.status, 200);
    }
    let hop = ClientRequest::get("/")
        .header(sent[0].0, sent[0].1)
        .header(sent[2].0, sent[2].1);
    assert_eq!(outer.send(hop).await.status, 200);
    let received = backend.requests();
    let mut tokens = Vec::new();
    for (position, request) in received.iter().enumerate() {
        let lines = request.all("cdn-loop");
        let [line] = lines[..] else {
            panic!("{lines:?}")
        };
        let entries: Vec<&str> = line.split(", ").collect();
        let others = if position == 5 {
            &["a.example;x=1"][..]
        } else {
            &["a.example;x=1", "b"]
        };
        let (before, own) = entries.split_at(entries.len() - 2);
        assert_eq!(before, others);
        assert!(
            own.iter()
                .all(|token| token.starts_with("weir-") && token.len() == 21),
            "{own:?}"
        );
        assert_ne!(own[0], own[1]);
        tokens.push((own[0].to_owned(), own[1].to_owned()));
    }
    assert_eq!(tokens.len(), 6);
    assert!(
        tokens.iter().all(|pair| *pair == tokens[0]),
        "each has its own token"
    );

    // The tokens of both, from outside, in different forms.
    let (first, second) = &tokens[0];
    for (header, status) in [
        (first.clone(), 508),
        (format!("x, {first};a=b , y"), 508),
        (first.to_uppercase(), 508),
        (format!("{second}x"), 200),
        ("weir".to_owned(), 200),
    ] {
        for response in send_all(outer.address(), &[("cdn-loop", &header)]).await {
            assert_eq!(response.status, status, "{header}");
        }
    }
    let hidden = [("cdn-loop", first.as_str()), ("connection", "cdn-loop")];
    let response = outer.send(
        hidden
            .iter()
            .fold(ClientRequest::get("/"), |request, (name, value)| {
                request.header(name, value)
            }),
    );
    assert_eq!(response.await.status, 508);
}
