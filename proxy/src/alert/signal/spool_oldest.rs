//! `spool_oldest`: the age of the oldest event that is not in the index yet.

use super::{Requirement, Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;

pub const SIGNAL: Signal = Signal {
    name: "spool_oldest",
    unit: Unit::Seconds,
    worse: Worse::Up,
    per: &[],
    source: ValueSource::Snapshot(|snapshot| {
        snapshot.spool_oldest.map(|age| age.as_secs_f64().into())
    }),
    requires: Some(Requirement::Shipping),
    query: |promql| Ok(promql.max("weir_spool_oldest_seconds")),
    default_rule: None,
    runbook: page!("WeirSpoolGrowing"),
};
