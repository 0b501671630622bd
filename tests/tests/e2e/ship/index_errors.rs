//! What says something of the cluster or the credential is waited out; what says something of one event is a
//! dead letter. On a scripted index, and for what it can show on a real search node.

use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::backend::Backend;
use weir_tests::index::{Fault, Index};
use weir_tests::metrics::Metrics;
use weir_tests::node::OwnNode;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::{SPOOL, arrived, assert_balance, outcome, send_requests, settled, shipping};

/// Status, type and reason as servers send them for one item, and what weir calls it.
const CONDITIONS: [(u16, &str, &str, &str); 14] = [
    (
        401,
        "security_exception",
        "unable to authenticate",
        "unauthenticated",
    ),
    (
        403,
        "security_exception",
        "action [indices:data/write/bulk[s]] is unauthorized",
        "forbidden",
    ),
    (
        404,
        "index_not_found_exception",
        "no such index [x] and [action.auto_create_index] is [false]",
        "index_missing",
    ),
    (408, "timeout_exception", "timed out", "timed_out"),
    (
        400,
        "validation_exception",
        "Validation Failed: 1: this action would add [2] shards, but this cluster currently has [1000]/[1000] maximum normal shards open;",
        "shard_limit",
    ),
    (
        400,
        "illegal_argument_exception",
        "Validation Failed: 1: this action would add [10] total shards, but this cluster currently has [2402]/[2000] maximum shards open;",
        "shard_limit",
    ),
    (
        400,
        "illegal_argument_exception",
        "pipeline with id [weir] does not exist",
        "pipeline_missing",
    ),
    (
        403,
        "cluster_block_exception",
        "index [x] blocked by: [FORBIDDEN/8/index write (api)];",
        "blocked",
    ),
    (
        429,
        "cluster_block_exception",
        "index [x] blocked by: [TOO_MANY_REQUESTS/12/disk usage exceeded flood-stage watermark, index has read-only-allow-delete block];",
        "disk_full",
    ),
    (
        403,
        "index_create_block_exception",
        "blocked by: [FORBIDDEN/10/cluster create-index blocked (api)];",
        "blocked",
    ),
    (400, "index_closed_exception", "closed", "index_missing"),
    (
        429,
        "es_rejected_execution_exception",
        "rejected execution",
        "overloaded",
    ),
    (
        503,
        "unavailable_shards_exception",
        "primary shard is not active",
        "unavailable",
    ),
    (
        400,
        "mapper_parsing_exception",
        "Failed to parse mapping [_doc]: unknown type",
        "template",
    ),
];

async fn status(proxy: &Proxy) -> Value {
    proxy.admin_get("/api/status").await.json()["shipping"]["events"].clone()
}

/// Waits until the status names this reason; nothing is lost or given up meanwhile.
async fn waits_for(proxy: &Proxy, reason: &str, events: f64) -> Metrics {
    let begun = tokio::time::Instant::now();
    let status = loop {
        let status = status(proxy).await;
        if status["reason"] == reason {
            break status;
        }
        let waited = begun.elapsed();
        assert!(
            waited < wait::PATIENCE,
            "{reason}: {status}\n{}",
            proxy.stderr()
        );
        wait::tick().await;
    };
    assert_eq!(status["status"], "waiting");
    assert!(status["since"].is_string() && status["node"].is_string());
    let metrics = proxy.metrics().await;
    assert_balance(&metrics);
    let of = |name: &str| metrics.sum(name, &[("reason", reason)]);
    assert_eq!(of("weir_shipping_blocked"), 1.0, "{reason}");
    assert!(of("weir_events_retried_total") >= events, "{reason}");
    assert_eq!(
        metrics.sum("weir_shipping_blocked", &[]),
        1.0,
        "one reason at a time"
    );
    assert_eq!(outcome(&metrics, "dead_letter"), 0.0, "{reason}");
    assert_eq!(outcome(&metrics, "dropped"), 0.0, "{reason}");
    assert!(
        !proxy
            .directory()
            .join("data/spool/dead-letter.ndjson")
            .exists()
    );
    metrics
}

/// An answer with a condition for a part of the events, or for the whole request, comes to the same.
async fn is_waited_out(condition: (u16, &'static str, &'static str, &'static str), is_whole: bool) {
    let (code, kind, said, reason) = condition;
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(match is_whole {
        true => Fault::WholeError(code, kind, said),
        false => Fault::Errors(code, kind, said, 3),
    }));
    let proxy = shipping(&backend, &[index.url()], "events: 9, wait: 10ms")
        .start()
        .await;
    let ids = send_requests(&proxy, 9).await;
    waits_for(&proxy, reason, 1.0).await;
    let stderr = proxy.stderr();
    assert!(stderr.contains(&format!("({reason})")), "{stderr}");
    assert!(stderr.contains(said), "{stderr}");
    index.always(None);
    settled(&proxy, "indexed", 9.0).await;
    arrived(&index, &ids).await;
    wait::within("an end of the reason", wait::PATIENCE, async {
        while status(&proxy).await["status"] != "ok" {
            wait::tick().await;
        }
    })
    .await;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("weir_shipping_blocked", &[]), 0.0);
}

