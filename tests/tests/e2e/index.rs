//! Events in a real search node, and the query that they are stored for.

use serde_json::{Value, json};
use weir_tests::backend::Backend;
use weir_tests::client::ClientRequest;
use weir_tests::metrics::assert_metric;
use weir_tests::node::Node;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

/// The number of slow responses of a platform, by error code.
fn slow_ones(platform: &str) -> Value {
    json!({
        "query": {"bool": {"must": [
            {"term": {"platform": platform}},
            {"range": {"response_time": {"gt": 1000}}}
        ]}},
        "aggs": {"error_types": {"terms": {"field": "error_code"}}}
    })
}

fn found(backend_response: &Value) -> (u64, Vec<(&str, u64)>) {
    let buckets = backend_response["aggregations"]["error_types"]["buckets"].as_array();
    let buckets = buckets.expect("buckets").iter();
    let buckets = buckets.map(|bucket| {
        let key = bucket["key"].as_str().expect("a key");
        (key, bucket["doc_count"].as_u64().expect("a count"))
    });
    let hits = backend_response["hits"]["total"]["value"].as_u64();
    (hits.expect("a total"), buckets.collect())
}

/// A proxy that ships to a stream of this test; requests to `slow` time out.
async fn shipping(quick: &Backend, slow: &Backend, node: Node, stream: &str) -> Proxy {
    let url = node.url();
    Setup::new(quick)
        .backend("slow", &[slow.url()], &["first_byte_timeout: 1100ms"])
        .routes(
            "- {name: feishu-slow, path: /feishu/slow, platform: feishu, backend: slow}\n\
             - {name: slack-slow, path: /slack/slow, platform: slack, backend: slow}\n\
             - {name: feishu, path: /feishu/*, platform: feishu, backend: assistant}",
        )
        .events("spool: {path: data/spool, sync: 100ms}")
        .events(&format!(
            "elasticsearch: {{urls: ['{url}'], data_stream: {stream}, batch: {{wait: 50ms}}}}"
        ))
        .start()
        .await
}

#[tokio::test]
async fn real_traffic_is_found_by_the_documented_query() {
    let Some(node) = Node::get().await else {
        return;
    };
    let stream = "logs-weir.traffic-default";
    let (quick, slow) = (Backend::echo().await, Backend::manual().await);
    let proxy = shipping(&quick, &slow, node, stream).await;
    let (first, second, other) = tokio::join!(
        proxy.send(ClientRequest::get("/feishu/slow")),
        proxy.send(ClientRequest::get("/feishu/slow")),
        proxy.send(ClientRequest::get("/slack/slow")),
    );
    for response in [&first, &second, &other] {
        assert_eq!(response.status, 504);
    }
    for _ in 0..3 {
        assert_eq!(
            proxy.send(ClientRequest::get("/feishu/quick")).await.status,
            200
        );
    }
    node.holds(stream, 6).await;
    let backend_response = node.search(stream, &slow_ones("feishu")).await;
    assert_eq!(found(&backend_response), (2, vec![("upstream_timeout", 2)]));
    let backend_response = node.search(stream, &slow_ones("slack")).await;
    assert_eq!(found(&backend_response), (1, vec![("upstream_timeout", 1)]));
    let id = first.header("x-request-id").expect("an id");
    let by_id = json!({"query": {"ids": {"values": [id]}}});
    let backend_response = node.search(stream, &by_id).await;
    let document = &backend_response["hits"]["hits"][0]["_source"];
    assert_eq!(document, &proxy.event(id).await, "the event of the file");
    let labels = [("outcome", "indexed")];
    assert_metric(proxy.admin(), "weir_events_total", &labels, 6.0).await;
    wait::eventually("a word on what it cannot do", wait::PATIENCE, || {
        proxy.stderr().contains("no index state management")
    })
    .await;
}

#[tokio::test]
async fn the_mapping_is_exact_and_stores_an_event_once() {
    let Some(node) = Node::get().await else {
        return;
    };
    let stream = "logs-weir.fixture-default";
    let backend = Backend::echo().await;
    // It sets up the stream, and its own event counts as well.
    let proxy = shipping(&backend, &backend, node, stream).await;
    assert_eq!(
        proxy.send(ClientRequest::get("/feishu/a")).await.status,
        200
    );
    node.holds(stream, 1).await;
    let events = [
        ("a", "feishu", Some("upstream_timeout"), 1500.5),
        ("b", "feishu", Some("upstream_timeout"), 2500.0),
        ("c", "feishu", Some("rate_limited"), 1000.4),
        ("d", "slack", Some("rate_limited"), 1001.0),
        ("e", "feishu", None, 1000.0),
        ("f", "feishu", None, 10.0),
    ];
    for (id, platform, error_code, response_time) in events {
        let mut event = json!({
            "@timestamp": "2026-11-22T08:30:00.123456Z",
            "platform": platform,
            "response_time": response_time,
            "unknown": {"field": 1}
        });
        if let Some(code) = error_code {
            event["error_code"] = json!(code);
        }
        let path = format!("/{stream}/_create/{id}");
        assert_eq!(node.send("PUT", &path, &event).await.0, 201, "{id}");
        assert_eq!(node.send("PUT", &path, &event).await.0, 409, "{id} again");
    }
    node.holds(stream, 7).await;
    let backend_response = node.search(stream, &slow_ones("feishu")).await;
    let expected = vec![("upstream_timeout", 2), ("rate_limited", 1)];
    assert_eq!(found(&backend_response), (3, expected));
    let path = format!("/{stream}/_mapping");
    let (_, mapping) = node.send("GET", &path, &Value::Null).await;
    let text = mapping.to_string();
    assert!(!text.contains("unknown"), "only what is mapped is indexed");
    assert!(text.contains("time_to_first_chunk_ms"));
}
