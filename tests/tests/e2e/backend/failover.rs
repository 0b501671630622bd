//! Failover: another backend responds within the same request.

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{CHAT, ClientRequest, chat_request};
use weir_tests::metrics::assert_metric;
use weir_tests::setup::{OPEN, Setup};

use super::retry::{outcomes, refusing};

fn failing(status: u16) -> impl Fn() -> BackendResponse + Send + Sync + 'static {
    move || BackendResponse::bytes("text/plain", format!("{status}")).with_status(status)
}

async fn always(response: impl Fn() -> BackendResponse + Send + Sync + 'static) -> Backend {
    Backend::responding(move |_| response()).await
}

#[tokio::test]
async fn a_fallback_has_its_own_headers_prefix_and_model_names() {
    let (primary, cloud) = (always(failing(503)).await, Backend::chat().await);
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[primary.url()],
            &["fallback: cloud", "retry: {attempts: 2, backoff: 1ms}"],
        )
        .backend(
            "cloud",
            &[cloud.url()],
            &[
                "path_prefix: /proxy",
                "request_headers: {authorization: Bearer cloud}",
                "model_map: {glm-4: gpt-4o-mini}",
            ],
        )
        .routes(OPEN)
        .start()
        .await;
    let body = r#"{ "messages":[], "model" : "glm-4", "temperature": 1.0e0 }"#;
    let response = proxy.send(ClientRequest::post(CHAT, body)).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let received = cloud.only_request();
    assert_eq!(received.target, "/proxy/v1/chat/completions");
    assert_eq!(received.header("authorization"), Some("Bearer cloud"));
    let mapped = r#"{ "messages":[], "model" : "gpt-4o-mini", "temperature": 1.0e0 }"#;
    assert_eq!(received.body, mapped);
    for received in primary.requests() {
        assert_eq!(received.body, body);
        assert_eq!(received.header("authorization"), None);
    }
    let event = proxy.event_of(&response).await;
    assert_eq!(event["backend"], "cloud");
    let upstream = &event["weir"]["upstream"];
    assert_eq!(upstream["endpoint"], cloud.url());
    let failed = json!({"backend": "assistant", "endpoint": primary.url(),
                        "outcome": "status_5xx", "status_code": 503});
    let succeeded = json!({"backend": "cloud", "endpoint": cloud.url(),
                           "outcome": "ok", "status_code": 200});
    assert_eq!(upstream["tried"], json!([failed, failed, succeeded]));
    assert_eq!(event.get("error_code"), None);
    for (backend, outcome, count) in [("assistant", "status_5xx", 2.0), ("cloud", "ok", 1.0)] {
        let labels = [("backend", backend), ("outcome", outcome)];
        assert_metric(
            proxy.admin(),
            "weir_upstream_attempts_total",
            &labels,
            count,
        )
        .await;
    }
    let labels = [("backend", "cloud"), ("outcome", "success")];
    assert_metric(proxy.admin(), "weir_model_calls_total", &labels, 1.0).await;
}

#[tokio::test]
async fn the_model_is_replaced_in_a_path() {
    let cloud = Backend::echo().await;
    let proxy = Setup::new(&cloud)
        .backend_options(&["model_map: {gemini: 'models/pro'}"])
        .routes(OPEN)
        .start()
        .await;
    let request = ClientRequest::post("/v1beta/models/gemini:generateContent?key=1", "{}");
    assert_eq!(proxy.send(request).await.status, 200);
    let target = cloud.only_request().target;
    assert_eq!(target, "/v1beta/models/models%2Fpro:generateContent?key=1");
}

#[tokio::test]
async fn a_chain_is_followed_to_its_end_for_any_request_that_no_endpoint_has_seen() {
    let last = Backend::echo().await;
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[refusing().await],
            &["fallback: second", "retry: {attempts: 1}"],
        )
        .backend(
            "second",
            &[refusing().await],
            &["fallback: third", "retry: {attempts: 1}"],
        )
        .backend("third", &[last.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    let response = proxy.send(ClientRequest::post("/orders", "one")).await;
    assert_eq!(response.status, 200, "{}", response.text());
    let expected = ["connect_error", "connect_error", "ok"];
    assert_eq!(outcomes(&proxy, &response).await, expected);
    assert_eq!(last.only_request().body, "one");
}

#[tokio::test]
async fn a_request_that_must_not_be_repeated_stays_with_its_backend() {
    let (primary, cloud) = (always(failing(503)).await, Backend::echo().await);
    let proxy = Setup::new(&primary)
        .backend_options(&["fallback: cloud", "retry: {attempts: 1}"])
        .backend("cloud", &[cloud.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    let response = proxy.send(ClientRequest::post("/orders", "one")).await;
    assert_eq!((response.status, &*response.text()), (503, "503"));
    cloud.assert_untouched();
}

#[tokio::test]
async fn when_everything_fails_the_last_response_is_delivered() {
    let (primary, cloud) = (always(failing(503)).await, always(failing(502)).await);
    let proxy = Setup::new(&primary)
        .backend_options(&["fallback: cloud", "retry: {attempts: 1}"])
        .backend("cloud", &[cloud.url()], &["retry: {attempts: 1}"])
        .routes(OPEN)
        .start()
        .await;
    let response = proxy.send(ClientRequest::chat("hi")).await;
    assert_eq!((response.status, &*response.text()), (502, "502"));
    let event = proxy.event_of(&response).await;
    assert_eq!(event["error_code"], "upstream_status");
    assert_eq!(event["backend"], "cloud");
}

#[tokio::test]
async fn a_timeout_fails_over_and_is_not_retried() {
    let (primary, cloud) = (Backend::manual().await, Backend::chat().await);
    let proxy = Setup::new(&primary)
        .backend_options(&["first_byte_timeout: 300ms", "fallback: cloud"])
        .backend("cloud", &[cloud.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    let (response, _call) = tokio::join!(
        proxy.send(ClientRequest::chat("hi")),
        primary.next_request()
    );
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(outcomes(&proxy, &response).await, ["timeout", "ok"]);
}

#[tokio::test]
async fn the_response_of_a_fallback_is_not_stored() {
    let (primary, cloud) = (always(failing(503)).await, Backend::chat().await);
    let proxy = Setup::buffered(&primary)
        .backend_options(&["fallback: cloud", "retry: {attempts: 1}"])
        .backend("cloud", &[cloud.url()], &[])
        .start()
        .await;
    for _ in 0..2 {
        let response = proxy.send(ClientRequest::chat("hi")).await;
        assert_eq!(response.status, 200);
        let status = response
            .header("cache-status")
            .expect("a status")
            .to_owned();
        assert!(
            !status.contains("hit") && !status.contains("stored"),
            "{status}"
        );
    }
    assert_eq!(cloud.requests().len(), 2);
}

#[tokio::test]
async fn usage_is_requested_only_of_the_backends_that_it_is_configured_for() {
    let (primary, cloud) = (always(failing(503)).await, Backend::chat().await);
    let proxy = Setup::new(&primary)
        .backend_options(&["fallback: cloud", "retry: {attempts: 1}", "ask_usage: true"])
        .backend("cloud", &[cloud.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    let mut body = chat_request("hi", true);
    body.as_object_mut()
        .expect("an object")
        .remove("stream_options");
    let response = proxy.send(ClientRequest::json(CHAT, &body)).await;
    assert_eq!(response.status, 200);
    let asked = |backend: &Backend| {
        let received: Value = serde_json::from_slice(&backend.only_request().body).expect("JSON");
        received["stream_options"]["include_usage"] == true
    };
    assert!(asked(&primary) && !asked(&cloud));
}
