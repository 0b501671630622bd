//! `signature_failure_share`: the share of requests whose signature is missing, invalid, expired or replayed.

use super::{Signal, ValueSource, share};
use crate::alert::page::page;
use crate::alert::per::Per;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;
use crate::metrics::catalog::ERRORS;

pub const SIGNAL: Signal = Signal {
    name: "signature_failure_share",
    unit: Unit::Share,
    worse: Worse::Up,
    per: Per::OF_ROUTES,
    source: ValueSource::Requests(|window, minimum| {
        share(
            window.counts().signature_failures,
            window.durations().total(),
            minimum,
        )
    }),
    requires: None,
    query: |promql| promql.share(&ERRORS, "weir_errors_total{error_code=~\"signature_.*\"}"),
    default_rule: None,
    runbook: page!("SignatureFailures"),
};
