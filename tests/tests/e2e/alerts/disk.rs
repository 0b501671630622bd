//! A hanging disk does not delay alert notifications.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::ClientRequest;
use weir_tests::disk::HangingDisk;
use weir_tests::index::Index;
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::admin::QUICK;
use super::notifiers::{complete_messages, failing_backend, wait_for_tier};

/// A hanging write is reported after 5 s.
const LATE: Duration = Duration::from_secs(30);

fn writes(metrics: &Metrics, target: &str, outcome: &str) -> f64 {
    let labels = [("target", target), ("outcome", outcome)];
    metrics.sum("weir_alert_writes_total", &labels)
}

/// The last message about the alert.
fn last_message(backend: &Backend) -> Option<String> {
    let complete_messages = complete_messages(backend);
    let status = complete_messages.last()?["status"].as_str()?;
    Some(status.to_owned())
}

fn setup(backend: &Backend, index: &Index, hook: &Backend) -> Setup {
    Setup::open(backend)
        .events("spool: {path: data/spool, sync: 100ms}")
        .events(&format!(
            "elasticsearch: {{urls: ['{}'], batch: {{wait: 20ms}}}}",
            index.url()
        ))
        .top(&format!(
            "alerts: {{{QUICK}, webhook: {{url: '{}'}}}}",
            hook.url()
        ))
}

#[tokio::test]
async fn a_hanging_disk_does_not_delay_alert_notifications() {
    let test = "a_hanging_disk_does_not_delay_alert_notifications";
    let directory = TempDir::new().expect("a temporary directory");
    let Some(disk) = HangingDisk::below(test, directory.path()) else {
        return;
    };
    let (backend, fails) = failing_backend().await;
    fails.store(false, Ordering::SeqCst);
    let (hook, index) = (
        Backend::responding(|_| BackendResponse::status(200)).await,
        Index::start().await,
    );
    let setup = setup(&backend, &index, &hook);
    let process = disk.under(setup).spawn(directory.path());
    let proxy = Proxy::ready(process, directory).await;
    // Everything works.
    proxy.send(ClientRequest::get("/")).await;
    wait::eventually("an event in the index", wait::PATIENCE, || {
        !index.ids().is_empty()
    })
    .await;
    disk.hang();
    // A second time as well: the first leaves nothing behind that blocks.
    for (fail, tier, reported) in [
        (true, "critical", "firing"),
        (false, "none", "resolved"),
        (true, "critical", "firing"),
    ] {
        fails.store(fail, Ordering::SeqCst);
        wait_for_tier(&proxy, tier).await;
        wait::eventually(reported, wait::PATIENCE, || {
            last_message(&hook).as_deref() == Some(reported)
        })
        .await;
    }
    wait::within("writes that are late", LATE, async {
        loop {
            let metrics = proxy.metrics().await;
            let late = |target| writes(&metrics, target, "late");
            if late("state") == 1.0 && late("events") == 1.0 {
                return;
            }
            wait::tick().await;
        }
    })
    .await;
    let before = std::fs::metadata(proxy.directory().join("data/alerts.json"));
    assert!(before.is_err(), "nothing is written while it hangs");
    disk.resume();
    // Everything is written afterwards.
    let state = proxy.directory().join("data/alerts.json");
    wait::eventually("the state", wait::PATIENCE, || {
        let text = std::fs::read_to_string(&state).unwrap_or_default();
        text.contains("\"critical\"")
    })
    .await;
    wait::eventually("the changes in the index", wait::PATIENCE, || {
        let alerts = index.alerts();
        let ends = |alert: &&Value| alert["event"]["type"][0] == "end";
        alerts.iter().filter(ends).count() == 1 && alerts.len() >= 3
    })
    .await;
    let metrics = proxy.metrics().await;
    assert_eq!(writes(&metrics, "events", "dropped"), 0.0);
    let instance = index.alerts()[0]["labels"]["instance"].clone();
    let instance = instance.as_str().expect("an instance");
    let port = proxy.address().port().to_string();
    assert!(instance.ends_with(&port), "{instance}");
}
