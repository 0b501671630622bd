use super::*;
use crate::exchange::{NO_PLATFORM, RequestId};
use crate::metrics::ExpositionFormat;
use crate::record::fixture::{filled, plain};
use crate::record::metrics::RequestMetrics;
use crate::refusal::ErrorCode;

const SOON: Duration = Duration::from_secs(10);

fn soon() -> Instant {
    clock::now() + SOON
}

fn metrics() -> Metrics {
    Metrics::new().expect("metrics")
}

fn config(file: Option<PathBuf>) -> Config {
    Config {
        stdout: false,
        file: file.map(|path| FileConfig {
            path,
            rotate_at_bytes: 1 << 20,
            keep: Duration::from_secs(60),
        }),
        environment: "test".to_owned(),
    }
}

fn recorded(metrics: &Metrics) -> (u64, u64) {
    let events = EventCounts::register(metrics).expect("counters");
    (events.recorded.get(), events.dropped.get())
}

#[test]
fn every_exchange_has_one_event_and_one_count() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("data/events.ndjson");
    let metrics = metrics();
    let recorder =
        EventRecorder::start(&config(Some(path.clone())), None, &metrics).expect("a recorder");
    for number in 0..300 {
        let mut exchange = if number % 2 == 0 { filled() } else { plain() };
        exchange.id = RequestId::fixed(&format!("{number:026}"));
        recorder.record(&exchange, Duration::ZERO);
    }
    assert_eq!(recorder.stop(soon()), Ok(()));
    let text = std::fs::read_to_string(&path).expect("a file");
    let ids: std::collections::HashSet<String> = text
        .lines()
        .map(|line| {
            let event: serde_json::Value = serde_json::from_str(line).expect("a whole event");
            event["event"]["id"].as_str().expect("an id").to_owned()
        })
        .collect();
    assert_eq!((ids.len(), text.lines().count()), (300, 300));
    assert_eq!(recorded(&metrics), (300, 0));
    // Events after the stop are not written, but counted as dropped.
    recorder.record(&plain(), Duration::ZERO);
    assert_eq!(recorded(&metrics), (300, 1));
    let rendered = String::from_utf8(metrics.render(ExpositionFormat::Text)).expect("UTF-8");
    assert!(rendered.contains(r#"weir_events_total{outcome="recorded"} 300"#));
    assert!(rendered.contains(r#"weir_events_total{outcome="dropped"} 1"#));
}

#[test]
fn a_dropped_exchange_is_recorded_as_client_closed() {
    let metrics = metrics();
    let recorder = EventRecorder::start(&config(None), None, &metrics).expect("a recorder");
    let start = clock::now();
    let exchange = Exchange::begin(
        start,
        [127, 0, 0, 1].into(),
        Arc::from(NO_PLATFORM),
        recorder.clone(),
    );
    drop(exchange);
    assert_eq!(recorder.flush(soon()), Ok(()));
    let events = recorder.recent(5);
    assert_eq!(events.len(), 1);
    let event: serde_json::Value = serde_json::from_str(&events[0]).expect("an event");
    assert_eq!(event["error_code"], "client_closed");
    assert_eq!(event["http"]["response"]["status_code"], 499);
    assert!(event["event"]["duration"].as_u64().expect("a number") > 0);
    assert_eq!(recorded(&metrics), (1, 0));
}

#[test]
fn the_duration_includes_the_time_until_the_client_left() {
    let mut exchange = filled();
    let end = exchange.timing.started() + Duration::from_secs(60);
    assert_eq!(exchange.duration(|| end), exchange.timing.total());
    exchange.error_code = Some(ErrorCode::ClientClosed);
    assert_eq!(exchange.duration(|| end), Duration::from_secs(60));
}

#[test]
fn recent_events_are_sorted_newest_last() {
    let recorder = EventRecorder::start(&config(None), None, &metrics()).expect("a recorder");
    for second in [3, 1, 2] {
        let mut exchange = plain();
        exchange.received_at = Duration::from_secs(second);
        recorder.record(&exchange, Duration::ZERO);
    }
    let seconds: Vec<_> = recorder
        .recent(100)
        .iter()
        .map(|event| event[15..34].to_owned())
        .collect();
    assert_eq!(
        seconds,
        [
            "1970-01-01T00:00:01",
            "1970-01-01T00:00:02",
            "1970-01-01T00:00:03"
        ]
    );
    assert_eq!(recorder.recent(1).len(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_prevents_the_start() {
    let config = config(Some("/dev/null/events".into()));
    let error = EventRecorder::start(&config, None, &metrics()).expect_err("not a directory");
    assert!(error.to_string().contains("/dev/null/events"), "{error}");
}

#[test]
fn an_event_contains_only_the_listed_fields() {
    // Invariant 4: nothing of these headers and this query is in the event.
    let metrics = metrics();
    let requests = RequestMetrics::register(&metrics, Arc::new(())).expect("metrics");
    let recorder = EventRecorder::start(&config(None), None, &metrics).expect("a recorder");
    let mut exchange = filled();
    exchange.trace.tracestate = Some(http::HeaderValue::from_static("vendor=hunter2"));
    exchange.trace.baggage = Some(http::HeaderValue::from_static("password=hunter2"));
    exchange.path = "/v1/chat?api_key=hunter2".into();
    requests.record(&exchange, Duration::ZERO);
    recorder.record(&exchange, Duration::ZERO);
    let events = recorder.recent(1).concat();
    assert!(events.contains("/v1/chat") && !events.contains("hunter2"));
    assert!(!String::from_utf8_lossy(&metrics.render(ExpositionFormat::Text)).contains("hunter2"));
}
