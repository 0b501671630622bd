//! The cache key: which requests are equal, and which are answered from the cache at all.

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest, chat_request};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::{bearer, sign_hmac_now, sign_simple_sha256, unix_now};

use super::{CACHED, is_hit, start};

/// A route for a single path, and one for all others.
const EXACT: &str = "
- {name: ask, path: /ask, backend: assistant,
   cache: {answers: true, memory: 8MiB, ttl: 1h, scope: route}}
- {name: batches, path: /v1/batches, backend: assistant,
   cache: {answers: true, memory: 8MiB, ttl: 1h, scope: route}}
";

/// A chat response that contains the request headers.
async fn header_echo() -> Backend {
    Backend::responding(|received| BackendResponse::chat(&format!("{:?}", received.headers))).await
}

/// Sends the first headers twice and each of the others once; returns which were hits.
async fn send_and_collect_hits(proxy: &Proxy, asks: Vec<ClientRequest>) -> Vec<bool> {
    let mut send_and_collect_hits = Vec::new();
    for request in asks {
        send_and_collect_hits.push(is_hit(&proxy.send(request).await));
    }
    send_and_collect_hits
}

#[tokio::test]
async fn a_response_fetched_with_one_key_is_not_served_to_another() {
    let backend = header_echo().await;
    let proxy = start(&backend).await;
    for name in [
        "x-litellm-api-key",
        "x-goog-api-key",
        "ocp-apim-subscription-key",
        "apikey",
        "api-key",
        "x-api-key",
        "authorization",
        "cookie",
        "x-tenant-id",
        "x-forwarded-user",
        "x-some-gateway-nobody-heard-of",
    ] {
        let request = |value: Option<&str>| {
            let request = ClientRequest::chat(&format!("a question with {name}"));
            match value {
                Some(value) => request.header(name, value),
                None => request,
            }
        };
        let requested = vec![
            request(Some("A")),
            request(Some("B")),
            request(None),
            request(Some("A")),
            request(Some("A, B")),
            request(Some("")),
            request(Some("B")),
        ];
        let expected = [false, false, false, true, false, false, true];
        assert_eq!(
            send_and_collect_hits(&proxy, requested).await,
            expected,
            "{name}"
        );
    }
}

