//! What changes hands: events that are not shipped yet, the audit log, alerts, and what protects against replays.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::index::{Fault, Index};
use weir_tests::process::Process;
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::sign::{Headers, sign_hmac_now};
use weir_tests::wait;

use super::drained;

const SECRET: &str = "0123456789abcdef";

/// Sends requests on one connection, and returns the ids of the responses.
async fn send(client: &mut Client, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let response = client.send(ClientRequest::get("/a")).await;
        assert_eq!(response.status, 200);
        ids.push(response.header("x-request-id").expect("an id").to_owned());
    }
    ids
}

fn ids_of(events: &[Value]) -> BTreeSet<String> {
    let ids = events.iter().map(|event| &event["http"]["request"]["id"]);
    ids.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// Events wait for the index, are recorded by both processes at once, and the old one is killed while it drains.
#[tokio::test]
async fn no_event_is_lost_or_indexed_twice_when_the_old_process_is_killed() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(Fault::Whole(503)));
    let url = index.url();
    let setup = Setup::open(&backend)
        .events("spool: {path: data/spool, sync: 50ms}")
        .events(&format!(
            "elasticsearch: {{urls: ['{url}'], timeout: 2s, batch: {{events: 20, wait: 10ms}}}}"
        ));
    let mut proxy = setup.start().await;
    let (mut first, mut second) = (
        Client::h1(proxy.address()).await,
        Client::h1(proxy.address()).await,
    );
    let mut ids = send(&mut first, 30).await;
    ids.extend(send(&mut second, 30).await);
    // The old process does not end by itself while this request is incomplete.
    let mut incomplete = Raw::connect(proxy.address()).await;
    incomplete
        .write("POST /a HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\n{")
        .await;
    proxy
        .metrics_when("the incomplete request", |metrics| {
            metrics.sum("weir_requests_in_flight", &[]) == 1.0
        })
        .await;
    let old = proxy.upgrade(&setup).await;
    // The last requests of the old connections are recorded by the old process.
    ids.extend(send(&mut first, 1).await);
    ids.extend(send(&mut second, 1).await);
    let mut third = Client::h1(proxy.address()).await;
    ids.extend(send(&mut third, 30).await);
    let spools = || {
        let entries = std::fs::read_dir(proxy.directory().join("data/spool")).expect("the spool");
        let names = entries.flatten().map(|entry| entry.file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with("draining-"))
            .count()
    };
    assert_eq!(spools(), 1);
    // Both are on disk.
    wait::eventually("the spool of the old process", wait::PATIENCE, || {
        let files = old_spool_bytes(proxy.directory());
        files > 0
    })
    .await;
    assert!(
        wait::still_waiting_after(
            std::time::Duration::from_millis(200),
            std::future::pending::<()>()
        )
        .await
    );
    old.kill();
    wait::eventually("the spool is taken over", wait::PATIENCE, || spools() == 0).await;
    index.always(None);
    let expected: BTreeSet<String> = ids.iter().cloned().collect();
    wait::eventually("all events in the index", wait::PATIENCE, || {
        index.ids().len() >= expected.len()
    })
    .await;
    assert_eq!(index.ids().into_iter().collect::<BTreeSet<_>>(), expected);
    let events = proxy.events_when(expected.len()).await;
    assert_eq!(ids_of(&events), expected);
    let metrics = proxy.metrics().await;
    let of = |outcome| metrics.sum("weir_events_total", &[("outcome", outcome)]);
    assert_eq!((of("recorded"), of("recovered")), (30.0, 62.0));
    assert_eq!(of("dropped"), 0.0);
}

/// The size of the segments in the directory of a process that drains.
fn old_spool_bytes(directory: &std::path::Path) -> u64 {
    let entries = std::fs::read_dir(directory.join("data/spool")).expect("the spool");
    let drained = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    let files = drained.flat_map(|path| std::fs::read_dir(path).expect("a folder").flatten());
    let segments = files.filter(|file| file.path().extension().is_some_and(|name| name == "seg"));
    segments
        .map(|file| file.metadata().map_or(0, |metadata| metadata.len()))
        .sum()
}

async fn post(client: &mut Client, headers: Headers) -> u16 {
    let request = ClientRequest::post("/signed", "{}").headers(headers);
    client.send(request).await.status
}

