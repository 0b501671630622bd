//! Routing: the selected route, client and address, and the headers that report them to the backend.

use serde_json::Value;
use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;

mod path_variants;
mod trace;

#[tokio::test]
async fn the_first_matching_route_is_used() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- {name: chat, path: /v1/chat/completions, methods: [POST], backend: assistant}
- {name: models, path: /v1/models, methods: [GET, HEAD], backend: assistant}
- {name: models-write, path: /v1/models, methods: [PUT], backend: assistant}
- {name: v1, path: /v1/*, backend: assistant}
- {name: late, path: /v1/late, backend: assistant, platform: never}
",
        )
        .start()
        .await;
    for (method, path, route) in [
        ("POST", "/v1/chat/completions", "chat"),
        ("POST", "/v1/chat/completions?a=b", "chat"),
        ("GET", "/v1/models", "models"),
        ("PUT", "/v1/models", "models-write"),
        ("GET", "/v1/models/glm-4", "v1"),
        ("GET", "/v1/chat/completions/", "v1"),
        ("PATCH", "/v1/", "v1"),
        ("GET", "/v1/late", "v1"),
    ] {
        let client_response = proxy.send(ClientRequest::new(method, path)).await;
        assert_eq!(client_response.status, 200, "{method} {path}");
        let event = proxy.event_of(&client_response).await;
        assert_eq!(event["route"], route, "{method} {path}");
        assert_eq!(event["platform"], "api");
    }
    for path in ["/", "/v1", "/V1/models", "/other"] {
        let client_response = proxy.send(ClientRequest::get(path)).await;
        assert_eq!(
            (client_response.status, client_response.rejection().as_str()),
            (404, "no_route")
        );
        assert_eq!(
            proxy.event_of(&client_response).await["route"],
            "none",
            "{path}"
        );
    }
    let output = proxy.stderr();
    assert!(output.contains("never be reached"), "no warning: {output}");
}

#[tokio::test]
async fn a_disallowed_method_does_not_fall_through_to_a_wider_route() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- {name: chat, path: /v1/chat/completions, methods: [POST], backend: assistant}
- {name: models, path: /v1/models, methods: [GET, HEAD], backend: assistant}
- {name: models-write, path: /v1/models, methods: [PUT], backend: assistant}
- {name: all, path: /*, backend: assistant}
",
        )
        .start()
        .await;
    for (method, path, allowed) in [
        ("GET", "/v1/chat/completions", vec!["POST"]),
        ("post", "/v1/chat/completions", vec!["POST"]),
        ("DELETE", "/v1/models", vec!["GET", "HEAD", "PUT"]),
    ] {
        let client_response = proxy.send(ClientRequest::new(method, path)).await;
        assert_eq!(client_response.status, 405, "{method} {path}");
        assert_eq!(client_response.rejection(), "method_not_allowed");
        let allow = client_response.header("allow").expect("an Allow");
        let mut named: Vec<&str> = allow.split(',').map(str::trim).collect();
        named.sort_unstable();
        assert_eq!(named, allowed);
        let event = proxy.event_of(&client_response).await;
        assert_eq!(event["error_code"], "method_not_allowed");
    }
    backend.assert_untouched();
}

#[tokio::test]
async fn path_variants_do_not_reach_other_routes() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "
- {name: private, path: /private/*, backend: assistant, allow: [\"10.0.0.0/8\"]}
- {name: private-exact, path: /private, backend: assistant, allow: [\"10.0.0.0/8\"]}
- {name: public, path: /public/*, backend: assistant}
",
        )
        .start()
        .await;
    let path_variants = [
        "/public/../private/x",
        "/public/%2e%2e/private/x",
        "/public/%2E%2e/private/x",
        "/public/.%2e/private/x",
        "/public/..%2fprivate/x",
        "/public/..%2Fprivate/x",
        "/public/%2e%2e%2fprivate%2fx",
        "/public/%252e%252e/private/x",
        "/public//../private/x",
        "/public/./../private/x",
        "/public/x/../../private/x",
        "/public/\\..\\private/x",
        "/public/..\\private/x",
        "/public/%5c../private/x",
        "/public/%c0%ae%c0%ae/private/x",
        "/public/%e0%80%ae%e0%80%ae/private/x",
        "/public/%00/../../private/x",
        "/public/%00",
        "/public/%",
        "/public/%zz",
        "/public/x%0d%0aX-Evil:%20y",
        "//private/x",
        "/./private/x",
        "/%70rivate/x",
        "/private%2fx",
        "/private/%2e/x",
        "http://weir.test/public/../private/x",
        "http://weir.test//private/x",
        "*",
        "private/x",
    ];
    for variant in path_variants {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(format!("GET {variant} HTTP/1.1\r\nHost: weir.test\r\n\r\n"))
            .await;
        let status = raw.response().await.status;
        assert!(
            [200, 400, 403, 404].contains(&status),
            "{variant}: {status}"
        );
    }
    for received in backend.requests() {
        let read = lenient_path(&received.target);
        assert!(
            read.starts_with("/public/"),
            "{:?} would be read as {read:?}",
            received.target
        );
    }
    backend.assert_faultless();
    assert_eq!(
        proxy.send(ClientRequest::get("/private/x")).await.status,
        403
    );
    assert_eq!(
        proxy.send(ClientRequest::get("/public/x")).await.status,
        200
    );
}

/// Decodes once and resolves dots and slashes in both directions: how a typical server reads a target.
fn lenient_path(target: &str) -> String {
    let mut decoded = Vec::new();
    let bytes = target.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = target
            .get(at + 1..at + 3)
            .filter(|_| bytes[at] == b'%')
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(escaped.unwrap_or(bytes[at]));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    let text = decoded
        .iter()
        .map(|byte| char::from(*byte))
        .collect::<String>()
        // Overlong UTF-8 for a dot, as accepted by old decoders.
        .replace("\u{c0}\u{ae}", ".")
        .replace("\u{e0}\u{80}\u{ae}", ".")
        .replace('\\', "/");
    let mut segments: Vec<&str> = Vec::new();
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            segment => segments.push(segment),
        }
    }
    format!("/{}/", segments.join("/"))
}

const ROUTE_FOR_TEN: &str =
    "- {name: inner, path: /*, backend: assistant, allow: [\"10.0.0.0/8\", \"fd00::/8\"]}";

async fn send_forwarded(proxy: &Proxy, forwarded: &[&str]) -> (u16, Value) {
    let mut request = ClientRequest::get("/");
    for value in forwarded {
        request = request.header("x-forwarded-for", value);
    }
    let client_response = proxy.send(request).await;
    let event = proxy.event_of(&client_response).await;
    (client_response.status, event)
}

#[tokio::test]
async fn forwarded_addresses_are_trusted_up_to_the_first_untrusted() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend).routes(ROUTE_FOR_TEN).start().await;
    for (forwarded, status, client) in [
        (&["10.1.2.3"][..], 200, "10.1.2.3"),
        (&["6.6.6.6, 10.1.2.3"], 200, "10.1.2.3"),
        (&["6.6.6.6", "10.1.2.3"], 200, "10.1.2.3"),
        (&["10.1.2.3, 127.0.0.9"], 200, "10.1.2.3"),
        (&["10.1.2.3, 6.6.6.6"], 403, "6.6.6.6"),
        (&["fd00::1"], 200, "fd00::1"),
        (&["10.1.2.3, nonsense"], 403, "127.0.0.1"),
        (&[], 403, "127.0.0.1"),
    ] {
        let (answered, event) = send_forwarded(&proxy, forwarded).await;
        assert_eq!(answered, status, "{forwarded:?}");
        assert_eq!(event["client"]["ip"], client, "{forwarded:?}");
        if status == 403 {
            assert_eq!(event["error_code"], "address_denied");
        }
    }
    let reported = backend.requests();
    assert_eq!(reported.len(), 5);
    let reported = reported[0].header("x-forwarded-for").expect("a chain");
    assert!(reported.starts_with("10.1.2.3"), "{reported}");
}

#[tokio::test]
async fn untrusted_clients_cannot_forward_addresses() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes("- {name: local, path: /local, backend: assistant}")
        .routes(ROUTE_FOR_TEN)
        .top("trusted_proxies: []")
        .start()
        .await;
    let (status, event) = send_forwarded(&proxy, &["10.1.2.3"]).await;
    assert_eq!((status, &event["client"]["ip"]), (403, &"127.0.0.1".into()));
    backend.assert_untouched();
    let request = ClientRequest::get("/local")
        .header("x-forwarded-for", "10.1.2.3")
        .header("x-forwarded-for", "10.1.2.4")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", "evil.test")
        .header("x-request-id", "forged")
        .header("x-weir-client", "admin")
        .header("x-weir-platform", "forged");
    let client_response = proxy.send(request).await;
    let received = backend.only_request();
    assert_eq!(received.all("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(received.all("x-forwarded-proto"), ["http"]);
    assert_eq!(received.all("x-forwarded-host"), ["weir.test"]);
    let id = client_response.header("x-request-id").expect("an id");
    assert_eq!(id.len(), 26, "a ULID");
    assert_eq!(received.all("x-request-id"), [id]);
    assert_eq!(received.all("x-weir-platform"), ["api"]);
    assert!(!received.all("x-weir-client").contains(&"admin"));
}

#[tokio::test]
async fn addresses_that_embed_ipv4_are_treated_as_ipv4() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: inner, path: /*, backend: assistant, allow: [\"10.0.0.0/8\"], \
             rate_limits: [{name: each, rate: 1/h, burst: 4, by: address}]}",
        )
        .top("trusted_proxies: [\"127.0.0.0/8\", \"10.9.0.0/16\"]")
        .start()
        .await;
    for (forwarded, status, client) in [
        ("10.1.2.3", 200, "10.1.2.3"),
        ("::ffff:10.1.2.3", 200, "10.1.2.3"),
        ("64:ff9b::10.1.2.3", 200, "10.1.2.3"),
        ("64:ff9b:1::10.1.2.3", 200, "10.1.2.3"),
        // The fifth of one address.
        ("[64:ff9b:1:77::a01:203]:443", 429, "10.1.2.3"),
        ("64:ff9b::6.6.6.6", 403, "6.6.6.6"),
        ("64:ff9b:2::10.1.2.3", 403, "64:ff9b:2::a01:203"),
        // The address is in an allowed network, but there is no trusted proxy in front.
        ("6.6.6.6, 64:ff9b::10.9.0.1", 200, "10.9.0.1"),
        ("6.6.6.6, ::ffff:10.9.0.2", 200, "10.9.0.2"),
        ("6.6.6.6, 10.9.0.3", 403, "6.6.6.6"),
    ] {
        let (answered, event) = send_forwarded(&proxy, &[forwarded]).await;
        assert_eq!(
            (answered, &event["client"]["ip"]),
            (status, &client.into()),
            "{forwarded}"
        );
    }
}
