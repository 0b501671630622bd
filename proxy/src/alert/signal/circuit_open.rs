//! `circuit_open`: the number of endpoints whose circuit is open.

use super::{Measurement, Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;

pub const SIGNAL: Signal = Signal {
    name: "circuit_open",
    unit: Unit::Count,
    worse: Worse::Up,
    per: &[],
    source: ValueSource::Snapshot(|snapshot| {
        let open = snapshot.open_circuits.iter();
        let backends: Vec<&str> = open.clone().map(|(backend, _)| &**backend).collect();
        Some(Measurement {
            value: open.map(|(_, endpoints)| *endpoints as f64).sum(),
            about: (!backends.is_empty()).then(|| backends.join(", ")),
        })
    }),
    requires: None,
    query: |promql| Ok(format!("sum by ({}) (weir_circuit_open)", promql.by())),
    default_rule: None,
    runbook: page!("WeirCircuitOpen"),
};
