use super::*;
use crate::exchange::RequestId;
use crate::metrics::Format as MetricsFormat;
use crate::record::fixture::{filled, plain};

const SOON: Duration = Duration::from_secs(10);

fn soon() -> Instant {
    clock::now() + SOON
}

fn metrics() -> Arc<Metrics> {
    Arc::new(
        Metrics::new(&[("feishu", "feishu")], &["assistant"], Arc::default()).expect("metrics"),
    )
}

fn config(file: Option<PathBuf>) -> Config {
    Config {
        stdout: false,
        file: file.map(|path| FileConfig {
            path,
            rotate_at_bytes: 1 << 20,
            keep: Duration::from_secs(60),
        }),
        ship: None,
        environment: "test".to_owned(),
        spans: None,
        audit: None,
        sampling: Sampling::ALL,
    }
}

fn recorded(metrics: &Metrics) -> (u64, u64) {
    let events = metrics.events();
    (events.recorded.get(), events.dropped.get())
}

#[test]
fn every_exchange_leaves_one_event_and_one_count() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("data/events.ndjson");
    let metrics = metrics();
    let record = Record::start(
        &config(Some(path.clone())),
        metrics.clone(),
        Links::default(),
    )
    .expect("a record");
    for number in 0..300 {
        let mut exchange = if number % 2 == 0 { filled() } else { plain() };
        exchange.id = RequestId::fixed(&format!("{number:026}"));
        record.record(&exchange);
    }
    assert_eq!(record.stop(soon()), FlushOutcome::Flushed);
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
    // After the stop nothing is written, and nothing is lost in silence.
    record.record(&plain());
    assert_eq!(recorded(&metrics), (300, 1));
    let rendered = String::from_utf8(metrics.render(MetricsFormat::Text)).expect("UTF-8");
    assert!(rendered.contains(r#"weir_events_total{outcome="recorded"} 300"#));
    assert!(rendered.contains(r#"weir_events_total{outcome="dropped"} 1"#));
}

#[test]
fn a_dropped_exchange_is_recorded_as_left_by_its_client() {
    let metrics = metrics();
    let record = Record::start(&config(None), metrics.clone(), Links::default()).expect("a record");
    let start = clock::now();
    let exchange = Exchange::begin(
        start,
        [127, 0, 0, 1].into(),
        Arc::from(NO_PLATFORM),
        record.clone(),
    );
    drop(exchange);
    assert_eq!(record.flush(soon()), FlushOutcome::Flushed);
    let events = record.recent(5);
    assert_eq!(events.len(), 1);
    let event: serde_json::Value = serde_json::from_str(&events[0]).expect("an event");
    assert_eq!(event["error_code"], "client_closed");
    assert_eq!(event["http"]["response"]["status_code"], 499);
    assert!(event["event"]["duration"].as_u64().expect("a number") > 0);
    assert_eq!(recorded(&metrics), (1, 0));
}

#[test]
fn time_of_a_client_that_left_is_not_lost() {
    let mut exchange = filled();
    let end = exchange.timing.started() + Duration::from_secs(60);
    assert_eq!(duration(&exchange, || end), exchange.timing.total());
    exchange.error_code = Some(ErrorCode::ClientClosed);
    assert_eq!(duration(&exchange, || end), Duration::from_secs(60));
}

#[test]
fn recent_events_come_newest_last() {
    let record = Record::start(&config(None), metrics(), Links::default()).expect("a record");
    for second in [3, 1, 2] {
        let mut exchange = plain();
        exchange.received_at = Duration::from_secs(second);
        record.record(&exchange);
    }
    let seconds: Vec<_> = record
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
    assert_eq!(record.recent(1).len(), 1);
}

#[test]
fn a_file_that_cannot_be_opened_stops_the_start() {
    let error = Record::start(
        &config(Some("/dev/null/events".into())),
        metrics(),
        Links::default(),
    )
    .expect_err("not a directory");
    assert!(error.to_string().contains("/dev/null/events"), "{error}");
}

#[test]
fn nothing_but_the_listed_fields_is_written() {
    // Promise 4: whatever of these an exchange holds, no field of the event is made of it.
    let metrics = metrics();
    let record = Record::start(&config(None), metrics.clone(), Links::default()).expect("a record");
    let mut exchange = filled();
    exchange.trace.tracestate = Some(http::HeaderValue::from_static("vendor=hunter2"));
    exchange.trace.baggage = Some(http::HeaderValue::from_static("password=hunter2"));
    exchange.path = "/v1/chat?api_key=hunter2".into();
    record.record(&exchange);
    let events = record.recent(1).concat();
    assert!(events.contains("/v1/chat") && !events.contains("hunter2"));
    assert!(!String::from_utf8_lossy(&metrics.render(MetricsFormat::Text)).contains("hunter2"));
}
