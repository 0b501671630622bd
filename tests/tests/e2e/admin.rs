//! The admin address: health, metrics and its token.

use weir_tests::backend::Backend;
use weir_tests::client::{self, ClientRequest};
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::bearer;
use weir_tests::wait;

#[tokio::test]
async fn a_ready_proxy_is_healthy_and_ready() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(proxy.admin_get(path).await.status, 200, "{path}");
    }
    assert_eq!(proxy.admin_get("/nothing").await.status, 404);
    // Admin paths are not served by the listener, and admin requests have no events.
    assert_eq!(proxy.send(ClientRequest::get("/metrics")).await.status, 200);
    assert_eq!(backend.only_request().target, "/metrics");
    proxy.events_when(1).await;
}

#[tokio::test]
async fn readiness_fails_when_draining_starts() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    let address = proxy.address();
    let sending = tokio::spawn(client::send(address, ClientRequest::chat("long")));
    let call = backend.next_request().await;
    proxy.sigterm();
    wait::within("readiness to end", wait::PATIENCE, async {
        while proxy.admin_get("/readyz").await.status != 503 {
            wait::tick().await;
        }
    })
    .await;
    assert_eq!(proxy.admin_get("/healthz").await.status, 200);
    call.respond(weir_tests::backend::BackendResponse::chat("done"))
        .await;
    assert_eq!(sending.await.expect("a response").status, 200);
    assert_eq!(proxy.wait_exit(wait::PATIENCE).await.code(), Some(0));
}

#[tokio::test]
async fn without_a_token_only_loopback_hosts_are_accepted() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let port = proxy.admin().port();
    for (target, hosts, status) in [
        ("/metrics", "Host: localhost\r\n", 200),
        ("/metrics", "Host: 127.0.0.1:{port}\r\n", 200),
        ("/metrics", "Host: [::1]:{port}\r\n", 200),
        (
            "http://localhost:{port}/metrics",
            "Host: localhost\r\n",
            200,
        ),
        ("/metrics", "Host: localhost:{port}@evil\r\n", 403),
        ("/metrics", "Host: evil@localhost:{port}\r\n", 403),
        ("/metrics", "Host: localhost:99999\r\n", 403),
        ("/metrics", "Host: localhost.evil.example\r\n", 403),
        ("/metrics", "Host: 127.0.0.1.evil.example\r\n", 403),
        ("/metrics", "Host: [::1]evil.example\r\n", 403),
        ("/metrics", "Host: \r\n", 403),
        ("/metrics", "", 403),
        ("/metrics", "Host: localhost\r\nHost: evil.example\r\n", 403),
        ("http://evil.example/metrics", "Host: localhost\r\n", 403),
        ("http://localhost/metrics", "Host: evil.example\r\n", 403),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\n{hosts}\r\n");
        let mut raw = Raw::connect(proxy.admin()).await;
        raw.write(request.replace("{port}", &port.to_string()))
            .await;
        assert_eq!(raw.response().await.status, status, "{target} {hosts}");
    }
}

#[tokio::test]
async fn a_configured_token_is_required() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .admin_token("an-admin-token-0123")
        .start()
        .await;
    let request = |path: &str, token: &str| {
        client::send(
            proxy.admin(),
            ClientRequest::get(path).headers(bearer(token)),
        )
    };
    assert_eq!(proxy.admin_get("/metrics").await.status, 401);
    for invalid in ["", "an-admin-token-012", "an-admin-token-01234"] {
        assert_eq!(
            request("/metrics", invalid).await.status,
            401,
            "{invalid:?}"
        );
    }
    assert_eq!(request("/metrics", "an-admin-token-0123").await.status, 200);
    // Probes have no token.
    assert_eq!(proxy.admin_get("/healthz").await.status, 200);
    assert_eq!(proxy.admin_get("/readyz").await.status, 200);
}

