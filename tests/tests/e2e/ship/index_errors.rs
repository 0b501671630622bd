//! Errors of the cluster or the credentials are retried; errors of a single event make it a dead letter. With a scripted
//! index, and with a real search node where it can reproduce them.

use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::backend::Backend;
use weir_tests::index::{Fault, Index};
use weir_tests::metrics::Metrics;
use weir_tests::node::OwnNode;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::{
    SPOOL, assert_accounting, indexed_events, outcome, send_requests, shipping, wait_until_settled,
};

/// Status, type and reason of an item as servers send them, and weir's name for it.
const ERRORS: [(u16, &str, &str, &str); 14] = [
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

/// Waits until the status names this reason; no event is lost or dropped meanwhile.
async fn wait_for_reason(proxy: &Proxy, reason: &str, events: f64) -> Metrics {
    let started_at = tokio::time::Instant::now();
    let status = loop {
        let status = status(proxy).await;
        if status["reason"] == reason {
            break status;
        }
        let waited = started_at.elapsed();
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
    assert_accounting(&metrics);
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

/// An error for some of the events and for the whole request have the same result.
async fn assert_retried(
    condition: (u16, &'static str, &'static str, &'static str),
    is_whole: bool,
) {
    let (code, kind, output, reason) = condition;
    let (backend, index) = (Backend::echo().await, Index::start().await);
    index.always(Some(match is_whole {
        true => Fault::WholeError(code, kind, output),
        false => Fault::Errors(code, kind, output, 3),
    }));
    let proxy = shipping(&backend, &[index.url()], "events: 9, wait: 10ms")
        .start()
        .await;
    let ids = send_requests(&proxy, 9).await;
    wait_for_reason(&proxy, reason, 1.0).await;
    let stderr = proxy.stderr();
    assert!(stderr.contains(&format!("({reason})")), "{stderr}");
    assert!(stderr.contains(output), "{stderr}");
    index.always(None);
    wait_until_settled(&proxy, "indexed", 9.0).await;
    indexed_events(&index, &ids).await;
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
    let each = ERRORS.map(|condition| assert_retried(condition, false));
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn the_same_errors_for_a_whole_request_lose_no_events() {
    let each = ERRORS.map(|condition| assert_retried(condition, true));
    futures_util::future::join_all(each).await;
}

#[tokio::test]
async fn errors_of_single_events_do_not_delay_others() {
    let (backend, index) = (Backend::echo().await, Index::start().await);
    // Each of these could be mistaken for an error of the cluster: a client chooses the values.
    for (kind, output) in [
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
        index.script(&[Fault::Errors(400, kind, output, 4)]);
    }
    let proxy = shipping(&backend, &[index.url()], "events: 8, wait: 10s")
        .start()
        .await;
    send_requests(&proxy, 32).await;
    let metrics = wait_until_settled(&proxy, "dead_letter", 8.0).await;
    assert_accounting(&metrics);
    wait_until_settled(&proxy, "indexed", 24.0).await;
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
    wait_until_settled(&proxy, "failure_store", 4.0).await;
    let metrics = wait_until_settled(&proxy, "indexed", 12.0).await;
    assert_eq!(outcome(&metrics, "dead_letter"), 0.0);
    assert_eq!((index.failures(), index.ids().len()), (4, 12));
    assert_eq!(status(&proxy).await["failure_store"], 4);
}

/// A proxy that ships to its own stream.
async fn proxy_shipping_to(backend: &Backend, node: &OwnNode, stream: &str) -> Proxy {
    let url = node.url();
    Setup::open(backend)
        .events(SPOOL)
        .events(&format!(
            "elasticsearch: {{urls: ['{url}'], data_stream: {stream}, batch: {{wait: 20ms}}}}"
        ))
        .start()
        .await
}

async fn set_setting(node: &OwnNode, path: &str, body: Value) {
    let (status, response) = node.send("PUT", path, &body).await;
    assert_eq!(status, 200, "{path}: {response}");
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

/// weir's name for the error, and the setting of a stream that causes it.
const INDEX_SETTINGS: [(&str, &str, &str); 5] = [
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

/// The same for settings of the cluster, each with a dataset whose stream does not exist yet.
const CLUSTER_SETTINGS: [(&str, &str, &str, &str); 4] = [
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
    // The settings apply to all streams, so the node is not shared.
    let Some(node) = OwnNode::start().await else {
        return;
    };
    let backend = Backend::echo().await;
    let stream = "logs-weir.waits-default";
    let proxy = proxy_shipping_to(&backend, &node, stream).await;
    send_requests(&proxy, 1).await;
    wait_until_settled(&proxy, "indexed", 1.0).await;
    let settings = format!("/{stream}/_settings");
    let mut indexed = 1.0;
    for (reason, setting, broken) in INDEX_SETTINGS {
        let broken: Value = serde_json::from_str(broken).expect("JSON");
        set_setting(&node, &settings, json!({setting: broken})).await;
        send_requests(&proxy, 3).await;
        wait_for_reason(&proxy, reason, 3.0).await;
        set_setting(&node, &settings, json!({setting: null})).await;
        indexed += 3.0;
        wait_until_settled(&proxy, "indexed", indexed).await;
    }
    for (reason, dataset, setting, broken) in CLUSTER_SETTINGS {
        let stream = format!("logs-{dataset}-default");
        // Set up in advance: templates are not part of this test.
        let proxy = proxy_shipping_to(&backend, &node, &stream).await;
        is_set_up(&node, dataset).await;
        let settings = "/_cluster/settings";
        let broken: Value = serde_json::from_str(broken).expect("JSON");
        set_setting(&node, settings, json!({"persistent": {setting: broken}})).await;
        send_requests(&proxy, 3).await;
        wait_for_reason(&proxy, reason, 3.0).await;
        set_setting(&node, settings, json!({"persistent": {setting: null}})).await;
        wait_until_settled(&proxy, "indexed", 3.0).await;
        node.holds(&stream, 3).await;
    }
}
