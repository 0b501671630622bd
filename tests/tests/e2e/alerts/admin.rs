//! Alerts and silences in the admin API.

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{self, ClientRequest, ClientResponse};
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

/// A rule that fires on the first error.
pub(super) const QUICK: &str = "evaluate_every: 100ms, window: 2s, minimum_requests: 1, \
    rules: [{name: ErrorRate, signal: error_rate, warning: 1%, critical: 90%, recovery: 0.5%, for: 0s}]";

pub(super) async fn send(proxy: &Proxy, request: ClientRequest) -> ClientResponse {
    let request = request.header("host", &proxy.admin().to_string());
    client::send(proxy.admin(), request).await
}

/// The only alert of [`QUICK`], once it satisfies a condition.
pub(super) async fn alert_when(proxy: &Proxy, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    wait::within(what, wait::PATIENCE, async {
        loop {
            let page = proxy.admin_get("/api/alerts").await.json();
            let alert = &page["alerts"][0];
            if fits(alert) {
                return alert.clone();
            }
            wait::tick().await;
        }
    })
    .await
}

#[tokio::test]
async fn alerts_are_shown_with_their_values_and_samples() {
    let backend = Backend::responding(|_| BackendResponse::status(500)).await;
    let proxy = Setup::open(&backend)
        .top(&format!("alerts: {{{QUICK}}}"))
        .start()
        .await;
    let quiet = alert_when(&proxy, "no data", |alert| alert["basis"] == "no_data").await;
    assert_eq!(quiet["tier"], "none");
    proxy.send(ClientRequest::get("/")).await;
    let critical = alert_when(&proxy, "critical", |alert| alert["tier"] == "critical").await;
    assert_eq!(critical["rule"], "ErrorRate");
    assert_eq!(critical["signal"], "error_rate");
    assert_eq!(critical["value"], 1.0);
    assert_eq!(critical["shown"], "100 %");
    assert_eq!(critical["critical"], 0.9);
    assert!(critical["raised_at"].is_string());
    // The window moves on; without traffic the tier is held, and the alert reports that.
    let held = alert_when(&proxy, "held", |alert| alert["basis"] == "held").await;
    assert_eq!(held["tier"], "critical");
    let metrics = proxy.metrics().await;
    assert_eq!(
        metrics.sum("weir_alert_tier", &[("rule", "ErrorRate")]),
        2.0
    );
    let page = proxy.admin_get("/runbooks/ErrorRate").await;
    assert_eq!(page.status, 200);
    assert!(page.text().starts_with("# ErrorRate"), "{}", page.text());
    assert_eq!(proxy.admin_get("/runbooks/None").await.status, 404);
}

#[tokio::test]
async fn silences_are_created_ended_and_logged() {
    let backend = Backend::echo().await;
    let setup = Setup::open(&backend)
        .events("audit: {path: data/audit.ndjson}")
        .top(&format!("alerts: {{{QUICK}}}"));
    let proxy = setup.start().await;
    let wish = json!({
        "matchers": [{"name": "alertname", "value": "ErrorRate"}],
        "duration": "2h",
        "created_by": "anna",
        "comment": "we know",
    });
    let made = send(&proxy, ClientRequest::json("/api/silences", &wish)).await;
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let alert = alert_when(&proxy, "silenced", |alert| {
        alert["silenced_by"] == json!([id])
    })
    .await;
    assert_eq!(alert["rule"], "ErrorRate");
    let listed = proxy.admin_get("/api/silences").await.json();
    assert_eq!(listed[0]["comment"], "we know");
    let path = format!("/api/silences/{id}");
    assert_eq!(
        send(&proxy, ClientRequest::new("DELETE", &path))
            .await
            .status,
        204
    );
    assert_eq!(
        send(&proxy, ClientRequest::new("DELETE", &path))
            .await
            .status,
        404
    );
    assert_eq!(proxy.admin_get("/api/silences").await.json(), json!([]));
    wait::eventually("both lines in the audit log", wait::PATIENCE, || {
        let path = proxy.directory().join("data/audit.ndjson");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let line = |action: &str| {
            let mut lines = text.lines();
            lines.any(|line| line.contains(action) && line.contains("anna"))
        };
        line("silence_created") && line("silence_ended")
    })
    .await;
}

#[tokio::test]
async fn invalid_silences_are_rejected_with_the_reason() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let request = |body: &str| ClientRequest::post("/api/silences", body.to_owned());
    for (body, status, expected) in [
        ("", 400, "EOF"),
        ("[]", 400, "expected an object with matchers and duration"),
        ("{\"matchers\":[]}", 400, "matchers"),
        ("{\"matcher\":[]}", 400, "unknown field `matcher`"),
        (
            "{\"matchers\":[{\"name\":\"a\",\"value\":\"b\"}],\"duration\":\"2 hours\"}",
            400,
            "`duration`",
        ),
    ] {
        let json = request(body).header("content-type", "application/json; charset=utf-8");
        let response = send(&proxy, json).await;
        assert_eq!(response.status, status, "{body}");
        let detail = response.json()["detail"]
            .as_str()
            .expect("a detail")
            .to_owned();
        assert!(detail.contains(expected), "{body}: {detail}");
    }
    // Requests that a web page in a browser can send to this machine.
    let form = request("{}").header("content-type", "text/plain");
    assert_eq!(send(&proxy, form).await.status, 415);
    let large = "x".repeat(70 * 1024);
    let large = request(&large).header("content-type", "application/json");
    assert_eq!(send(&proxy, large).await.status, 413);
    let with_token = Setup::open(&backend).admin_token("t0ken").start().await;
    let unasked = send(
        &with_token,
        request("{}").header("content-type", "application/json"),
    )
    .await;
    assert_eq!(unasked.status, 401);
}
