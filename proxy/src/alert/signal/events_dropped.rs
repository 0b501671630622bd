//! `events_dropped`: how many events were lost within the window.

use super::{Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;

pub const SIGNAL: Signal = Signal {
    name: "events_dropped",
    unit: Unit::Count,
    worse: Worse::Up,
    per: &[],
    source: ValueSource::Process(|counts| counts.events_dropped as f64),
    requires: None,
    query: |promql| Ok(promql.increase("weir_events_total{outcome=\"dropped\"}")),
    default_rule: None,
    runbook: page!("WeirEventsDropped"),
};
