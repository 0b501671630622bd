//! Shipping of events to the index: none are lost or duplicated, whatever the index does.

use std::collections::BTreeSet;

use tempfile::TempDir;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::index::{Fault, Index};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

mod credentials;
mod index_errors;
mod soak;

const EVENTS: &str = "weir_events_total";
const SPOOL: &str = "spool: {path: data/spool, sync: 100ms}";

fn shipping(backend: &Backend, urls: &[String], batch: &str) -> Setup {
    let urls = urls.join(", ");
    Setup::open(backend).events(SPOOL).events(&format!(
        "elasticsearch: {{urls: [{urls}], timeout: 2s, batch: {{{batch}}}}}"
    ))
}

/// Sends this many requests, and returns the ids of the responses.
async fn send_requests(proxy: &Proxy, count: usize) -> BTreeSet<String> {
    let mut client = Client::h1(proxy.address()).await;
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        let response = client.send(ClientRequest::get("/a")).await;
        assert_eq!(response.status, 200);
        ids.insert(response.header("x-request-id").expect("an id").to_owned());
    }
    ids
}

async fn indexed_events(index: &Index, ids: &BTreeSet<String>) {
    wait::eventually("all events in the index", wait::PATIENCE, || {
        index.ids().len() >= ids.len()
    })
    .await;
    let there: BTreeSet<String> = index.ids().into_iter().collect();
    assert_eq!(&there, ids);
}

fn outcome(metrics: &Metrics, outcome: &str) -> f64 {
    metrics.sum(EVENTS, &[("outcome", outcome)])
}

fn assert_accounting(metrics: &Metrics) {
    let of = |name: &str| outcome(metrics, name);
    let came = of("recorded") + of("recovered");
    let went =
        of("indexed") + of("failure_store") + of("duplicate") + of("dead_letter") + of("dropped");
    let there = metrics.sum("weir_spool_events", &[]) + metrics.sum("weir_events_in_channel", &[]);
    assert!(
        (came - went - there).abs() < 0.5,
        "{came} is not {went} + {there}"
    );
}

async fn wait_until_settled(proxy: &Proxy, what: &str, count: f64) -> Metrics {
    let look = |metrics: &Metrics| {
        assert_accounting(metrics);
        (outcome(metrics, what) - count).abs() < 0.5
    };
    proxy.metrics_when(&format!("{count} {what}"), look).await
}

/// Waits until every event has left the channel.
async fn wait_for_empty_channel(proxy: &Proxy) -> Metrics {
    let look = |metrics: &Metrics| {
        assert_accounting(metrics);
        metrics.sum("weir_events_in_channel", &[]) < 0.5
    };
    proxy.metrics_when("an empty channel", look).await
}

#[tokio::test]
async fn every_event_is_indexed_once_after_the_index_is_set_up() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    let proxy = shipping(&backend, &[index.url()], "events: 7, wait: 50ms")
        .start()
        .await;
    let ids = send_requests(&proxy, 30).await;
    indexed_events(&index, &ids).await;
    let metrics = wait_until_settled(&proxy, "indexed", 30.0).await;
    assert_eq!(outcome(&metrics, "recorded"), 30.0);
    assert_eq!(
        metrics.sum("weir_dependency_up", &[("name", "elasticsearch")]),
        1.0
    );
    assert!(metrics.sum("weir_bulk_duration_seconds_count", &[]) >= 5.0);
    assert!(index.bulks().1 <= 7);
    let id = ids.first().expect("an id");
    assert_eq!(
        index.document(id).expect("a document")["http"]["request"]["id"],
        **id
    );
    let paths = wait::found("both set-ups", wait::PATIENCE, || {
        let paths: Vec<_> = index.set_up().into_iter().map(|(path, _)| path).collect();
        (paths.len() >= 8).then_some(paths)
    })
    .await;
    for dataset in ["weir.access", "weir.alert"] {
        let of_dataset = paths.iter().filter(|path| path.contains(dataset));
        let expected = [
            format!("/_ilm/policy/{dataset}"),
            format!("/_component_template/{dataset}-mappings"),
            format!("/_component_template/{dataset}-settings"),
            format!("/_index_template/{dataset}"),
        ];
        assert!(of_dataset.eq(&expected), "{paths:?}");
    }
    assert_eq!(paths.len(), 8);
    // They are in the file as well.
    proxy.events_when(30).await;
}

