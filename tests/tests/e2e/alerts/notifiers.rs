//! Notifiers that are down, slow, failing or silenced, and over a restart.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::ClientRequest;
use weir_tests::node::Node;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::admin::{QUICK, alert_when, send};

/// A backend that fails as long as the test requires.
pub(super) async fn failing_backend() -> (Backend, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let requested = fails.clone();
    let response = move |_: &_| {
        let fails = requested.load(Ordering::SeqCst);
        BackendResponse::status(if fails { 500 } else { 200 })
    };
    (Backend::responding(response).await, fails)
}

/// Sends requests until the alert reaches this tier.
pub(super) async fn wait_for_tier(proxy: &Proxy, tier: &str) {
    wait::within(tier, wait::PATIENCE, async {
        loop {
            proxy.send(ClientRequest::get("/")).await;
            let page = proxy.admin_get("/api/alerts").await.json();
            if page["alerts"][0]["tier"] == tier {
                return;
            }
            wait::tick().await;
        }
    })
    .await;
}

/// The complete messages.
pub(super) fn complete_messages(backend: &Backend) -> Vec<Value> {
    let requests = backend.requests();
    let complete_messages = requests.iter().map(|request| &request.body);
    complete_messages
        .filter_map(|body| serde_json::from_slice(body).ok())
        .collect()
}

/// Waits for exactly this many messages.
async fn wait_for_messages(backend: &Backend, count: usize) -> Vec<Value> {
    wait::eventually(&format!("{count} messages"), wait::PATIENCE, || {
        complete_messages(backend).len() >= count
    })
    .await;
    let complete_messages = complete_messages(backend);
    assert_eq!(complete_messages.len(), count, "{complete_messages:#?}");
    complete_messages
}

#[tokio::test]
async fn a_restart_neither_repeats_nor_loses_notifications() {
    let (backend, fails) = failing_backend().await;
    let hook = Backend::responding(|_| BackendResponse::status(200)).await;
    let setup = Setup::open(&backend).top(&format!(
        "alerts: {{{QUICK}, webhook: {{url: '{}', token: t0ken}}}}",
        hook.url()
    ));
    let proxy = setup.start().await;
    wait_for_tier(&proxy, "critical").await;
    let first = wait_for_messages(&hook, 1).await;
    assert_eq!(first[0]["status"], "firing");
    assert_eq!(first[0]["alerts"][0]["labels"]["severity"], "critical");
    let requested = hook.only_request();
    assert_eq!(requested.header("authorization"), Some("Bearer t0ken"));
    // A notified state is persisted a moment later; then even SIGKILL loses nothing.
    let state = proxy.directory().join("data/alerts.json");
    wait::eventually("the state", wait::PATIENCE, || {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        text.contains("\"told\":{\"webhook\":[{")
    })
    .await;
    proxy.kill();
    proxy.wait_exit(wait::PATIENCE).await;
    let directory = proxy.into_directory();
    let process = setup.spawn(directory.path());
    let proxy = Proxy::ready(process, directory).await;
    let alert = alert_when(&proxy, "in force", |alert| alert["tier"] == "critical").await;
    assert_eq!(alert["basis"], "held");
    assert_eq!(proxy.metrics().await.sum("weir_alert_tier", &[]), 2.0);
    wait_for_tier(&proxy, "critical").await;
    fails.store(false, Ordering::SeqCst);
    wait_for_tier(&proxy, "none").await;
    let all = wait_for_messages(&hook, 2).await;
    assert_eq!(all[1]["status"], "resolved");
    assert_eq!(
        all[1]["alerts"][0]["fingerprint"],
        first[0]["alerts"][0]["fingerprint"]
    );
    assert_eq!(
        all[1]["alerts"][0]["startsAt"], first[0]["alerts"][0]["startsAt"],
        "it is the same alert"
    );
}