#[tokio::test]
async fn irrelevant_headers_do_not_change_the_key() {
    let backend = Backend::chat().await;
    let proxy = start(&backend).await;
    assert!(!is_hit(&proxy.send(ClientRequest::chat("hi")).await));
    for (name, value) in [
        ("accept", "*/*"),
        ("accept", "application/json"),
        ("accept", "application/json, text/plain, */*"),
        ("accept-encoding", "gzip, deflate, br, zstd"),
        ("accept-encoding", "identity"),
        ("accept-encoding", "*;q=0"),
        ("user-agent", "OpenAI/Python 3.57"),
        ("x-stainless-retry-count", "2"),
        (
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        ("baggage", "a=b"),
        ("x-b3-traceid", "463ac35c9f6413ad"),
        ("x-request-id", "one"),
        ("x-correlation-id", "two"),
        ("date", "Sun, 29 Nov 2026 08:00:00 GMT"),
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "https"),
        ("idempotency-key", "three"),
        ("connection", "keep-alive"),
    ] {
        let response = proxy
            .send(ClientRequest::chat("hi").header(name, value))
            .await;
        assert!(is_hit(&response), "{name}: {value}");
    }
    let body = chat_request("hi", false).to_string();
    for kind in ["application/json; charset=utf-8", "Application/JSON"] {
        let request =
            ClientRequest::post("/v1/chat/completions", body.clone()).header("content-type", kind);
        assert!(is_hit(&proxy.send(request).await), "{kind}");
    }
    let events = || ClientRequest::chat("hi").header("accept", "text/event-stream");
    assert_eq!(
        send_and_collect_hits(&proxy, vec![events(), events()]).await,
        [false, true]
    );
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn the_order_of_headers_does_not_change_the_key() {
    let backend = Backend::chat().await;
    let proxy = start(&backend).await;
    let request = |order: [(&str, &str); 3]| {
        order
            .iter()
            .fold(ClientRequest::chat("hi"), |request, (name, value)| {
                request.header(name, value)
            })
    };
    let (tenant, region, key) = (("x-tenant", "a"), ("x-region", "b"), ("x-key", "c"));
    let requested = vec![
        request([tenant, region, key]),
        request([key, tenant, region]),
        request([region, key, tenant]),
        request([("x-tenant", "b"), region, ("x-key", "a")]),
    ];
    assert_eq!(
        send_and_collect_hits(&proxy, requested).await,
        [false, true, true, false]
    );
}

#[tokio::test]
async fn only_forwarded_headers_are_part_of_the_key() {
    let backend = header_echo().await;
    let proxy = start(&backend).await;
    let request = |connection: Option<&str>| {
        let request = ClientRequest::chat("hi").header("x-tenant", "a");
        match connection {
            Some(options) => request.header("connection", options),
            None => request,
        }
    };
    // Named in `Connection` it is not forwarded, and the response does not contain it.
    let requested = vec![
        request(Some("x-tenant")),
        request(None),
        ClientRequest::chat("hi"),
        request(None),
    ];
    assert_eq!(
        send_and_collect_hits(&proxy, requested).await,
        [false, false, true, true]
    );
}

#[tokio::test]
async fn configured_backend_headers_are_not_part_of_the_key() {
    let backend = header_echo().await;
    let own = ["request_headers: {Authorization: Bearer of-the-assistant}"];
    let proxy = Setup::new(&backend)
        .backend_options(&own)
        .routes(CACHED)
        .start()
        .await;
    let request = |key: &str| ClientRequest::chat("hi").header("authorization", key);
    let requested = vec![
        request("Bearer one"),
        request("Bearer other"),
        ClientRequest::chat("hi"),
    ];
    assert_eq!(
        send_and_collect_hits(&proxy, requested).await,
        [false, true, true]
    );
    let received = backend.only_request();
    assert_eq!(
        received.header("authorization"),
        Some("Bearer of-the-assistant")
    );
}

#[tokio::test]
async fn headers_may_be_ignored_by_name() {
    let backend = Backend::chat().await;
    let route = CACHED.replace(
        "scope: route",
        "scope: route, ignore_headers: [X-Session-Id]",
    );
    let proxy = Setup::new(&backend).routes(&route).start().await;
    let request = |name: &str, value: &str| ClientRequest::chat("hi").header(name, value);
    let requested = vec![
        request("x-session-id", "1"),
        request("x-session-id", "2"),
        request("x-tenant", "1"),
        request("x-tenant", "2"),
    ];
    assert_eq!(
        send_and_collect_hits(&proxy, requested).await,
        [false, true, false, false]
    );
}

#[tokio::test]
async fn verified_signatures_are_not_part_of_the_key() {
    let backend = Backend::chat().await;
    let prompt = chat_request("hi", false);
    let text = prompt.to_string();
    let signed = |scheme: &str, before: u64| match scheme {
        "hmac" => sign_hmac_now("a-secret-of-web", text.as_bytes()),
        _ => sign_simple_sha256("a-simple-secret", unix_now() - before),
    };
    for (scheme, signature) in [
        (
            "hmac",
            "{scheme: hmac, clients: [{name: web, secrets: [a-secret-of-web]}]}",
        ),
        (
            "simple_sha256",
            "{scheme: simple_sha256, secrets: [a-simple-secret]}",
        ),
    ] {
        let route = CACHED.replace(
            "{name: chat,",
            &format!("{{name: chat, signature: {signature},"),
        );
        let proxy = Setup::new(&backend).routes(&route).start().await;
        for (before, hit) in [(10, false), (20, true)] {
            let request = ClientRequest::json("/v1/chat/completions", &prompt)
                .headers(signed(scheme, before));
            assert_eq!(is_hit(&proxy.send(request).await), hit, "{scheme}");
        }
    }
    let route = CACHED.replace(
        "{name: chat,",
        "{name: chat, signature: {scheme: bearer, clients: [{name: a, secrets: [sk-a-0123456789]}, \
         {name: b, secrets: [sk-b-0123456789]}]},",
    );
    let proxy = Setup::new(&backend).routes(&route).start().await;
    for (key, hit) in [("sk-a-0123456789", false), ("sk-b-0123456789", true)] {
        let request = ClientRequest::json("/v1/chat/completions", &prompt).headers(bearer(key));
        assert_eq!(is_hit(&proxy.send(request).await), hit, "{key}");
    }
}

/// Requests that create or change something, or depend on earlier ones.
fn stateful_requests() -> Vec<(&'static str, Value)> {
    vec![
        ("/v1/responses", json!({"model": "m", "input": "a"})),
        (
            "/v1/responses",
            json!({"model": "m", "input": "a", "store": true}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "a", "store": false, "previous_response_id": "resp_1"}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "a", "store": false, "conversation": "conv_1"}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "a", "store": false, "background": true}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "a", "store": false, "tools": [{"type": "web_search"}]}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "store": false, "input": [{"type": "item_reference", "id": "m"}]}),
        ),
        (
            "/v1/sessions/s/messages",
            json!({"model": "m", "messages": []}),
        ),
        (
            "/v1/queue/chat/completions",
            json!({"model": "m", "messages": []}),
        ),
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [], "store": true}),
        ),
        ("/v1/files", json!({"purpose": "batch"})),
        ("/v1/uploads", json!({"filename": "a"})),
        ("/v1/batches", json!({"endpoint": "/v1/chat/completions"})),
        ("/v1/messages/batches", json!({"requests": []})),
        ("/v1/threads", json!({})),
        (
            "/v1/threads/t/messages",
            json!({"role": "user", "content": "a"}),
        ),
        ("/v1/threads/t/runs", json!({"assistant_id": "a"})),
        ("/v1/assistants", json!({"model": "m"})),
        ("/v1/vector_stores", json!({"name": "a"})),
        ("/v1/fine_tuning/jobs", json!({"model": "m"})),
        ("/v1/conversations", json!({})),
        ("/v1/containers", json!({"name": "a"})),
        ("/v1/evals", json!({"name": "a"})),
        (
            "/v1/images/generations",
            json!({"model": "m", "prompt": "a"}),
        ),
        ("/v1/audio/speech", json!({"model": "m", "input": "a"})),
        ("/v1/videos", json!({"model": "m", "prompt": "a"})),
        ("/v1/some_new_objects", json!({"name": "a"})),
    ]
}

