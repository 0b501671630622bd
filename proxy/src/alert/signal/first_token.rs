//! `first_token_p99`: the time to the first token of a streamed response.

use super::{Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::per::Per;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;
use crate::metrics::catalog::TIME_TO_FIRST_TOKEN;

pub const P99: Signal = Signal {
    name: "first_token_p99",
    unit: Unit::Seconds,
    worse: Worse::Up,
    per: Per::ALL,
    source: ValueSource::Requests(|window, minimum| {
        let first_tokens = window.first_tokens();
        (first_tokens.total() >= minimum)
            .then(|| first_tokens.quantile_s(0.99))
            .flatten()
    }),
    requires: None,
    query: |promql| promql.quantile(&TIME_TO_FIRST_TOKEN, 0.99),
    default_rule: None,
    runbook: page!("ResponseTime"),
};
