//! `disk_usage`: how full the fullest disk is.

use super::{DefaultRule, Measurement, Signal, ValueSource};
use crate::alert::page::page;
use crate::alert::tier::Worse;
use crate::alert::unit::Unit;

pub const SIGNAL: Signal = Signal {
    name: "disk_usage",
    unit: Unit::Share,
    worse: Worse::Up,
    per: &[],
    source: ValueSource::Snapshot(|snapshot| {
        let disks = snapshot.system.disks.iter();
        let fullest = disks.max_by(|one, other| one.used_ratio.total_cmp(&other.used_ratio));
        fullest.map(|disk| Measurement {
            value: disk.used_ratio,
            about: Some(disk.mount.clone()),
        })
    }),
    requires: None,
    query: |promql| Ok(promql.max("weir_disk_usage_ratio")),
    default_rule: Some(DefaultRule {
        name: "DiskUsage",
        warning: "70%",
        critical: "85%",
        recovery: "60%",
    }),
    runbook: page!("DiskUsage"),
};