#[tokio::test]
async fn a_failing_notifier_gets_the_current_state_later() {
    let (backend, fails) = failing_backend().await;
    let refused = Arc::new(AtomicU64::new(0));
    let count = refused.clone();
    let feishu = Backend::responding(move |_| {
        // Feishu also reports errors with status 200.
        let code = match count.fetch_add(1, Ordering::SeqCst) {
            0 => json!({"code": 11232, "msg": "too many request"}),
            _ => json!({"code": 0, "msg": "success", "data": {}}),
        };
        BackendResponse::json(&code)
    })
    .await;
    let proxy = Setup::open(&backend)
        .top(&format!(
            "alerts: {{{QUICK}, feishu: {{webhook: '{}/open-apis/bot/v2/hook/s3cret-path', secret: s3cret}}}}",
            feishu.url()
        ))
        .start()
        .await;
    wait_for_tier(&proxy, "critical").await;
    let failed = |metrics: &weir_tests::metrics::Metrics, outcome: &str| {
        let labels = [("notifier", "feishu"), ("outcome", outcome)];
        metrics.sum("weir_alert_notifications_total", &labels)
    };
    let is_up = |metrics: &weir_tests::metrics::Metrics| {
        metrics.sum("weir_dependency_up", &[("name", "feishu")]) == 1.0
    };
    let has_failed = |metrics: &_| failed(metrics, "failed") == 1.0 && !is_up(metrics);
    proxy.metrics_when("a failure", has_failed).await;
    // Neither the URL nor the secret is logged.
    let output = wait::found("a word on it", wait::PATIENCE, || {
        let output = proxy.stderr();
        output
            .contains("feishu could not be notified: it responds with code 11232")
            .then_some(output)
    })
    .await;
    assert!(!output.contains("s3cret"), "{output}");
    // The alert ends before the retry: there is nothing to notify.
    fails.store(false, Ordering::SeqCst);
    wait_for_tier(&proxy, "none").await;
    fails.store(true, Ordering::SeqCst);
    wait_for_tier(&proxy, "critical").await;
    let deadline = Duration::from_secs(40);
    wait::eventually("the second message", deadline, || {
        complete_messages(&feishu).len() == 2
    })
    .await;
    let has_sent = |metrics: &_| failed(metrics, "sent") == 1.0 && is_up(metrics);
    proxy.metrics_when("sent", has_sent).await;
    let body = &complete_messages(&feishu)[1];
    assert_eq!(body["card"]["header"]["template"], "red");
}

#[tokio::test]
async fn silenced_changes_are_notified_when_the_silence_ends() {
    let (backend, _fails) = failing_backend().await;
    let hook = Backend::responding(|_| BackendResponse::status(200)).await;
    let proxy = Setup::open(&backend)
        .top(&format!(
            "alerts: {{{QUICK}, webhook: {{url: '{}'}}}}",
            hook.url()
        ))
        .start()
        .await;
    let wish = json!({
        "matchers": [{"name": "alertname", "value": "Error.*", "isRegex": true}],
        "duration": "1h",
    });
    let made = send(&proxy, ClientRequest::json("/api/silences", &wish)).await;
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    wait_for_tier(&proxy, "critical").await;
    let reported = wait::still_waiting_after(Duration::from_secs(3), async {
        while hook.requests().is_empty() {
            wait::tick().await;
        }
    });
    assert!(reported.await, "it was notified despite the silence");
    let end = ClientRequest::new("DELETE", &format!("/api/silences/{id}"));
    assert_eq!(send(&proxy, end).await.status, 204);
    let reported = wait_for_messages(&hook, 1).await;
    assert_eq!(reported[0]["alerts"][0]["labels"]["alertname"], "ErrorRate");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_transition_is_in_the_data_stream() {
    let Some(node) = Node::get().await else {
        return;
    };
    let (backend, fails) = failing_backend().await;
    let proxy = Setup::open(&backend)
        .events("spool: {path: data/spool, sync: 100ms}")
        .events(&format!(
            "elasticsearch: {{urls: ['{}'], data_stream: logs-weir.access-alerts, batch: {{wait: 100ms}}}}",
            node.url()
        ))
        .top(&format!("alerts: {{{QUICK}}}"))
        .start()
        .await;
    wait_for_tier(&proxy, "critical").await;
    fails.store(false, Ordering::SeqCst);
    wait_for_tier(&proxy, "none").await;
    let query = json!({
        "query": {"term": {"rule.name": "ErrorRate"}},
        "sort": ["@timestamp"],
        "aggs": {"tiers": {"terms": {"field": "weir.alert.tier"}}},
    });
    let found = wait::within("the documents", Duration::from_secs(60), async {
        loop {
            let path = "/logs-weir.alert-alerts/_refresh";
            node.send("POST", path, &Value::Null).await;
            let path = "/logs-weir.alert-alerts/_search";
            let (status, found) = node.send("POST", path, &query).await;
            if status == 200 && found["hits"]["total"]["value"].as_u64() >= Some(2) {
                return found;
            }
            wait::tick().await;
        }
    })
    .await;
    let hits = found["hits"]["hits"].as_array().expect("hits");
    let reported: Vec<_> = hits.iter().map(|hit| &hit["_source"]).collect();
    let last = reported.last().expect("a document");
    assert_eq!(last["event"]["dataset"], "weir.alert");
    assert_eq!(last["event"]["type"], json!(["end"]));
    assert_eq!(last["weir"]["alert"]["tier_before"], "critical");
    assert_eq!(hits[0]["_id"], reported[0]["event"]["id"]);
    assert_eq!(reported[0]["event"]["type"], json!(["start"]));
    let buckets = &found["aggregations"]["tiers"]["buckets"];
    assert!(
        buckets.as_array().is_some_and(|buckets| buckets.len() >= 2),
        "{buckets}"
    );
    // Notifications are not requests, and not part of promise 2.
    let are_as_many = |metrics: &weir_tests::metrics::Metrics| {
        let recorded = metrics.sum("weir_events_total", &[("outcome", "recorded")]);
        recorded == metrics.sum("weir_requests_total", &[])
    };
    proxy.metrics_when("an event a request", are_as_many).await;
}
