//! Fixtures of the tests of this module.

use std::sync::Arc;
use std::time::Duration;

use super::per::Per;
use super::rule::Rule;
use super::rule_set::{LabelValues, RuleSet};
use super::signal::error_rate;
use super::state::AlertState;
use super::tier::{Thresholds, Tier, Worse};

/// 08:00 on 2026-11-22.
pub(crate) const NOW: Duration = Duration::from_secs(1_795_334_400);

/// The error rate with the default thresholds.
pub(crate) fn rule(name: &str, per: Option<Per>) -> Arc<Rule> {
    Arc::new(Rule {
        name: name.into(),
        signal: &error_rate::SIGNAL,
        per,
        thresholds: Thresholds {
            worse: Worse::Up,
            warning: 0.01,
            critical: 0.03,
            recovery: 0.005,
            hold: Duration::from_secs(30),
            interval: STEP,
        },
        runbook: None,
    })
}

/// Between two evaluations.
pub(crate) const STEP: Duration = Duration::from_secs(15);

/// Rules for the routes `chat`, `good` and `bad` of the platform `api`, over a minute and 20 requests.
pub(crate) fn rule_set(rules: Vec<Arc<Rule>>) -> RuleSet {
    let routes = ["chat", "good", "bad"].map(|route| (route, "api"));
    RuleSet {
        rules,
        window: STEP * 4,
        interval: STEP,
        requests_min: 20,
        labels: LabelValues::new(routes.into_iter(), ["a"].into_iter()),
    }
}

/// A firing alert.
pub(crate) fn alert(name: &str, tier: Tier) -> AlertState {
    let mut state = AlertState::new(rule(name, None), None, Arc::default(), NOW);
    state.value = Some(0.05);
    state.change(Tier::None, tier, NOW);
    state
}
