//! Cached responses: which clients get them, and that they are byte-identical.

use serde_json::json;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{CHAT, Client, ClientRequest, ClientResponse, chat_request};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::bearer;
use weir_tests::wait;

mod coalescing;
mod codings;
mod http;
mod http_cache_tests;
mod ignore_unless;
mod key;
mod purge;
mod redis;
mod shared_failures;
mod slow_leader;
mod stored;
mod stream_end;

const CACHED: &str = "- {name: chat, path: /v1/*, backend: assistant, \
                      cache: {answers: true, memory: 8MiB, ttl: 1h, scope: route}}";

async fn start(backend: &Backend) -> Proxy {
    // A request that the test drops is not sent again.
    Setup::new(backend)
        .backend_options(&["retry: {attempts: 1}"])
        .routes(CACHED)
        .start()
        .await
}

fn is_hit(response: &ClientResponse) -> bool {
    let status = response.header("cache-status").expect("a Cache-Status");
    assert!(status.starts_with("weir; "), "{status}");
    status.split(';').any(|part| part.trim() == "hit")
}

#[tokio::test]
async fn equal_requests_get_the_cached_response() {
    let backend = Backend::chat().await;
    let proxy = start(&backend).await;
    let miss = proxy.send(ClientRequest::chat("what is a weir?")).await;
    assert!(!is_hit(&miss));
    assert_eq!(miss.header("age"), None);
    let hit = proxy.send(ClientRequest::chat("what is a weir?")).await;
    assert!(is_hit(&hit));
    assert_eq!(hit.header("cache-status"), Some("weir; hit; detail=memory"));
    assert!(
        hit.header("age")
            .is_some_and(|age| age.parse::<u64>().is_ok())
    );
    assert_eq!(hit.body, miss.body);
    assert_eq!(hit.header("content-type"), miss.header("content-type"));
    assert_ne!(hit.header("x-request-id"), miss.header("x-request-id"));
    assert_eq!(backend.requests().len(), 1);
    let missed = proxy.event_of(&miss).await;
    assert_eq!(missed["weir"]["cache"]["outcome"], "miss");
    let event = proxy.event_of(&hit).await;
    assert_eq!(event["weir"]["cache"]["outcome"], "hit");
    assert_eq!(event["weir"]["cache"]["tier"], "memory");
    for outcome in ["hit", "miss"] {
        let labels = [("route", "chat"), ("outcome", outcome)];
        assert_metric(proxy.admin(), "weir_cache_lookups_total", &labels, 1.0).await;
    }
    let bytes = proxy
        .metrics()
        .await
        .sum("weir_cache_bytes", &[("tier", "memory")]);
    assert!(bytes >= miss.body.len() as f64, "{bytes}");
}

#[tokio::test]
async fn key_order_and_white_space_do_not_change_the_key() {
    let backend = Backend::chat().await;
    let proxy = start(&backend).await;
    let request = |body: &str| {
        ClientRequest::post(CHAT, body.to_owned()).header("content-type", "application/json")
    };
    let path_variants = [
        r#"{"model":"glm-4","temperature":0.5,"messages":[{"role":"user","content":"hi"}]}"#,
        r#"{"messages":[{"content":"hi","role":"user"}],"temperature":0.5,"model":"glm-4"}"#,
        "{ \"model\" : \"glm-4\",\n\t\"temperature\": 0.5, \"messages\": [ { \"role\": \"user\", \"content\": \"hi\" } ] }",
        r#"{"model":"glm-4","temperature":0.5,"messages":[{"role":"user","content":"\u0068i"}]}"#,
    ];
    for (number, body) in path_variants.iter().enumerate() {
        let response = proxy.send(request(body)).await;
        assert_eq!(is_hit(&response), number > 0, "{body}");
    }
    assert_eq!(backend.requests().len(), 1);
}

#[tokio::test]
async fn everything_that_changes_a_response_changes_the_key() {
    let backend = Backend::chat().await;
    let proxy = start(&backend).await;
    let mut others = vec![
        ClientRequest::chat("hi"),
        ClientRequest::chat("Hi"),
        ClientRequest::chat("hi "),
        ClientRequest::chat_stream("hi"),
    ];
    let mut body = chat_request("hi", false);
    for (key, value) in [
        ("model", json!("glm-4-plus")),
        ("temperature", json!(0)),
        ("temperature", json!(1)),
        ("user", json!("someone")),
        ("seed", json!(9_007_199_254_740_993_u64)),
        ("seed", json!(9_007_199_254_740_992_u64)),
    ] {
        body[key] = value;
        others.push(ClientRequest::json(CHAT, &body));
    }
    others.push(ClientRequest::json(
        "/v1/chat/completions?beta=1",
        &chat_request("hi", false),
    ));
    others.push(ClientRequest::json(
        "/v1/completions",
        &chat_request("hi", false),
    ));
    let count = others.len();
    for (number, request) in others.into_iter().enumerate() {
        assert!(!is_hit(&proxy.send(request).await), "question {number}");
    }
    assert_eq!(backend.requests().len(), count);
}

#[tokio::test]
async fn a_stored_stream_is_replayed_as_a_stream() {
    let backend = Backend::chat().await;
    let proxy = start(&backend).await;
    let miss = proxy.send(ClientRequest::chat_stream("hi")).await;
    assert!(!is_hit(&miss));
    let mut client = Client::h1(proxy.address()).await;
    let streaming = client.open(ClientRequest::chat_stream("hi")).await;
    assert_eq!(streaming.header("content-type"), Some("text/event-stream"));
    let hit = streaming.whole().await;
    assert!(is_hit(&hit));
    assert_eq!(hit.body, miss.body);
    assert!(hit.text().ends_with("data: [DONE]\n\n"));
    // Over the other protocol as well.
    let mut client = Client::h2(proxy.address()).await;
    let hit = client.send(ClientRequest::chat_stream("hi")).await;
    assert!(is_hit(&hit));
    assert_eq!(hit.body, miss.body);
    assert_eq!(backend.requests().len(), 1);
    let event = proxy.event_of(&hit).await;
    assert_eq!(event["gen_ai"]["request"]["stream"], true);
}

