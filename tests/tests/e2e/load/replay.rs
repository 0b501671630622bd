//! Replays of a recording: from the event file, and from a real search node.

use serde_json::{Value, json};
use tempfile::TempDir;
use weir_tests::backend::Backend;
use weir_tests::load::LoadTest;
use weir_tests::node::Node;
use weir_tests::setup::Setup;

const STREAM: &str = "logs-weir.access-replayed";

/// Events as weir writes them, every 10 ms, in reverse order.
fn write_events(count: u64) -> Vec<(String, Value)> {
    (0..count)
        .rev()
        .map(|number| {
            let id = format!("01KAN0X3S8Q5V4R8C9J2{number:06}");
            let event = json!({
                "@timestamp": format!("2026-11-22T08:30:{:02}.{:03}000Z", number / 100, number % 100 * 10),
                "event": {"id": &id, "dataset": "weir.access"},
                "route": if number % 4 == 0 { "chat" } else { "all" },
                "http": {
                    "request": {"method": "POST", "body": {"bytes": 300 + number % 7}},
                    "response": {"status_code": 200},
                },
                "url": {"path": "/v1/chat/completions"},
            });
            (id, event)
        })
        .collect()
}

/// The time between the first and the last event of a file.
fn length_s(file: &str) -> f64 {
    let text = std::fs::read_to_string(file).expect("a file");
    let times = text.lines().map(|line| -> jiff::Timestamp {
        let event: Value = serde_json::from_str(line).expect("an event");
        let time = event["@timestamp"].as_str().expect("a time");
        time.parse().expect("a time")
    });
    let times: Vec<_> = times.collect();
    let (first, last) = (times.iter().min(), times.iter().max());
    let length = last.expect("one").duration_since(*first.expect("one"));
    length.as_secs_f64()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_file_is_replayed() {
    let backend = Backend::chat().await;
    let proxy = Setup::open(&backend).start().await;
    let directory = TempDir::new().expect("a directory");
    let target = format!("http://{}", proxy.address());
    // The events of one test are replayed by the next.
    let common = ["--target", &target, "--slo", "error_rate<0.1%"];
    let first = [
        "--rate",
        "60/s",
        "--duration",
        "2s",
        "--question-bytes",
        "200..900",
    ];
    let first = LoadTest::run(directory.path(), &[&common[..], &first].concat()).await;
    assert_eq!(first.finished.code, Some(0), "{}", first.output());
    proxy.events_when(120).await;
    let file = directory.path().join("recorded.ndjson");
    std::fs::copy(proxy.event_file(), &file).expect("a copy");
    let file = file.to_str().expect("a path");
    let replayed = ["--scenario", "replay", "--events", file, "--speed", "2"];
    let replayed = LoadTest::run(directory.path(), &[&common[..], &replayed].concat()).await;
    assert_eq!(replayed.finished.code, Some(0), "{}", replayed.output());
    assert_eq!(replayed.report["requests"], 120);
    let (duration_s, recorded_s) = (replayed.number("/duration_s"), length_s(file));
    assert!(
        (duration_s - recorded_s / 2.0).abs() < 0.01,
        "{duration_s} of {recorded_s}"
    );
    let all = backend.requests();
    let (mut before, mut after): (Vec<_>, Vec<_>) = (Vec::new(), Vec::new());
    for (place, received) in all.iter().enumerate() {
        let half = if place < 120 { &mut before } else { &mut after };
        half.push(received.body.len());
    }
    before.sort_unstable();
    after.sort_unstable();
    assert_eq!(before, after, "the sizes of the recording");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_of_a_query_on_a_data_stream_is_replayed() {
    let Some(node) = Node::get().await else {
        return;
    };
    node.fill(STREAM, &write_events(200)).await;
    node.holds(STREAM, 200).await;
    let backend = Backend::chat().await;
    let proxy = Setup::open(&backend).start().await;
    let directory = TempDir::new().expect("a directory");
    let target = format!("http://{}", proxy.address());
    let events = format!("{}/{STREAM}", node.url());
    let replay = async |query: &str, events: &str| {
        let arguments = [
            "--target",
            &target,
            "--scenario",
            "replay",
            "--events",
            events,
            "--query",
            query,
            "--slo",
            "error_rate<0.1%",
        ];
        LoadTest::run(directory.path(), &arguments).await
    };
    let all = replay("*", &events).await;
    assert_eq!(all.finished.code, Some(0), "{}", all.output());
    assert_eq!(all.report["requests"], 200);
    // Between the first and the last event, as recorded.
    assert!((all.number("/duration_s") - 1.99).abs() < 0.001);
    let some = replay(
        "route:chat AND @timestamp:[2026-11-22T08:30:01Z TO *]",
        &events,
    )
    .await;
    assert_eq!(some.report["requests"], 25, "{}", some.output());
    std::fs::remove_file(directory.path().join("load.json")).expect("a report");
    for (query, events, reason) in [
        ("route:nobody", events.as_str(), "contains no requests"),
        ("route:(", &events, "400 Bad Request"),
        ("*", &format!("{}/logs-none", node.url()), "404"),
        ("*", &node.url(), "URL of a data stream"),
        ("*", "http://127.0.0.1:1/logs-none", "127.0.0.1:1/logs-none"),
    ] {
        let load = replay(query, events).await;
        assert_eq!(load.finished.code, Some(2), "{query}: {}", load.output());
        assert!(load.output().contains(reason), "{query}: {}", load.output());
    }
}
