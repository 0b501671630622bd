//! `dependency_down`: how many external services failed when weir called them last.

use super::{Measurement, Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;

pub const SIGNAL: Signal = Signal {
    name: "dependency_down",
    unit: Unit::Count,
    worse: Worse::Up,
    per: &[],
    source: ValueSource::Snapshot(|snapshot| {
        let down = &snapshot.dependencies_down;
        Some(Measurement {
            value: down.len() as f64,
            about: (!down.is_empty()).then(|| down.join(", ")),
        })
    }),
    requires: None,
    query: |promql| {
        // Zero while weir is up: the series of a service is there from the first call on.
        let by = promql.by();
        Ok(format!(
            "sum by ({by}) (1 - weir_dependency_up)\n\
             or 0 * max by ({by}) (weir_build_info)"
        ))
    },
    default_rule: None,
    runbook: page!("WeirDependencyDown"),
};
