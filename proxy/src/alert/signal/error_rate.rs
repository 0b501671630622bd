//! `error_rate`: the share of requests that failed.

use super::{DefaultRule, Signal, ValueSource, share};
use crate::alert::page::page;
use crate::alert::per::Per;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;
use crate::metrics::catalog::FAILED_REQUESTS;

pub const SIGNAL: Signal = Signal {
    name: "error_rate",
    unit: Unit::Share,
    worse: Worse::Up,
    per: Per::ALL,
    source: ValueSource::Requests(|window, minimum| {
        share(window.counts().failed, window.durations().total(), minimum)
    }),
    requires: None,
    query: |promql| promql.share(&FAILED_REQUESTS, FAILED_REQUESTS.name),
    default_rule: Some(DefaultRule {
        name: "ErrorRate",
        warning: "1%",
        critical: "3%",
        recovery: "0.5%",
    }),
    runbook: page!("ErrorRate"),
};
