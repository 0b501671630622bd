//! What tests of this room begin with.

use std::sync::Arc;
use std::time::Duration;

use super::per::Per;
use super::rule::Rule;
use super::signal::error_rate;
use super::standing::Standing;
use super::tier::{Lines, Tier, Worse};

/// 08:00 on 2026-11-22.
pub(crate) const NOW: Duration = Duration::from_secs(1_795_334_400);

/// The error rate with the lines of the defaults.
pub(crate) fn rule(name: &str, per: Option<Per>) -> Arc<Rule> {
    Arc::new(Rule {
        name: name.into(),
        signal: &error_rate::SIGNAL,
        per,
        lines: Lines {
            worse: Worse::Up,
            warning: 0.01,
            critical: 0.03,
            recovery: 0.005,
            hold: Duration::from_secs(30),
            interval: Duration::from_secs(15),
        },
        runbook: None,
    })
}

/// An alert that is in force.
pub(crate) fn standing(name: &str, tier: Tier) -> Standing {
    let mut standing = Standing::new(rule(name, None), None, Arc::default(), NOW);
    standing.figure = Some(0.05);
    standing.change(Tier::None, tier, NOW);
    standing
}