#[tokio::test]
async fn the_audit_log_and_the_memory_of_signatures_continue() {
    let backend = Backend::echo().await;
    let setup = Setup::new(&backend)
        .routes(&format!(
            "- {{name: signed, path: /signed, backend: assistant, signature: {{scheme: hmac, secrets: [{SECRET}]}}}}"
        ))
        .events("audit: {path: data/audit.ndjson}");
    let mut proxy = setup.start().await;
    let signed = |secret| sign_hmac_now(secret, b"{}");
    let (before, during) = (signed(SECRET), signed(SECRET));
    let mut client = Client::h1(proxy.address()).await;
    assert_eq!(post(&mut client, before.clone()).await, 200);
    assert_eq!(
        post(&mut client, signed("another-secret-012345")).await,
        401
    );
    let mut wrong = Client::h1(proxy.address()).await;
    assert_eq!(post(&mut wrong, signed("another-secret-012345")).await, 401);
    for number in 0..2 {
        let old = proxy.upgrade(&setup).await;
        // Accepted by the old process while it drains.
        let accepted = match number {
            0 => post(&mut client, during.clone()).await,
            _ => 200,
        };
        assert_eq!(accepted, 200);
        assert_eq!(post(&mut wrong, signed("another-secret-012345")).await, 401);
        client = Client::h1(proxy.address()).await;
        wrong = Client::h1(proxy.address()).await;
        assert_eq!(post(&mut wrong, signed("another-secret-012345")).await, 401);
        assert_eq!(post(&mut client, before.clone()).await, 401, "a replay");
        drained(&old).await;
        // The old process may have accepted the last ones.
        client = Client::h1(proxy.address()).await;
        wrong = Client::h1(proxy.address()).await;
        assert_eq!(post(&mut client, during.clone()).await, 401, "a replay");
        assert_eq!(post(&mut client, signed(SECRET)).await, 200);
    }
    proxy.sigterm();
    assert!(proxy.wait_exit(wait::PATIENCE).await.success());
    let text = std::fs::read_to_string(proxy.directory().join("data/audit.ndjson"));
    let lines = text.expect("the audit log");
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let count = |action: &str| {
        let of_action = lines
            .iter()
            .filter(|line| line["event"]["action"] == action);
        of_action.count()
    };
    assert_eq!((count("weir_started"), count("weir_stopped")), (3, 3));
    let refused: u64 = lines
        .iter()
        .filter_map(|line| line["refused"]["count"].as_u64())
        .sum();
    assert_eq!(refused, 2 + 2 * 4, "{lines:#?}");
    let verified = Process::run(
        proxy.directory(),
        &["audit", "verify", "data/audit.ndjson"],
        b"",
    );
    let verified = verified.await;
    assert_eq!(verified.code, Some(0), "{}", verified.stderr);
}

async fn tier(proxy: &Proxy) -> Value {
    let page = proxy.admin_get("/api/alerts").await.json();
    page["alerts"][0]["tier"].clone()
}

/// Sends requests until the alert reaches this tier.
async fn wait_for_tier(proxy: &Proxy, expected: &str) {
    wait::within(expected, wait::PATIENCE, async {
        while tier(proxy).await != expected {
            proxy.send(ClientRequest::get("/")).await;
            wait::tick().await;
        }
    })
    .await;
}

/// The status of each message to the webhook, and the instance of its alert.
fn messages(hook: &Backend) -> Vec<(Value, Value)> {
    let requests = hook.requests();
    let bodies = requests
        .iter()
        .filter_map(|request| serde_json::from_slice::<Value>(&request.body).ok());
    let message = |body: Value| {
        let instance = body["alerts"][0]["labels"]["instance"].clone();
        (body["status"].clone(), instance)
    };
    bodies.map(message).collect()
}

#[tokio::test]
async fn a_firing_alert_is_notified_once_and_its_end_is_not_lost() {
    let fails = Arc::new(AtomicBool::new(true));
    let failing = fails.clone();
    let backend = Backend::responding(move |_| {
        BackendResponse::status(if failing.load(Ordering::SeqCst) {
            500
        } else {
            200
        })
    })
    .await;
    let hook = Backend::responding(|_| BackendResponse::status(200)).await;
    let rule =
        "{name: ErrorRate, signal: error_rate, warning: 1%, critical: 3%, recovery: 0.5%, for: 0s}";
    let setup = Setup::open(&backend).top(&format!(
        "alerts: {{evaluate_every: 100ms, window: 2s, minimum_requests: 5, state: data/alerts.json, rules: [{rule}], webhook: {{url: '{}'}}}}",
        hook.url()
    ));
    let mut proxy = setup.start().await;
    wait_for_tier(&proxy, "critical").await;
    wait::eventually("a message", wait::PATIENCE, || messages(&hook).len() == 1).await;
    let silence = json!({"comment": "test", "matchers": [{"name": "alertname", "value": "Other"}],
        "duration": "1h", "created_by": "test"});
    let host = proxy.admin().to_string();
    let request = ClientRequest::json("/api/silences", &silence).header("host", &host);
    let created = weir_tests::client::send(proxy.admin(), request).await;
    assert_eq!(created.status, 201, "{}", created.text());
    for _ in 0..2 {
        let old = proxy.upgrade(&setup).await;
        assert_eq!(tier(&proxy).await, "critical");
        drained(&old).await;
    }
    let silences = proxy.admin_get("/api/silences").await.json();
    assert_eq!(
        silences.to_string().contains("Other"),
        created.status == 201,
        "{silences}"
    );
    assert_eq!(messages(&hook).len(), 1);
    fails.store(false, Ordering::SeqCst);
    wait_for_tier(&proxy, "none").await;
    wait::eventually("its end", wait::PATIENCE, || messages(&hook).len() == 2).await;
    let messages = messages(&hook);
    assert_eq!(messages[0].0, "firing");
    assert_eq!(messages[1], (json!("resolved"), messages[0].1.clone()));
}