#[tokio::test]
async fn each_event_of_a_bulk_request_is_handled_separately() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.script(&[
        Fault::Items(429, 3),
        Fault::Items(503, 2),
        Fault::Items(400, 2),
    ]);
    let proxy = shipping(&backend, &[index.url()], "events: 12, wait: 10s")
        .start()
        .await;
    let ids = send_requests(&proxy, 12).await;
    // 4 of 12 are retried, then 2 of 4, the first of which is rejected permanently.
    let metrics = wait_until_settled(&proxy, "dead_letter", 1.0).await;
    assert_eq!(outcome(&metrics, "indexed"), 11.0);
    assert_eq!(index.ids().len(), 11);
    let letters = proxy.directory().join("data/spool/dead-letter.ndjson");
    let letter = std::fs::read_to_string(letters).expect("a dead letter");
    let letter: serde_json::Value = serde_json::from_str(&letter).expect("JSON");
    assert_eq!(letter["status"], 400);
    let id = letter["event"]["event"]["id"].as_str().expect("an id");
    assert!(ids.contains(id) && !index.ids().contains(&id.to_owned()));
}

#[tokio::test]
async fn a_failed_bulk_request_is_retried() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.script(&[
        Fault::Whole(503),
        Fault::Reset,
        Fault::Whole(429),
        Fault::TakenAndReset,
    ]);
    let proxy = shipping(&backend, &[index.url()], "events: 10, wait: 10s")
        .start()
        .await;
    let ids = send_requests(&proxy, 10).await;
    let metrics = wait_until_settled(&proxy, "duplicate", 10.0).await;
    assert_eq!(outcome(&metrics, "indexed"), 0.0, "its response was lost");
    indexed_events(&index, &ids).await;
    assert_eq!(index.bulks().0, 5);
}

#[tokio::test]
async fn an_oversized_bulk_request_is_split() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(Fault::MoreThan(413, 3)));
    let proxy = shipping(&backend, &[index.url()], "events: 16, wait: 10s")
        .start()
        .await;
    let ids = send_requests(&proxy, 16).await;
    wait_until_settled(&proxy, "indexed", 16.0).await;
    indexed_events(&index, &ids).await;
    assert_eq!(index.bulks(), (1 + 2 + 4 + 8, 16));
}

#[tokio::test]
async fn one_node_that_is_down_delays_nothing() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    let down = "http://127.0.0.1:1".to_owned();
    let proxy = shipping(&backend, &[down, index.url()], "events: 4, wait: 50ms");
    let proxy = proxy.start().await;
    let ids = send_requests(&proxy, 40).await;
    indexed_events(&index, &ids).await;
    wait_until_settled(&proxy, "indexed", 40.0).await;
}

#[tokio::test]
async fn a_kill_loses_no_spooled_events() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(Fault::Whole(429)));
    let directory = TempDir::new().expect("a directory");
    let setup = shipping(&backend, &[index.url()], "events: 20, wait: 20ms");
    let mut ids = BTreeSet::new();
    let mut keep = directory;
    for round in 0..3 {
        let process = setup.spawn(keep.path());
        let proxy = Proxy::ready(process, keep).await;
        let metrics = wait_until_settled(&proxy, "recovered", f64::from(round) * 25.0).await;
        assert!(metrics.sum("weir_spool_bytes", &[]) > 0.0 || round == 0);
        ids.extend(send_requests(&proxy, 25).await);
        wait_for_empty_channel(&proxy).await;
        proxy.kill();
        proxy.wait_exit(wait::PATIENCE).await;
        keep = proxy.into_directory();
    }
    assert!(index.ids().is_empty());
    index.always(None);
    let proxy = Proxy::ready(setup.spawn(keep.path()), keep).await;
    let metrics = wait_until_settled(&proxy, "indexed", 75.0).await;
    assert_eq!(outcome(&metrics, "recovered"), 75.0);
    indexed_events(&index, &ids).await;
    proxy.sigterm();
    proxy.wait_exit(wait::PATIENCE).await;
    // Acknowledged events are not sent again.
    let keep = proxy.into_directory();
    let proxy = Proxy::ready(setup.spawn(keep.path()), keep).await;
    assert_eq!(outcome(&proxy.metrics().await, "recovered"), 0.0);
}

