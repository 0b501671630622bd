//! `memory_usage`: the share of the memory that is in use.

use super::{Measurement, Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;

pub const SIGNAL: Signal = Signal {
    name: "memory_usage",
    unit: Unit::Share,
    worse: Worse::Up,
    per: &[],
    source: ValueSource::Snapshot(|snapshot| snapshot.system.memory_ratio.map(Measurement::from)),
    requires: None,
    query: |promql| Ok(promql.max("weir_memory_usage_ratio")),
    default_rule: None,
    runbook: page!("MemoryUsage"),
};
