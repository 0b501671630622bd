//! What survives a reload: state whose settings are unchanged, and requests in flight.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::sign::{sign_hmac, sign_hmac_now, unix_now};
use weir_tests::wait;

use super::{reload_with, status};

const SECRET: &str = "0123456789abcdef";

#[tokio::test]
async fn replay_protection_limits_stored_responses_and_connections_survive() {
    let backend = Backend::chat().await;
    let routes = format!(
        "- {{name: chat, path: /v1/chat/completions, backend: assistant, cache: {{answers: true, ttl: 1h}}, \
         signature: {{scheme: hmac, secrets: [{SECRET}]}}}}\n\
         - {{name: limited, path: /limited, backend: assistant, \
         rate_limits: [{{name: few, rate: 1/h, burst: 1, by: address}}]}}"
    );
    let setup = Setup::new(&backend).routes(&routes);
    let proxy = setup.start().await;
    let body = serde_json::to_vec(&weir_tests::client::chat_request("hi", false)).expect("JSON");
    let chat = |headers| {
        ClientRequest::post("/v1/chat/completions", body.clone())
            .header("content-type", "application/json")
            .headers(headers)
    };
    let once = sign_hmac(SECRET, "used-once", unix_now(), &body);
    assert_eq!(proxy.send(chat(once.clone())).await.status, 200);
    assert_eq!(status(&proxy, "/limited").await, 200);
    let connections = backend.connections();
    let requests = backend.requests().len();

    let more = setup.routes("- {name: more, path: /more, backend: assistant}");
    let report = reload_with(&proxy, &more.yaml(proxy.directory())).await;
    assert_eq!(report["outcome"], "applied");
    let replayed = proxy.send(chat(once)).await;
    assert_eq!(replayed.rejection(), "signature_replayed");
    assert_eq!(status(&proxy, "/limited").await, 429);
    let stored = proxy.send(chat(sign_hmac_now(SECRET, &body))).await;
    let cache = stored.header("cache-status").expect("a Cache-Status");
    assert!(cache.starts_with("weir; hit"), "{cache}");
    assert_eq!(backend.requests().len(), requests);
    assert_eq!(status(&proxy, "/more").await, 200);
    assert_eq!(backend.connections(), connections, "one was reused");
}

#[tokio::test]
async fn a_running_stream_ends_whole_under_the_route_that_it_met() {
    let backend = Backend::manual().await;
    let chat = "- {name: chat, path: /v1/chat/completions, backend: assistant, platform: first}";
    let setup = Setup::new(&backend).routes(chat);
    let proxy = setup.start().await;
    let mut streams = Vec::new();
    for two in [false, true] {
        let mut client = match two {
            true => Client::h2(proxy.address()).await,
            false => Client::h1(proxy.address()).await,
        };
        let (streaming, call) = client.begin_stream(&backend, "before").await;
        streams.push((client, streaming, call));
    }
    // The route goes, another takes its name with another path and platform, and the backend gets another endpoint.
    let other = Backend::manual().await;
    let changed = Setup::without_backend()
        .backend("assistant", &[other.url()], &["first_byte_timeout: 9s"])
        .routes("- {name: chat, path: /chat, backend: assistant, platform: second}");
    let report = reload_with(&proxy, &changed.yaml(proxy.directory())).await;
    assert_eq!(report["outcome"], "applied");
    let moved = "/v1/chat/completions";
    assert_eq!(status(&proxy, moved).await, 404);
    let mut ids = Vec::new();
    for (mut client, mut streaming, mut call) in streams {
        // Its next request on the same connection meets the new configuration.
        if streaming.version == http::Version::HTTP_2 {
            assert_eq!(client.send(ClientRequest::get(moved)).await.status, 404);
        }
        call.token("after").await;
        streaming.until("after").await;
        call.end_chat(2).await;
        ids.push(streaming.header("x-request-id").expect("an id").to_owned());
        let rest = streaming.rest().await.expect("a clean end");
        assert!(rest.ends_with(b"data: [DONE]\n\n"));
        assert_eq!(client.send(ClientRequest::get(moved)).await.status, 404);
    }
    for id in ids {
        let event = proxy.event(&id).await;
        assert_eq!(event["platform"], "first", "{event}");
        assert!(event.get("error_code").is_none(), "{event}");
    }
    let (response, ()) = tokio::join!(proxy.send(ClientRequest::get("/chat")), async {
        let call = other.next_request().await;
        call.respond(BackendResponse::chat("new")).await;
    });
    assert_eq!(response.status, 200);
    // A request is counted when its response has ended.
    let counted = |metrics: &Metrics| {
        [("first", 2.0), ("second", 1.0)]
            .into_iter()
            .all(|(platform, count)| {
                let labels = [("route", "chat"), ("platform", platform), ("code", "200")];
                metrics.sum("weir_requests_total", &labels) == count
            })
    };
    proxy.metrics_when("both platforms", counted).await;
    proxy.sigterm();
    let exit = proxy.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
}