#[tokio::test]
async fn clients_share_cached_responses_only_if_configured() {
    let backend = Backend::chat().await;
    let route = |name: &str, path: &str, scope: &str| {
        format!(
            "
- name: {name}
  path: {path}
  backend: assistant
  signature:
    scheme: bearer
    clients:
      - {{name: one, secrets: [sk-one-0123456789]}}
      - {{name: two, secrets: [sk-two-0123456789]}}
  cache: {{answers: true, memory: 8MiB, ttl: 1h, scope: {scope}}}
"
        )
    };
    let proxy = Setup::new(&backend)
        .routes(&route("own", "/own", "client"))
        .routes(&route("shared", "/shared", "route"))
        .start()
        .await;
    let prompt = chat_request("my secret plan", false);
    for (path, key, hit) in [
        ("/own", "sk-one-0123456789", false),
        ("/own", "sk-two-0123456789", false),
        ("/own", "sk-one-0123456789", true),
        ("/own", "sk-two-0123456789", true),
        ("/shared", "sk-one-0123456789", false),
        ("/shared", "sk-two-0123456789", true),
    ] {
        let response = proxy
            .send(ClientRequest::json(path, &prompt).headers(bearer(key)))
            .await;
        assert_eq!(is_hit(&response), hit, "{path} {key}");
    }
    // A hit does not bypass the signature.
    let unsigned = proxy.send(ClientRequest::json("/shared", &prompt)).await;
    assert_eq!(unsigned.status, 401);
}

#[tokio::test]
async fn cache_hits_count_against_the_limits() {
    let backend = Backend::chat().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: chat, path: /v1/*, backend: assistant, \
             rate_limits: [{name: two, rate: 1/h, burst: 2, by: route}], \
             cache: {answers: true, memory: 8MiB, ttl: 1h, scope: route}}",
        )
        .start()
        .await;
    for status in [200, 200, 429] {
        assert_eq!(proxy.send(ClientRequest::chat("hi")).await.status, status);
    }
}

#[tokio::test]
async fn a_client_may_send_no_store_and_no_cache() {
    let backend = Backend::chat().await;
    let proxy = start(&backend).await;
    let with = |value: &str| ClientRequest::chat("hi").header("cache-control", value);
    assert!(
        !is_hit(&proxy.send(with("no-store")).await),
        "nothing there"
    );
    assert!(
        !is_hit(&proxy.send(ClientRequest::chat("hi")).await),
        "was not stored"
    );
    assert!(is_hit(&proxy.send(ClientRequest::chat("hi")).await));
    assert!(!is_hit(&proxy.send(with("max-age=5, No-Cache")).await));
    assert!(!is_hit(&proxy.send(with("no-store")).await));
    assert!(is_hit(&proxy.send(ClientRequest::chat("hi")).await));
    assert_eq!(backend.requests().len(), 4);
}

#[tokio::test]
async fn a_response_aborted_by_its_client_is_not_stored() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let mut client = Client::h1(proxy.address()).await;
    let (mut streaming, mut call) =
        tokio::join!(client.open(ClientRequest::chat_stream("hi")), async {
            let mut call = backend.next_request().await;
            call.send_event_stream_head().await;
            call.token("half").await;
            call
        });
    streaming.until("half").await;
    drop(streaming);
    drop(client);
    wait::within("the backend is left, too", wait::PATIENCE, call.closed()).await;
    let (response, ()) = tokio::join!(proxy.send(ClientRequest::chat_stream("hi")), async {
        backend
            .next_request()
            .await
            .respond(BackendResponse::chat_stream(&["whole"]))
            .await;
    });
    assert!(!is_hit(&response));
    assert!(response.text().contains("whole"));
}

#[tokio::test]
async fn stored_responses_expire() {
    let backend = Backend::chat().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: chat, path: /v1/*, backend: assistant, \
             cache: {answers: true, memory: 8MiB, ttl: 4s, scope: route}}",
        )
        .start()
        .await;
    proxy.send(ClientRequest::chat("hi")).await;
    assert!(is_hit(&proxy.send(ClientRequest::chat("hi")).await));
    wait::within("the end of its time", wait::PATIENCE, async {
        while is_hit(&proxy.send(ClientRequest::chat("hi")).await) {
            wait::tick().await;
        }
    })
    .await;
    assert_eq!(backend.requests().len(), 2);
}

#[tokio::test]
async fn requests_that_are_not_json_pass_unchanged_and_are_not_cached() {
    let backend = Backend::echo().await;
    let proxy = start(&backend).await;
    let bodies: [&[u8]; 6] = [
        b"plain text",
        b"\xff\xfe\x00\x01",
        b"{\"broken\": ",
        b"{\"a\":1} trailing",
        b"",
        &[b'['; 20_000],
    ];
    for body in bodies {
        for _ in 0..2 {
            let request =
                ClientRequest::post(CHAT, body.to_vec()).header("content-type", "application/json");
            let response = proxy.send(request).await;
            assert_eq!(response.status, 200);
            assert_eq!(
                response.json()["sha256"],
                weir_tests::sign::sha256_hex(body)
            );
        }
    }
    assert_eq!(backend.requests().len(), bodies.len() * 2);
}
