//! What recording costs while a request is processed: the event, the metrics, and both with the buffer.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot begin has nothing to measure"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderValue, Method};
use weir::answer::server_timing;
use weir::clock;
use weir::exchange::{
    Attempt, CacheKey, CacheNote, CacheOutcome, CacheTier, Exchange, LimitNote, LimitOutcome,
    ModelCall, Recorder, SignatureNote, SignatureOutcome, Stage, UpstreamNote,
};
use weir::metrics::Metrics;
use weir::model::operation::Operation;
use weir::model::usage::Usage;
use weir::record::event::Format;
use weir::record::metrics::RequestMetrics;
use weir::record::{Config, EventRecorder, FileConfig, Recorders};

#[derive(Debug)]
struct Nobody;

impl Recorder for Nobody {
    fn record(&self, _exchange: &Exchange, _duration: Duration) {}
}

/// A chat request as most are: signed, limited, missed, answered.
fn exchange() -> Exchange {
    let mut exchange = Exchange::begin(
        clock::now(),
        [203, 0, 113, 7].into(),
        Arc::from("api"),
        Arc::new(Nobody),
    );
    exchange.route = Some(Arc::from("chat"));
    exchange.client_name = Some(Arc::from("web"));
    exchange.method = Method::POST;
    exchange.path = "/v1/chat/completions".into();
    exchange.domain = Some("assistant.example.com".into());
    exchange.user_agent = Some(HeaderValue::from_static("OpenAI/Python 1.99.0"));
    exchange.trace.trace_id = [0x4b; 16];
    exchange.trace.span_id = [0xf0; 8];
    exchange.request_body_bytes = 512;
    exchange.response_body_bytes = 600;
    exchange.status = 200;
    exchange.signature = Some(SignatureNote {
        scheme: "hmac",
        outcome: SignatureOutcome::Valid,
        key: Some(0),
    });
    exchange.limit = Some(LimitNote {
        reset_s: 1,
        outcome: LimitOutcome::Admitted,
        policy: Arc::from("per-client"),
        remaining: 37,
    });
    exchange.cache = Some(CacheNote {
        outcome: CacheOutcome::Miss,
        tier: CacheTier::None,
        age_s: 0,
        key: Some(CacheKey([7; 32])),
        bypass: None,
    });
    let started = exchange.timing.started();
    let mut upstream = UpstreamNote::begin(Arc::from("assistant"));
    let endpoint = Arc::from("http://127.0.0.1:8000");
    let attempt = upstream.begin_attempt(Attempt::begin(
        "assistant".into(),
        endpoint,
        &exchange.trace,
        started,
    ));
    attempt.responded(200, started + Duration::from_micros(602_400));
    attempt.succeed(started + Duration::from_micros(602_500));
    exchange.upstream = Some(upstream);
    exchange.model = ModelCall {
        operation: Some(Operation::Chat),
        request_model: Some("glm-4".into()),
        response_model: Some("glm-4".into()),
        finish_reasons: vec!["stop".into()],
        usage: Usage {
            input_tokens: Some(128),
            output_tokens: Some(356),
            ..Usage::default()
        },
        ..ModelCall::default()
    };
    let mut at = exchange.timing.started();
    for stage in Stage::ALL {
        at += Duration::from_nanos(12_345);
        exchange.timing.lap(stage, at);
    }
    exchange
}

fn metrics(registry: &Metrics) -> RequestMetrics {
    let requests = RequestMetrics::register(registry, Arc::new(())).expect("metrics");
    let added = requests.add([("chat", "api")], ["assistant"]);
    added.expect("series");
    requests
}

fn event(criterion: &mut Criterion) {
    let exchange = exchange();
    let format = Format::new("production");
    let mut line = Vec::new();
    criterion.bench_function("event/format", |bencher| {
        bencher.iter(|| {
            line.clear();
            format.append(black_box(&exchange), Duration::from_millis(5), &mut line);
            line.len()
        });
    });

    let registry = Metrics::new().expect("metrics");
    let metrics = metrics(&registry);
    criterion.bench_function("event/metrics", |bencher| {
        bencher.iter(|| metrics.record(black_box(&exchange), Duration::from_millis(5)));
    });

    criterion.bench_function("event/server_timing", |bencher| {
        let mut line = Vec::new();
        bencher.iter(|| {
            line.clear();
            server_timing::append(black_box(&exchange.timing), &mut line);
        });
    });
}

fn record(criterion: &mut Criterion) {
    let exchange = exchange();
    let directory = std::env::temp_dir().join(format!("weir-bench-{}", std::process::id()));
    let config = Config {
        stdout: false,
        file: Some(FileConfig {
            path: directory.join("events.ndjson"),
            rotate_at_bytes: 64 << 20,
            keep: Duration::ZERO,
        }),
        environment: "production".to_owned(),
    };
    let registry = Metrics::new().expect("metrics");
    let events = EventRecorder::start(&config, None, &registry).expect("an event file");
    let recorders = Recorders::new(vec![Arc::new(metrics(&registry)), events]);
    criterion.bench_function("event/record", |bencher| {
        bencher.iter(|| recorders.record(black_box(&exchange), Duration::from_millis(5)));
    });
    drop(recorders);
    std::fs::remove_dir_all(directory).expect("the directory of the bench");
}

criterion_group!(benches, event, record);
criterion_main!(benches);
