//! API keys in three headers, the challenge of a 401, and one replay memory for all routes with a secret.

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest, ClientResponse};
use weir_tests::setup::Setup;
use weir_tests::sign::{self, Headers};

const ROUTES: &str = "
- name: keys
  path: /keys/*
  backend: assistant
  signature: {scheme: bearer, clients: [{name: web, secrets: [sk-web]}, {name: bot, secrets: [sk-bot]}]}
- name: signed
  path: /signed/*
  backend: assistant
  signature: {scheme: hmac, clients: [{name: web, secrets: [s3cret]}]}
- name: also-signed
  path: /also/*
  backend: assistant
  signature: {scheme: hmac, clients: [{name: other, secrets: [another]}, {name: same, secrets: [s3cret]}]}
- name: both
  path: /both/*
  backend: assistant
  signature: [{scheme: hmac, secrets: [third]}, {scheme: bearer, secrets: [sk-third]}]
- {name: open, path: /open/*, backend: assistant}
";

fn headers(pairs: &[(&str, &str)]) -> Headers {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

#[tokio::test]
async fn api_keys_are_accepted_in_three_headers_and_not_forwarded() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(ROUTES).start().await;
    for (sent, client) in [
        (&[("authorization", "Bearer sk-web")][..], "web"),
        (&[("x-api-key", "sk-web")], "web"),
        (&[("api-key", "sk-bot")], "bot"),
        (
            &[("authorization", "Bearer dummy"), ("x-api-key", "sk-bot")],
            "bot",
        ),
        (&[("api-key", "sk-web"), ("x-api-key", "unknown")], "web"),
    ] {
        for request in [
            ClientRequest::post("/keys/a", "x"),
            ClientRequest::chunked("/keys/a", b"xyz", 1),
        ] {
            let response = proxy.send(request.headers(headers(sent))).await;
            assert_eq!(response.status, 200, "{sent:?}");
            assert_eq!(proxy.event_of(&response).await["client"]["key"], client);
        }
        let request = ClientRequest::post("/keys/a", "x").headers(headers(sent));
        assert_eq!(
            Client::h2(proxy.address()).await.send(request).await.status,
            200
        );
    }
    for received in backend.requests() {
        for name in ["authorization", "x-api-key", "api-key"] {
            assert_eq!(received.header(name), None, "{name} stays at weir");
        }
    }
    // Headers that weir does not verify are forwarded.
    let request = ClientRequest::post("/open/a", "x").header("x-api-key", "for-the-backend");
    assert_eq!(proxy.send(request).await.status, 200);
    let received = backend.requests().pop().expect("a request");
    assert_eq!(received.header("x-api-key"), Some("for-the-backend"));
}

#[tokio::test]
async fn a_401_names_the_schemes_and_an_invalid_key_is_reported() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(ROUTES).start().await;
    let invalid = headers(&[("x-api-key", "sk-wrong")]);
    let challenge =
        |response: &ClientResponse| response.header("www-authenticate").map(str::to_owned);
    for (path, schemes) in [
        ("/keys/a", "Bearer"),
        ("/signed/a", "hmac"),
        ("/both/a", "hmac, Bearer"),
    ] {
        for request in [
            ClientRequest::post(path, "x"),
            ClientRequest::chunked(path, b"xyz", 1),
        ] {
            let response = proxy.send(request).await;
            assert_eq!(
                (response.status, response.rejection()),
                (401, "signature_missing".to_owned())
            );
            assert_eq!(challenge(&response).as_deref(), Some(schemes), "{path}");
        }
        let over_http2 = Client::h2(proxy.address())
            .await
            .send(ClientRequest::get(path))
            .await;
        assert_eq!(challenge(&over_http2).as_deref(), Some(schemes), "{path}");
    }
    for path in ["/keys/a", "/both/a"] {
        for request in [
            ClientRequest::post(path, "x"),
            ClientRequest::chunked(path, b"xyz", 1),
        ] {
            let response = proxy.send(request.headers(invalid.clone())).await;
            assert_eq!(
                (response.status, response.rejection()),
                (401, "signature_invalid".to_owned())
            );
            let problem = response.json();
            assert_eq!(problem["title"], "Invalid API key");
            let message = problem["error"]["message"].as_str().unwrap_or_default();
            assert!(message.starts_with("Invalid API key"), "{message}");
            assert!(!message.contains("sk-wrong"), "{message}");
        }
    }
    // Only a 401 has a challenge.
    assert_eq!(
        challenge(&proxy.send(ClientRequest::get("/nowhere")).await),
        None
    );
    backend.assert_untouched();
}

#[tokio::test]
async fn a_signed_request_is_accepted_once_across_routes_with_its_secret() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(ROUTES).start().await;
    let signed = sign::sign_hmac_now("s3cret", b"x");
    let send = async |path: &str, headers: &Headers| {
        let response = proxy
            .send(ClientRequest::post(path, "x").headers(headers.clone()))
            .await;
        (
            response.status,
            (response.status != 200).then(|| response.rejection()),
        )
    };
    let replayed = (401, Some("signature_replayed".to_owned()));
    assert_eq!(send("/signed/a", &signed).await, (200, None));
    assert_eq!(send("/also/a", &signed).await, replayed);
    assert_eq!(send("/signed/b", &signed).await, replayed);
    // In reverse order, and an id that a client with another secret has used.
    let other_way = sign::sign_hmac_now("s3cret", b"x");
    assert_eq!(send("/also/a", &other_way).await, (200, None));
    assert_eq!(send("/signed/a", &other_way).await, replayed);
    let id = sign::fresh_id();
    for secret in ["another", "s3cret"] {
        let same_id = sign::sign_hmac(secret, &id, sign::unix_now(), b"x");
        assert_eq!(send("/also/a", &same_id).await, (200, None), "{secret}");
    }
    assert_eq!(backend.requests().len(), 4);
    let metrics = proxy.metrics().await;
    assert!(metrics.has("weir_replay_dropped_total"));
}
