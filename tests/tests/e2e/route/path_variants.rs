//! A protected route also protects the variants of its path: hundreds of variants are sent unsigned to real web
//! frameworks, each behind its own weir.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use futures_util::future::join_all;
use weir_tests::backend::Backend;
use weir_tests::client::{CHAT, Client, ClientRequest};
use weir_tests::frameworks::{Frameworks, RESPONSE};
use weir_tests::path_variants;
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign;

use crate::request_path::body_modes::BodyMode;

/// As in an earlier example: an open route that covers the signed one, with the same backend.
const OPEN_AROUND_SIGNED: &str = "
- {name: chat, path: /v1/chat/completions, backend: assistant, signature: {scheme: hmac, secrets: [s3cret]}}
- {name: rest, path: /*, backend: assistant}
";

/// Sends an unsigned request over HTTP/1.1 with the unmodified target; returns the status and the body. On an open
/// route weir buffers a body with a length, and passes through one without.
async fn send_raw(address: SocketAddr, target: &str, mode: BodyMode) -> (u16, String) {
    let body = match mode {
        BodyMode::Buffered => "Content-Length: 2\r\n\r\n{}",
        BodyMode::PassedThrough => "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    };
    let mut raw = Raw::connect(address).await;
    let sent = raw.try_write(format!(
        "POST {target} HTTP/1.1\r\nHost: weir.test\r\nContent-Type: application/json\r\n\
         Connection: close\r\n{body}"
    ));
    let _ = sent.await;
    match raw.try_response().await {
        Some(backend_response) => (backend_response.status, backend_response.text()),
        None => (0, String::new()),
    }
}

/// Whether an HTTP/2 client can send the target unmodified.
fn fits_http2(target: &str) -> bool {
    let uri = format!("http://weir.test{target}").parse::<http::Uri>();
    target.starts_with('/')
        && uri.is_ok_and(|uri| {
            uri.path_and_query()
                .is_some_and(|all| all.as_str() == target)
        })
}

/// The results of all variants for one server.
#[derive(Debug, Default)]
struct VariantCounts {
    /// The number of responses by status.
    statuses: BTreeMap<u16, usize>,
    /// The variants that the protected handler answered.
    answered: Vec<String>,
}

impl VariantCounts {
    fn add(&mut self, how: &str, target: &str, status: u16, body: &str) {
        *self.statuses.entry(status).or_default() += 1;
        if body.contains(RESPONSE) {
            self.answered.push(format!("{how} {target:?}"));
        }
    }
}

async fn send_through_weir(proxy: &Proxy) -> VariantCounts {
    let mut counts = VariantCounts::default();
    for target in path_variants::of(CHAT) {
        for mode in [BodyMode::Buffered, BodyMode::PassedThrough] {
            let (status, body) = send_raw(proxy.address(), &target, mode).await;
            counts.add(&format!("HTTP/1.1 {mode:?}"), &target, status, &body);
        }
    }
    let mut client = Client::h2(proxy.address()).await;
    for target in path_variants::of(CHAT)
        .iter()
        .filter(|target| fits_http2(target))
    {
        for request in [
            ClientRequest::post(target, "{}"),
            ClientRequest::chunked(target, b"{}", 1),
        ] {
            let response = client.send(request).await;
            counts.add("HTTP/2", target, response.status, &response.text());
        }
    }
    counts
}

/// Every server without weir first: the variants that its router accepts are those that weir must protect.
async fn assert_protected(frameworks: &Frameworks) {
    let each = frameworks.servers.iter().map(|(name, address)| async move {
        let mut bare = VariantCounts::default();
        for target in path_variants::of(CHAT) {
            let (status, body) = send_raw(*address, &target, BodyMode::Buffered).await;
            bare.add("bare", &target, status, &body);
        }
        let endpoint = format!("http://{address}");
        let proxy = Setup::without_backend()
            .backend("assistant", &[endpoint], &[])
            .routes(OPEN_AROUND_SIGNED)
            .start()
            .await;
        let signed = ClientRequest::post(CHAT, "{}").headers(sign::sign_hmac_now("s3cret", b"{}"));
        let response = proxy.send(signed).await;
        assert_eq!(
            (response.status, &*response.text()),
            (200, RESPONSE),
            "{name}, signed"
        );
        (name, bare, send_through_weir(&proxy).await)
    });
    for (name, bare, counts) in join_all(each).await {
        assert!(
            bare.answered.len() >= 20,
            "{name} itself accepts only {} variants, too few for a test",
            bare.answered.len()
        );
        assert_eq!(
            counts.answered,
            Vec::<String>::new(),
            "{name}: {:?}",
            counts.statuses
        );
        // Rejected for the signature, malformed, or no variant and forwarded.
        for status in [400, 401, 404] {
            let received = counts.statuses.get(&status).copied().unwrap_or_default();
            assert!(received >= 10, "{name}: {status} {:?}", counts.statuses);
        }
    }
}

#[tokio::test]
async fn path_variants_do_not_bypass_signatures_in_front_of_python() {
    let test = "path variants in front of FastAPI, Flask and Django";
    if let Some(frameworks) = Frameworks::of_python(test).await {
        assert_protected(&frameworks).await;
    }
}

#[tokio::test]
async fn path_variants_do_not_bypass_signatures_in_front_of_node() {
    let test = "path variants in front of Express and Koa";
    if let Some(frameworks) = Frameworks::of_node(test).await {
        assert_protected(&frameworks).await;
    }
}

#[tokio::test]
async fn a_signed_path_variant_is_forwarded_unchanged() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(OPEN_AROUND_SIGNED)
        .start()
        .await;
    let variant = "/v1/chat%2Fcompletions";
    let unsigned = proxy.send(ClientRequest::post(variant, "{}")).await;
    assert_eq!(
        (unsigned.status, unsigned.rejection()),
        (401, "signature_missing".to_owned())
    );
    assert_eq!(proxy.event_of(&unsigned).await["route"], "chat");
    backend.assert_untouched();
    let headers = sign::sign_hmac_now("s3cret", b"{}");
    let signed = proxy
        .send(ClientRequest::post(variant, "{}").headers(headers))
        .await;
    assert_eq!(signed.status, 200);
    assert_eq!(backend.only_request().target, variant);
    let event = proxy.event_of(&signed).await;
    assert_eq!(
        (&event["route"], &event["url"]["path"]),
        (&"chat".into(), &variant.into())
    );
    // Not a variant of a protected path.
    let other = proxy
        .send(ClientRequest::get("/v1/models/Qwen%2FQwen2.5-7B"))
        .await;
    assert_eq!(other.status, 200);
    assert_eq!(backend.requests()[1].target, "/v1/models/Qwen%2FQwen2.5-7B");
}

#[tokio::test]
async fn explicitly_open_routes_stay_open_and_methods_are_respected() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- {name: health, path: /health, backend: assistant}
- {name: docs, path: /docs/*, backend: assistant}
- {name: write, path: /items, methods: [POST], backend: assistant, signature: {scheme: hmac, secrets: [s]}}
- {name: read, path: /items, methods: [GET], backend: assistant}
- {name: inside, path: /inside, backend: assistant, allow: [10.0.0.0/8]}
- {name: shelf, path: /shelf/*, backend: assistant}
- {name: rest, path: /*, backend: assistant, signature: {scheme: bearer, secrets: [k]}}
",
        )
        .start()
        .await;
    for (method, path, status, route) in [
        ("GET", "/health", 200, "health"),
        ("GET", "/docs/", 200, "docs"),
        ("GET", "/docs/A%2FB", 200, "docs"),
        ("GET", "/Health", 401, "rest"),
        ("GET", "/docs/%252e%252e/secret", 401, "rest"),
        ("POST", "/ITEMS", 401, "write"),
        ("DELETE", "/ITEMS", 405, "rest"),
        ("GET", "/items", 200, "read"),
        ("GET", "/shelf/%252e%252e/inside", 403, "inside"),
        ("GET", "/shelf/%252e%252e%252fitems", 200, "shelf"),
    ] {
        let response = proxy.send(ClientRequest::new(method, path)).await;
        assert_eq!(response.status, status, "{method} {path}");
        let event = proxy.event_of(&response).await;
        assert_eq!(event["route"], route, "{method} {path}");
    }
}

#[tokio::test]
async fn invalid_paths_and_configured_encoded_slashes_are_rejected() {
    let backend = Backend::echo().await;
    let keep = Setup::open(&backend).start().await;
    let reject = Setup::open(&backend)
        .top("paths: {encoded_slash: reject}")
        .start()
        .await;
    let bad = [
        "/a\\b",
        "/a%5Cb",
        "/a%5cb",
        "/a%00",
        "/a%0a",
        "/a%0D%0Ab",
        "/a%1f",
        "/a%7F",
        "/a%C2%85",
        "/caf\u{e9}",
        "/\u{4f60}\u{597d}?q=1",
        "/a\tb",
    ];
    for target in bad {
        for mode in [BodyMode::Buffered, BodyMode::PassedThrough] {
            let (status, body) = send_raw(keep.address(), target, mode).await;
            assert_eq!(status, 400, "{target:?}: {body}");
        }
        if fits_http2(target) {
            let response = Client::h2(keep.address())
                .await
                .send(ClientRequest::get(target))
                .await;
            assert_eq!(response.status, 400, "HTTP/2 {target:?}");
        }
    }
    backend.assert_untouched();
    for (target, if_kept, if_rejected) in [
        ("/models/Qwen%2FQwen2.5-7B", 200, 400),
        ("/models/a%2fb", 200, 400),
        ("/caf%C3%A9/a%20b", 200, 200),
        ("/a?x=%2F%5C%0a", 200, 200),
    ] {
        for mode in [BodyMode::Buffered, BodyMode::PassedThrough] {
            assert_eq!(
                send_raw(keep.address(), target, mode).await.0,
                if_kept,
                "{target}"
            );
            assert_eq!(
                send_raw(reject.address(), target, mode).await.0,
                if_rejected,
                "{target}"
            );
        }
    }
}
