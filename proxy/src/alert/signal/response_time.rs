//! `response_time_p50`, `_p95`, `_p99` and `_mean`: from the head of a request to the end of its response.

use super::{DefaultRule, Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::per::Per;
use crate::alert::promql::{Inexpressible, Promql};
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;
use crate::alert::window::Window;
use crate::metrics::catalog::REQUEST_DURATION;

pub const P50: Signal = signal(
    "response_time_p50",
    |window, minimum| quantile(window, minimum, 0.5),
    |promql| promql.quantile(&REQUEST_DURATION, 0.5),
);

pub const P95: Signal = signal(
    "response_time_p95",
    |window, minimum| quantile(window, minimum, 0.95),
    |promql| promql.quantile(&REQUEST_DURATION, 0.95),
);

pub const P99: Signal = Signal {
    default_rule: Some(DefaultRule {
        name: "ResponseTime",
        warning: "500ms",
        critical: "1s",
        recovery: "300ms",
    }),
    ..signal(
        "response_time_p99",
        |window, minimum| quantile(window, minimum, 0.99),
        |promql| promql.quantile(&REQUEST_DURATION, 0.99),
    )
};

pub const MEAN: Signal = signal("response_time_mean", mean, |promql| {
    promql.share(&REQUEST_DURATION, "weir_request_duration_seconds_sum")
});

const fn signal(
    name: &'static str,
    value: fn(&Window, u64) -> Option<f64>,
    query: fn(&Promql<'_>) -> Result<String, Inexpressible>,
) -> Signal {
    Signal {
        name,
        unit: Unit::Seconds,
        worse: Worse::Up,
        per: Per::ALL,
        source: ValueSource::Requests(value),
        requires: None,
        query,
        default_rule: None,
        runbook: page!("ResponseTime"),
    }
}

fn quantile(window: &Window, minimum: u64, q: f64) -> Option<f64> {
    let durations = window.durations();
    (durations.total() >= minimum)
        .then(|| durations.quantile_s(q))
        .flatten()
}

fn mean(window: &Window, minimum: u64) -> Option<f64> {
    let requests = window.durations().total();
    let sum_s = window.counts().duration_sum_us as f64 / 1e6;
    (requests > 0 && requests >= minimum).then(|| sum_s / requests as f64)
}
