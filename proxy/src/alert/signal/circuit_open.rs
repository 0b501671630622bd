//! `circuit_open`: the number of endpoints whose circuit is open.

use super::{Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::promql::Inexpressible;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;

pub const SIGNAL: Signal = Signal {
    name: "circuit_open",
    unit: Unit::Count,
    worse: Worse::Up,
    per: &[],
    source: ValueSource::Planned("the circuit breaker"),
    requires: None,
    query: |_| Err(Inexpressible::Planned(SIGNAL.name)),
    default_rule: None,
    runbook: page!("WeirCircuitOpen"),
};