/// The health of the only endpoint, as `GET /api/backends` shows it.
async fn health(proxy: &Proxy) -> String {
    let shown = proxy.admin_get("/api/backends").await.json();
    let health = shown["backends"][0]["endpoints"][0]["health"].as_str();
    health.expect("a health").to_owned()
}

async fn health_when(proxy: &Proxy, expected: &str) {
    let what = format!("an endpoint that is {expected}");
    let polling = async {
        while health(proxy).await != expected {
            wait::tick().await;
        }
    };
    wait::within(&what, wait::PATIENCE, polling).await;
}

#[tokio::test]
async fn the_health_of_endpoints_survives_and_their_checks_follow_the_configuration() {
    let backend = Backend::responding(|received| match received.target.as_str() {
        "/health" => BackendResponse::status(503),
        _ => BackendResponse::echo(received),
    })
    .await;
    let checked = |options: &[&str]| {
        Setup::without_backend()
            .backend("assistant", &[backend.url()], options)
            .routes(OPEN)
    };
    // One check within the first second, and then none for a day.
    let check = "health_check: {path: /health, interval: 1d}";
    let setup = checked(&[check]);
    let proxy = setup.start().await;
    health_when(&proxy, "unhealthy").await;
    let more = setup.routes("- {name: more, path: /more, backend: assistant}");
    let other_retries = checked(&[check, "retry: {attempts: 1}"]);
    for (setup, checks) in [(more, 1), (other_retries, 2)] {
        let report = reload_with(&proxy, &setup.yaml(proxy.directory())).await;
        assert_eq!(report["outcome"], "applied");
        assert_eq!(health(&proxy).await, "unhealthy");
        // A task that goes on makes no first check again, that of a new endpoint does.
        wait::eventually("the first check", wait::PATIENCE, || {
            backend.requests().len() == checks
        })
        .await;
    }
    let other_path = checked(&["health_check: {path: /alive, interval: 100ms, timeout: 100ms}"]);
    reload_with(&proxy, &other_path.yaml(proxy.directory())).await;
    health_when(&proxy, "healthy").await;
    let unchecked = checked(&[]);
    reload_with(&proxy, &unchecked.yaml(proxy.directory())).await;
    assert_eq!(health(&proxy).await, "unchecked");
    let metrics = proxy.metrics().await;
    assert!(
        !metrics.text.contains("weir_upstream_healthy{"),
        "{}",
        metrics.text
    );
    // The checks end, within about a second.
    let mut known = backend.requests().len();
    let ending = async {
        while !wait::still_waiting_after(Duration::from_millis(500), another(&backend, known)).await
        {
            known = backend.requests().len();
        }
    };
    wait::within("the end of the checks", wait::PATIENCE, ending).await;
}

/// Waits until the backend has got more requests than these.
async fn another(backend: &Backend, known: usize) {
    while backend.requests().len() == known {
        wait::tick().await;
    }
}

#[tokio::test]
async fn a_changed_fallback_keeps_the_stored_responses_of_the_primary_and_stores_none() {
    let is_healthy = Arc::new(AtomicBool::new(false));
    let of_primary = is_healthy.clone();
    let primary = Backend::responding(move |request| {
        let fails = request.text().contains("fail") && !of_primary.load(Ordering::SeqCst);
        match fails {
            true => BackendResponse::status(503),
            false => BackendResponse::chat("primary"),
        }
    })
    .await;
    let cloud = Backend::responding(|_| BackendResponse::chat("cloud")).await;
    let setup = |key: &str| {
        let header = format!("request_headers: {{x-key: {key}}}");
        Setup::buffered(&primary)
            .backend_options(&["fallback: cloud", "retry: {attempts: 1}"])
            .backend("cloud", &[cloud.url()], &[&header])
    };
    let proxy = setup("first").start().await;
    // The content, and whether it was stored.
    let ask = async |question: &str| {
        let response = proxy.send(ClientRequest::chat(question)).await;
        let cache = response.header("cache-status").expect("a Cache-Status");
        let content = response.json()["choices"][0]["message"]["content"].clone();
        let content = content.as_str().expect("a content").to_owned();
        (content, cache.starts_with("weir; hit"))
    };
    let (of_primary, of_cloud) = ("primary".to_owned(), "cloud".to_owned());
    assert_eq!(ask("hi").await, (of_primary.clone(), false));
    assert_eq!(ask("fail").await, (of_cloud.clone(), false));
    let changed = setup("second").yaml(proxy.directory());
    assert_eq!(reload_with(&proxy, &changed).await["outcome"], "applied");
    assert_eq!(ask("hi").await, (of_primary.clone(), true));
    for _ in 0..2 {
        assert_eq!(ask("fail").await, (of_cloud.clone(), false));
    }
    let keys = cloud.requests();
    let keys: Vec<_> = keys.iter().map(|request| request.header("x-key")).collect();
    assert_eq!(keys, [Some("first"), Some("second"), Some("second")]);
    is_healthy.store(true, Ordering::SeqCst);
    assert_eq!(ask("fail").await, (of_primary.clone(), false));
    assert_eq!(ask("fail").await, (of_primary, true));
}
