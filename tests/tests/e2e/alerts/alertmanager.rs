//! Alertmanager: a real one that goes down and comes back, and several.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use weir_tests::alertmanager::Alertmanager;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::ClientRequest;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::admin::QUICK;
use super::notifiers::{complete_messages, failing_backend, wait_for_tier};

/// As Prometheus computes it over all labels.
fn fingerprint(alert: &Value) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let labels = alert["labels"].as_object().expect("labels").iter();
    let labels = labels.flat_map(|(name, value)| [name.as_str(), value.as_str().expect("a text")]);
    for byte in labels.flat_map(|text| text.bytes().chain([0xff])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

#[tokio::test]
async fn an_alertmanager_gets_the_current_state_after_an_outage() {
    let test = "an_alertmanager_gets_the_current_state_after_an_outage";
    let (backend, fails) = failing_backend().await;
    let hook = Backend::responding(|_| BackendResponse::status(200)).await;
    let Some(alertmanager) = Alertmanager::start(test, &hook.url()).await else {
        return;
    };
    let proxy = Setup::open(&backend)
        .top(&format!(
            "alerts: {{{QUICK}, labels: {{team: search}}, alertmanager: {{urls: ['{}']}}}}",
            alertmanager.url()
        ))
        .start()
        .await;
    wait_for_tier(&proxy, "critical").await;
    let port = format!(":{}", proxy.address().port());
    let severities = async |alertmanager: &Alertmanager| {
        let alerts = alertmanager.alerts().await;
        let mut severities: Vec<_> = alerts
            .iter()
            .map(|alert| {
                let labels = alert["labels"].as_object().expect("labels");
                let names: Vec<_> = labels.keys().map(String::as_str).collect();
                assert_eq!(
                    names,
                    ["alertname", "instance", "severity", "team"],
                    "no more than the rule has, and who raised it"
                );
                let instance = labels["instance"].as_str().expect("an instance");
                assert!(instance.ends_with(&port), "{instance}");
                labels["severity"].as_str().expect("a severity").to_owned()
            })
            .collect();
        severities.sort();
        severities
    };
    let shows = async |alertmanager: &Alertmanager, expected: &[&str]| {
        wait::within(&format!("{expected:?}"), Duration::from_secs(60), async {
            while severities(alertmanager).await != expected {
                wait::tick().await;
            }
        })
        .await;
    };
    shows(&alertmanager, &["critical", "warning"]).await;
    for alert in alertmanager.alerts().await {
        assert_eq!(alert["fingerprint"], fingerprint(&alert));
        assert!(alert["annotations"]["runbook_url"].is_string());
    }
    // Down for longer than its resolve_timeout of 2 s while the alert stays active: it has forgotten the alert.
    let (directory, address) = alertmanager.stop();
    let longer = Duration::from_secs(4);
    wait::sleep(longer).await;
    let alertmanager = Alertmanager::restart(directory, address).await;
    shows(&alertmanager, &["critical", "warning"]).await;
    // Down while the alert ends: no stale alert remains afterwards.
    let (directory, address) = alertmanager.stop();
    fails.store(false, Ordering::SeqCst);
    wait_for_tier(&proxy, "none").await;
    let alertmanager = Alertmanager::restart(directory, address).await;
    proxy
        .metrics_when("notified again", |metrics| {
            metrics.sum("weir_dependency_up", &[("name", "alertmanager")]) == 1.0
        })
        .await;
    shows(&alertmanager, &[]).await;
}

#[tokio::test]
async fn a_hanging_alertmanager_delays_neither_others_nor_the_shutdown() {
    let (backend, _fails) = failing_backend().await;
    let hung = Backend::raw(|stream| async move {
        let _stream = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let second = Backend::responding(|_| BackendResponse::status(200)).await;
    let proxy = Setup::open(&backend)
        .top(&format!(
            "alerts: {{{QUICK}, alertmanager: {{urls: ['{hung}', '{}/prefix/'], username: u, password: p}}, \
             feishu: {{webhook: '{hung}'}}, webhook: {{url: '{hung}'}}}}",
            second.url(),
            hung = hung.url(),
        ))
        .start()
        .await;
    wait_for_tier(&proxy, "critical").await;
    wait::eventually("both batches", wait::PATIENCE, || {
        complete_messages(&second).len() >= 2
    })
    .await;
    let requests = second.requests();
    let severities: Vec<_> = requests
        .iter()
        .map(|request| {
            assert_eq!(request.target, "/prefix/api/v2/alerts");
            assert_eq!(request.header("authorization"), Some("Basic dTpw"));
            let alerts: Value = serde_json::from_slice(&request.body).expect("JSON");
            alerts[0]["labels"]["severity"]
                .as_str()
                .expect("a severity")
                .to_owned()
        })
        .collect();
    assert_eq!(
        severities[..2],
        ["critical", "warning"],
        "the muting alert is sent first"
    );
    assert_eq!(
        proxy.send(ClientRequest::get("/")).await.status,
        500,
        "requests go on"
    );
    proxy.sigterm();
    // The drain is 30 s, but a hanging notifier is not waited for that long.
    let exit = proxy.wait_exit(wait::PATIENCE).await;
    assert!(exit.success(), "{exit:?}");
}
