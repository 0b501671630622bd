//! Those who are told: down, slow, wrong, silenced, and over a restart.

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

/// A backend that fails as long as it is told to.
pub(super) async fn failing() -> (Backend, Arc<AtomicBool>) {
    let fails = Arc::new(AtomicBool::new(true));
    let asked = fails.clone();
    let answer = move |_: &_| {
        let fails = asked.load(Ordering::SeqCst);
        BackendResponse::status(if fails { 500 } else { 200 })
    };
    (Backend::responding(answer).await, fails)
}

/// Asks now and then until the alert is at this tier.
pub(super) async fn reach(proxy: &Proxy, tier: &str) {
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

/// Those that have come whole.
pub(super) fn bodies(backend: &Backend) -> Vec<Value> {
    let requests = backend.requests();
    let bodies = requests.iter().map(|request| &request.body);
    bodies
        .filter_map(|body| serde_json::from_slice(body).ok())
        .collect()
}

/// Waits for so many messages, and for no more.
async fn messages(backend: &Backend, count: usize) -> Vec<Value> {
    wait::eventually(&format!("{count} messages"), wait::PATIENCE, || {
        bodies(backend).len() >= count
    })
    .await;
    let bodies = bodies(backend);
    assert_eq!(bodies.len(), count, "{bodies:#?}");
    bodies
}

#[tokio::test]
async fn a_restart_neither_repeats_nor_loses_notifications() {
    let (backend, fails) = failing().await;
    let hook = Backend::responding(|_| BackendResponse::status(200)).await;
    let setup = Setup::open(&backend).top(&format!(
        "alerts: {{{QUICK}, webhook: {{url: '{}', token: t0ken}}}}",
        hook.url()
    ));
    let proxy = setup.start().await;
    reach(&proxy, "critical").await;
    let first = messages(&hook, 1).await;
    assert_eq!(first[0]["status"], "firing");
    assert_eq!(first[0]["alerts"][0]["labels"]["severity"], "critical");
    let asked = hook.only_request();
    assert_eq!(asked.header("authorization"), Some("Bearer t0ken"));
    // What a message told is on the disk a moment later; then even SIGKILL loses nothing.
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
    reach(&proxy, "critical").await;
    fails.store(false, Ordering::SeqCst);
    reach(&proxy, "none").await;
    let all = messages(&hook, 2).await;
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
    let (backend, fails) = failing().await;
    let refused = Arc::new(AtomicU64::new(0));
    let count = refused.clone();
    let feishu = Backend::responding(move |_| {
        // Feishu answers 200 on its errors, too.
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
    reach(&proxy, "critical").await;
    let failed = |metrics: &weir_tests::metrics::Metrics, outcome: &str| {
        let labels = [("notifier", "feishu"), ("outcome", outcome)];
        metrics.sum("weir_alert_notifications_total", &labels)
    };
    let is_up = |metrics: &weir_tests::metrics::Metrics| {
        metrics.sum("weir_dependency_up", &[("name", "feishu")]) == 1.0
    };
    let has_failed = |metrics: &_| failed(metrics, "failed") == 1.0 && !is_up(metrics);
    proxy.metrics_when("a failure", has_failed).await;
    // Neither the address nor the secret is in the log.
    let said = wait::found("a word on it", wait::PATIENCE, || {
        let said = proxy.stderr();
        said.contains("feishu is not told: it answers code 11232")
            .then_some(said)
    })
    .await;
    assert!(!said.contains("s3cret"), "{said}");
    // Before it is told again, all is well: there is nothing left to tell.
    fails.store(false, Ordering::SeqCst);
    reach(&proxy, "none").await;
    fails.store(true, Ordering::SeqCst);
    reach(&proxy, "critical").await;
    let deadline = Duration::from_secs(40);
    wait::eventually("the second message", deadline, || {
        bodies(&feishu).len() == 2
    })
    .await;
    let has_sent = |metrics: &_| failed(metrics, "sent") == 1.0 && is_up(metrics);
    proxy.metrics_when("sent", has_sent).await;
    let body = &bodies(&feishu)[1];
    assert_eq!(body["card"]["header"]["template"], "red");
}

#[tokio::test]
async fn silenced_changes_are_notified_when_the_silence_ends() {
    let (backend, _fails) = failing().await;
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
    reach(&proxy, "critical").await;
    let told = wait::still_waiting_after(Duration::from_secs(3), async {
        while hook.requests().is_empty() {
            wait::tick().await;
        }
    });
    assert!(told.await, "it was told in spite of the silence");
    let end = ClientRequest::new("DELETE", &format!("/api/silences/{id}"));
    assert_eq!(send(&proxy, end).await.status, 204);
    let told = messages(&hook, 1).await;
    assert_eq!(told[0]["alerts"][0]["labels"]["alertname"], "ErrorRate");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_alert_transition_is_in_the_data_stream() {
    let Some(node) = Node::get().await else {
        return;
    };
    let (backend, fails) = failing().await;
    let proxy = Setup::open(&backend)
        .events("spool: {path: data/spool, sync: 100ms}")
        .events(&format!(
            "elasticsearch: {{urls: ['{}'], data_stream: logs-weir.access-alerts, batch: {{wait: 100ms}}}}",
            node.url()
        ))
        .top(&format!("alerts: {{{QUICK}}}"))
        .start()
        .await;
    reach(&proxy, "critical").await;
    fails.store(false, Ordering::SeqCst);
    reach(&proxy, "none").await;
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
    let told: Vec<_> = hits.iter().map(|hit| &hit["_source"]).collect();
    let last = told.last().expect("a document");
    assert_eq!(last["event"]["dataset"], "weir.alert");
    assert_eq!(last["event"]["type"], json!(["end"]));
    assert_eq!(last["weir"]["alert"]["tier_before"], "critical");
    assert_eq!(hits[0]["_id"], told[0]["event"]["id"]);
    assert_eq!(told[0]["event"]["type"], json!(["start"]));
    let buckets = &found["aggregations"]["tiers"]["buckets"];
    assert!(
        buckets.as_array().is_some_and(|buckets| buckets.len() >= 2),
        "{buckets}"
    );
    // They are no requests: promise 2 counts those.
    let are_as_many = |metrics: &weir_tests::metrics::Metrics| {
        let recorded = metrics.sum("weir_events_total", &[("outcome", "recorded")]);
        recorded == metrics.sum("weir_requests_total", &[])
    };
    proxy.metrics_when("an event a request", are_as_many).await;
}