#[tokio::test]
async fn a_public_admin_address_without_a_token_is_invalid() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let text = "admin: {address: 0.0.0.0:0}\nbackends: [{name: a, endpoints: [http://127.0.0.1:9]}]\n\
                routes: [{name: a, path: /*, backend: a}]\n";
    std::fs::write(directory.path().join("weir.yaml"), text).expect("written");
    let ended = weir_tests::process::Process::run(directory.path(), &["check"], b"").await;
    assert_eq!(ended.code, Some(1));
    let output = ended.stdout + &ended.stderr;
    assert!(output.contains("token"), "{output}");
}

#[tokio::test]
async fn all_metrics_exist_from_the_start() {
    let backend = Backend::chat().await;
    let proxy = Setup::new(&backend)
        .routes(
            "- {name: signed, path: /signed, backend: assistant, \
             signature: {scheme: hmac, secrets: [a-secret-of-the-test]}}",
        )
        .routes(
            "- {name: chat, path: /*, backend: assistant, \
             rate_limits: [{name: few, rate: 100/s, by: route}], \
             cache: {answers: true, memory: 1MiB, ttl: 1h, scope: route}}",
        )
        .start()
        .await;
    proxy.send(ClientRequest::chat("hi")).await;
    proxy.send(ClientRequest::chat("hi")).await;
    proxy.send(ClientRequest::chat_stream("hi")).await;
    // A route without a signature verifies none.
    assert_eq!(
        proxy
            .send(ClientRequest::post("/signed", "hi"))
            .await
            .status,
        401
    );
    proxy.events_when(4).await;
    let metrics = proxy.metrics().await;
    for name in [
        "weir_requests_total",
        "weir_request_duration_seconds",
        "weir_overhead_seconds",
        "weir_errors_total",
        "weir_failed_requests_total",
        "weir_requests_in_flight",
        "weir_signature_checks_total",
        "weir_rate_limit_decisions_total",
        "weir_cache_lookups_total",
        "weir_cache_bytes",
        "weir_upstream_attempts_total",
        "weir_upstream_duration_seconds",
        "weir_model_calls_total",
        "weir_tokens_total",
        "weir_time_to_first_token_seconds",
        "weir_time_per_output_token_seconds",
        "weir_events_total",
        "weir_build_info",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ] {
        assert!(metrics.has(name), "no {name} in:\n{}", metrics.text);
    }
    let labels = [("route", "chat"), ("platform", "api"), ("method", "POST")];
    assert!((metrics.sum("weir_requests_total", &labels) - 3.0).abs() < 0.5);
    let edges: Vec<&str> = metrics
        .samples
        .iter()
        .filter(|sample| sample.name == "weir_request_duration_seconds_bucket")
        .filter(|sample| sample.labels["route"] == "chat")
        .map(|sample| sample.labels["le"].as_str())
        .collect();
    let promised = "0.005 0.01 0.025 0.05 0.1 0.2 0.3 0.5 0.8 1 1.5 2.5 5 10 30 60 120 +Inf";
    assert_eq!(edges.join(" "), promised);
    // The sum of overheads is far below a second.
    assert!(metrics.sum("weir_overhead_seconds_sum", &[("route", "chat")]) < 1.0);
    assert!((metrics.sum("weir_overhead_seconds_count", &[("route", "chat")]) - 3.0).abs() < 0.5);
}

#[tokio::test]
async fn labels_have_bounded_cardinality() {
    let backend = Backend::chat().await;
    let proxy = Setup::open(&backend).start().await;
    for number in 0..80 {
        let mut prompt = client::chat_request("hi", false);
        prompt["model"] = format!("model-{number}").into();
        proxy
            .send(ClientRequest::json(&format!("/path-{number}"), &prompt))
            .await;
        proxy
            .send(ClientRequest::new(&format!("METHOD{number}"), "/x"))
            .await;
    }
    let metrics = proxy.metrics().await;
    for name in [
        "weir_requests_total",
        "weir_model_calls_total",
        "weir_tokens_total",
    ] {
        let series = metrics
            .samples
            .iter()
            .filter(|sample| sample.name == name && sample.value > 0.0)
            .count();
        assert!(series <= 110, "{series} series of {name}");
    }
    assert!(!metrics.text.contains("METHOD7"), "any method is a label");
    assert!(!metrics.text.contains("path-7"), "any path is a label");
}