#[tokio::test]
async fn pending_events_are_shipped_at_shutdown() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    let proxy = shipping(&backend, &[index.url()], "events: 1000, wait: 60s")
        .start()
        .await;
    let ids = send_requests(&proxy, 20).await;
    assert!(index.ids().is_empty());
    proxy.sigterm();
    assert!(proxy.wait_exit(wait::PATIENCE).await.success());
    indexed_events(&index, &ids).await;
}

#[tokio::test]
async fn a_hanging_index_delays_neither_requests_nor_the_shutdown() {
    let backend = Backend::echo().await;
    let hung = Backend::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let hung = hung.await;
    let proxy = shipping(&backend, &[hung.url()], "events: 5, wait: 10ms")
        .start()
        .await;
    send_requests(&proxy, 50).await;
    let metrics = wait_until_settled(&proxy, "recorded", 50.0).await;
    assert_eq!(outcome(&metrics, "dropped"), 0.0);
    proxy.sigterm();
    assert!(proxy.wait_exit(wait::PATIENCE).await.success());
}

#[tokio::test]
async fn a_full_spool_drops_counted_events_and_no_requests() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(Fault::Whole(429)));
    let url = index.url();
    let proxy = Setup::open(&backend)
        .events("spool: {path: data/spool, bytes: 100KiB, sync: 100ms}")
        .events(&format!(
            "elasticsearch: {{urls: ['{url}'], batch: {{events: 10, wait: 10ms}}}}"
        ))
        .start()
        .await;
    send_requests(&proxy, 300).await;
    let metrics = wait_for_empty_channel(&proxy).await;
    assert!(outcome(&metrics, "dropped") > 50.0);
    assert!(metrics.sum("weir_spool_bytes", &[]) <= 102_400.0);
    wait::eventually("a log line about the error", wait::PATIENCE, || {
        proxy.stderr().contains("the spool is full")
    })
    .await;
    index.always(None);
    let stored = 300.0 - outcome(&metrics, "dropped");
    wait_until_settled(&proxy, "indexed", stored).await;
    assert_eq!(index.ids().len() as f64, stored);
}

#[tokio::test]
async fn rejected_credentials_are_reported_and_lose_no_events() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(Fault::Whole(401)));
    let proxy = shipping(&backend, &[index.url()], "events: 5, wait: 10ms")
        .start()
        .await;
    send_requests(&proxy, 5).await;
    wait::eventually("a log line about the error", wait::PATIENCE, || {
        proxy
            .stderr()
            .contains("it responded with 401: check username, password, api_key")
    })
    .await;
    let metrics = wait_for_empty_channel(&proxy).await;
    assert_eq!(metrics.sum("weir_spool_events", &[]), 5.0);
    assert_eq!(
        metrics.sum("weir_dependency_up", &[("name", "elasticsearch")]),
        0.0
    );
    index.always(None);
    wait_until_settled(&proxy, "indexed", 5.0).await;
}

#[tokio::test]
async fn a_failing_spool_drops_counted_events_and_no_requests() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(Fault::Whole(503)));
    let proxy = shipping(&backend, &[index.url()], "events: 10, wait: 10ms")
        .start()
        .await;
    send_requests(&proxy, 40).await;
    // A file in place of the directory: nothing can be written or read there.
    let spool = proxy.directory().join("data/spool");
    std::fs::remove_dir_all(&spool).expect("removed");
    std::fs::write(&spool, "").expect("a file");
    send_requests(&proxy, 40).await;
    index.always(None);
    let none_left = |metrics: &Metrics| {
        assert_accounting(metrics);
        metrics.sum("weir_spool_events", &[]) + metrics.sum("weir_events_in_channel", &[]) < 0.5
    };
    let metrics = proxy.metrics_when("an empty spool", none_left).await;
    let gone = outcome(&metrics, "indexed") + outcome(&metrics, "dropped");
    assert_eq!(gone, 80.0);
    proxy.sigterm();
    assert!(proxy.wait_exit(wait::PATIENCE).await.success());
}