#[tokio::test]
async fn stateful_requests_are_never_answered_from_the_cache() {
    let backend = Backend::responding(|_| BackendResponse::chat("done")).await;
    let proxy = Setup::new(&backend)
        .routes(EXACT)
        .routes(CACHED)
        .start()
        .await;
    for (path, body) in stateful_requests() {
        for _ in 0..2 {
            let response = proxy.send(ClientRequest::json(path, &body)).await;
            let status = response.header("cache-status");
            assert_eq!(status, Some("weir; fwd=bypass"), "{path} {body}");
        }
    }
    let chat = ClientRequest::json("/ask", &json!({"question": "a"}));
    let again = ClientRequest::json("/ask", &json!({"question": "a"}));
    assert_eq!(
        send_and_collect_hits(&proxy, vec![chat, again]).await,
        [false, true],
        "named by its path"
    );
}

#[tokio::test]
async fn responses_are_not_shared_between_hosts() {
    let backend = Backend::responding(|received| {
        BackendResponse::chat(received.header("x-forwarded-host").unwrap_or("nobody"))
    })
    .await;
    let proxy = Setup::buffered(&backend).start().await;
    let prompt = chat_request("who am I", false);
    let request = |host: &str, from: &str| {
        let request = ClientRequest::json("/v1/chat/completions", &prompt).header("host", host);
        request.header("x-forwarded-for", from)
    };
    for (host, from, hit) in [
        ("one.test", "192.0.2.1", false),
        ("two.test", "192.0.2.1", false),
        ("one.test:8080", "192.0.2.1", false),
        ("one.test", "192.0.2.2", true),
        ("two.test", "192.0.2.3", true),
    ] {
        let response = proxy.send(request(host, from)).await;
        assert_eq!(
            (
                is_hit(&response),
                &response.json()["choices"][0]["message"]["content"]
            ),
            (hit, &host.into()),
            "{host}"
        );
    }
    // Over HTTP/2 the host is in `:authority`.
    let mut client = Client::h2(proxy.address()).await;
    for (host, hit) in [
        ("one.test", true),
        ("three.test", false),
        ("three.test", true),
    ] {
        let response = client.send(request(host, "192.0.2.9")).await;
        assert_eq!(
            (
                is_hit(&response),
                &response.json()["choices"][0]["message"]["content"]
            ),
            (hit, &host.into()),
            "{host}"
        );
    }
}