#[tokio::test]
async fn errors_of_the_cluster_or_the_credentials_lose_no_events() {
    let each = CONDITIONS.map(|condition| is_waited_out(condition, false));
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn the_same_errors_for_a_whole_request_lose_no_events() {
    let each = CONDITIONS.map(|condition| is_waited_out(condition, true));
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn errors_of_single_events_do_not_delay_others() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    // Each of these has been taken for a condition by somebody: a client chooses what a value says.
    for (kind, said) in [
        (
            "document_parsing_exception",
            "failed to parse field [a]. Preview: 'pipeline with id [x] does not exist'",
        ),
        (
            "mapper_parsing_exception",
            "failed to parse field [client.ip]",
        ),
        (
            "illegal_argument_exception",
            "immense term: 'this action would add [1] shards, maximum shards open'",
        ),
        ("strict_dynamic_mapping_exception", "mapping set to strict"),
    ] {
        index.script(&[Fault::Errors(400, kind, said, 4)]);
    }
    let proxy = shipping(&backend, &[index.url()], "events: 8, wait: 10s")
        .start()
        .await;
    send_requests(&proxy, 32).await;
    let metrics = settled(&proxy, "dead_letter", 8.0).await;
    assert_balance(&metrics);
    settled(&proxy, "indexed", 24.0).await;
    assert_eq!(status(&proxy).await["status"], "ok");
}

#[tokio::test]
async fn events_in_the_failure_store_are_counted_separately() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(Fault::FailureStore(4)));
    let proxy = shipping(&backend, &[index.url()], "events: 8, wait: 10s")
        .start()
        .await;
    send_requests(&proxy, 16).await;
    settled(&proxy, "failure_store", 4.0).await;
    let metrics = settled(&proxy, "indexed", 12.0).await;
    assert_eq!(outcome(&metrics, "dead_letter"), 0.0);
    assert_eq!((index.failures(), index.ids().len()), (4, 12));
    assert_eq!(status(&proxy).await["failure_store"], 4);
}

/// A proxy that ships to a stream of its own.
async fn ships_to(backend: &Backend, node: &OwnNode, stream: &str) -> Proxy {
    let url = node.url();
    Setup::open(backend)
        .events(SPOOL)
        .events(&format!(
            "elasticsearch: {{urls: ['{url}'], data_stream: {stream}, batch: {{wait: 20ms}}}}"
        ))
        .start()
        .await
}

async fn set(node: &OwnNode, path: &str, body: Value) {
    let (status, answer) = node.send("PUT", path, &body).await;
    assert_eq!(status, 200, "{path}: {answer}");
}

async fn is_set_up(node: &OwnNode, dataset: &str) {
    wait::within("the set-up", Duration::from_secs(60), async {
        let template = format!("/_index_template/{dataset}");
        while node.send("GET", &template, &Value::Null).await.0 != 200 {
            wait::tick().await;
        }
    })
    .await;
}

/// What weir calls it, and the setting of a stream that brings it about.
const OF_THE_INDEX: [(&str, &str, &str); 5] = [
    (
        "pipeline_missing",
        "index.default_pipeline",
        "\"not-there\"",
    ),
    ("pipeline_missing", "index.final_pipeline", "\"not-there\""),
    ("blocked", "index.blocks.write", "true"),
    ("blocked", "index.blocks.read_only", "true"),
    ("disk_full", "index.blocks.read_only_allow_delete", "true"),
];

/// The same for settings of the cluster, each with a dataset whose stream is not there yet.
const OF_THE_CLUSTER: [(&str, &str, &str, &str); 4] = [
    (
        "shard_limit",
        "weir.shards",
        "cluster.max_shards_per_node",
        "1",
    ),
    (
        "index_missing",
        "weir.auto",
        "action.auto_create_index",
        "false",
    ),
    (
        "index_missing",
        "weir.rule",
        "action.auto_create_index",
        "\"-logs-*,+*\"",
    ),
    (
        "blocked",
        "weir.only",
        "cluster.blocks.read_only_allow_delete",
        "true",
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_real_node_receives_all_events_after_an_outage() {
    // Its settings hold for all streams: so it is no node that others use.
    let Some(node) = OwnNode::start().await else {
        return;
    };
    let backend = Backend::echo().await;
    let stream = "logs-weir.waits-default";
    let proxy = ships_to(&backend, &node, stream).await;
    send_requests(&proxy, 1).await;
    settled(&proxy, "indexed", 1.0).await;
    let settings = format!("/{stream}/_settings");
    let mut indexed = 1.0;
    for (reason, setting, broken) in OF_THE_INDEX {
        let broken: Value = serde_json::from_str(broken).expect("JSON");
        set(&node, &settings, json!({setting: broken})).await;
        send_requests(&proxy, 3).await;
        waits_for(&proxy, reason, 3.0).await;
        set(&node, &settings, json!({setting: null})).await;
        indexed += 3.0;
        settled(&proxy, "indexed", indexed).await;
    }
    for (reason, dataset, setting, broken) in OF_THE_CLUSTER {
        let stream = format!("logs-{dataset}-default");
        // Set up before: templates are no part of what is shown here.
        let proxy = ships_to(&backend, &node, &stream).await;
        is_set_up(&node, dataset).await;
        let settings = "/_cluster/settings";
        let broken: Value = serde_json::from_str(broken).expect("JSON");
        set(&node, settings, json!({"persistent": {setting: broken}})).await;
        send_requests(&proxy, 3).await;
        waits_for(&proxy, reason, 3.0).await;
        set(&node, settings, json!({"persistent": {setting: null}})).await;
        settled(&proxy, "indexed", 3.0).await;
        node.holds(&stream, 3).await;
    }
}
