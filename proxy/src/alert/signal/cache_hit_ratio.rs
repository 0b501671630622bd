//! `cache_hit_ratio`: the share of cache lookups that found a stored response.

use super::{Signal, ValueSource, share};
use crate::alert::page::page;
use crate::alert::per::Per;
use crate::alert::promql::{Inexpressible, Promql};
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;
use crate::metrics::catalog::CACHE_LOOKUPS;

pub const SIGNAL: Signal = Signal {
    name: "cache_hit_ratio",
    unit: Unit::Share,
    worse: Worse::Down,
    per: Per::OF_ROUTES,
    source: ValueSource::Requests(|window, minimum| {
        let counts = window.counts();
        let lookups = counts.cache_hits + counts.cache_misses;
        share(counts.cache_hits, lookups, minimum)
    }),
    requires: None,
    query,
    default_rule: None,
    runbook: page!("CacheHitRatio"),
};

fn query(promql: &Promql<'_>) -> Result<String, Inexpressible> {
    promql.check_label(&CACHE_LOOKUPS)?;
    let of = |outcome: &str| format!("weir_cache_lookups_total{{outcome=~\"{outcome}\"}}");
    let (hits, all) = (promql.increase(&of("hit")), of("hit|miss"));
    // The series of hits is there from the first one on.
    let zero = promql.increase(&all);
    Ok(format!("({hits} or 0 * {zero})\n/ {}", promql.enough(&all)))
}
