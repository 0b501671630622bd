//! What alerts cost: for each request, and for an evaluation.

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot begin has nothing to measure"
)]

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use weir::alert::counters::{CounterRegistry, MetricSubject, SubjectRecorders as _};
use weir::alert::engine::{Engine, EvaluationTime};
use weir::alert::rule_set::LabelValues;
use weir::alert::snapshot::Snapshot;
use weir::clock;
use weir::config;
use weir::exchange::{Exchange, Recorder};

#[derive(Debug)]
struct Nobody;

impl Recorder for Nobody {
    fn record(&self, _exchange: &Exchange, _duration: Duration) {}
}

/// Fifty rules, each of which tells routes apart.
fn configuration() -> String {
    let rules = (0..50).map(|number| {
        let (signal, lines) = match number % 4 {
            0 => ("error_rate", "warning: 1%, critical: 3%, recovery: 1%"),
            1 => (
                "response_time_p50",
                "warning: 500ms, critical: 1s, recovery: 300ms",
            ),
            2 => (
                "response_time_p99",
                "warning: 500ms, critical: 1s, recovery: 300ms",
            ),
            _ => (
                "response_time_mean",
                "warning: 500ms, critical: 1s, recovery: 300ms",
            ),
        };
        format!("    - {{name: R{number}, signal: {signal}, per: route, {lines}}}\n")
    });
    let rules: String = rules.collect();
    format!(
        "backends: [{{name: a, endpoints: ['http://127.0.0.1:1']}}]\n\
         routes: [{{name: r, path: '/*', backend: a}}]\nalerts:\n  rules:\n{rules}"
    )
}

fn bench(criterion: &mut Criterion) {
    let loaded = config::parse(&configuration(), Path::new("weir.yaml"), &|_| None);
    let alerts = loaded.expect("a configuration").config.alerts;
    let counters = CounterRegistry::new(alerts.needs());
    let routes: Vec<_> = (0..20)
        .map(|number| {
            let subject = MetricSubject::Route {
                name: format!("route-{number}").into(),
                platform: "api".into(),
            };
            counters.begin(subject).expect("a rule looks at routes")
        })
        .collect();
    let mut exchange = Exchange::begin(
        clock::now(),
        [203, 0, 113, 7].into(),
        Arc::from("api"),
        Arc::new(Nobody),
    );
    exchange.status = 200;
    let mut us = 0_u64;
    let mut next = || {
        us = (us + 7919) % 2_000_000;
        Duration::from_micros(us)
    };
    criterion.bench_function("alert/a request", |bencher| {
        bencher.iter(|| routes[0].record(black_box(&exchange), next()));
    });
    let names: Vec<_> = (0..20).map(|number| format!("route-{number}")).collect();
    let labels = names.iter().map(|name| (name.as_str(), "api"));
    let set = alerts.rule_set(LabelValues::new(labels, std::iter::empty()));
    let mut engine = Engine::new(set, Arc::default(), &[]);
    let mut now = Duration::from_secs(1_795_334_400);
    criterion.bench_function("alert/50 rules over 20 routes", |bencher| {
        bencher.iter(|| {
            for route in &routes {
                for _ in 0..50 {
                    route.record(&exchange, next());
                }
            }
            now += engine.interval();
            let at = EvaluationTime {
                steady: now,
                wall: now,
            };
            let changes = engine.evaluate(at, counters.take(), &Snapshot::default());
            black_box((changes, engine.alerts()));
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
