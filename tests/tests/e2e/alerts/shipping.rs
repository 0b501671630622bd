//! Transitions on their way to their data stream, beside the events of requests.

use std::sync::atomic::Ordering;

use weir_tests::client::ClientRequest;
use weir_tests::index::Index;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::admin::QUICK;
use super::notifiers::{failing_backend, wait_for_tier};

#[tokio::test]
async fn a_data_stream_that_rejects_transitions_holds_up_no_event() {
    let ((backend, fails), index) = (failing_backend().await, Index::start().await);
    index.always_for_alerts(Some(403));
    let proxy = Setup::open(&backend)
        .events("spool: {path: data/spool, sync: 100ms}")
        .events(&format!(
            "elasticsearch: {{urls: ['{}'], batch: {{events: 3, wait: 20ms}}}}",
            index.url()
        ))
        .top(&format!("alerts: {{{QUICK}}}"))
        .start()
        .await;
    wait_for_tier(&proxy, "critical").await;
    fails.store(false, Ordering::SeqCst);
    wait_for_tier(&proxy, "none").await;
    wait::within("transitions that wait", wait::PATIENCE, async {
        loop {
            let status = proxy.admin_get("/api/status").await.json();
            if status["shipping"]["alerts"]["reason"] == "forbidden" {
                assert_eq!(status["shipping"]["events"]["status"], "ok");
                assert!(status["shipping"]["alerts"]["spool_events"].as_u64() >= Some(2));
                return;
            }
            wait::tick().await;
        }
    })
    .await;
    for _ in 0..10 {
        assert_eq!(proxy.send(ClientRequest::get("/")).await.status, 200);
    }
    let all_indexed = |metrics: &weir_tests::metrics::Metrics| {
        let of = |outcome: &str| metrics.sum("weir_events_total", &[("outcome", outcome)]);
        of("indexed") == of("recorded")
            && of("recorded") == metrics.sum("weir_requests_total", &[])
            && metrics.sum("weir_dependency_up", &[("name", "elasticsearch")]) == 1.0
    };
    proxy
        .metrics_when("every event in the index", all_indexed)
        .await;
    assert!(index.alerts().is_empty());
    index.always_for_alerts(None);
    wait::eventually("the transitions in the index", wait::PATIENCE, || {
        index.alerts().len() >= 2
    })
    .await;
}
