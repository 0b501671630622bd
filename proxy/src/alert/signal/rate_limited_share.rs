//! `rate_limited_share`: the share of requests that were over a rate limit.

use super::{Signal, ValueSource, share};
use crate::alert::page::page;
use crate::alert::per::Per;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;
use crate::metrics::catalog::ERRORS;

pub const SIGNAL: Signal = Signal {
    name: "rate_limited_share",
    unit: Unit::Share,
    worse: Worse::Up,
    per: Per::OF_ROUTES,
    source: ValueSource::Requests(|window, minimum| {
        share(
            window.counts().rate_limited,
            window.durations().total(),
            minimum,
        )
    }),
    requires: None,
    query: |promql| promql.share(&ERRORS, "weir_errors_total{error_code=~\"rate_limited\"}"),
    default_rule: None,
    runbook: page!("RateLimitedShare"),
};
