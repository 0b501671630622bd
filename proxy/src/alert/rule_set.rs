//! What the engine evaluates: the part of the `alerts` block that a swap of generations replaces as a whole.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::per::Per;
use super::rule::Rule;
use super::state::AlertKey;
use crate::exchange::{NO_PLATFORM, NO_ROUTE};

/// The rules with the settings that they share.
#[derive(Clone, Debug)]
pub struct RuleSet {
    pub rules: Vec<Arc<Rule>>,
    pub window: Duration,
    /// Between two evaluations.
    pub interval: Duration,
    /// With fewer requests in the window a signal has no value.
    pub requests_min: u64,
    pub labels: LabelValues,
}

impl RuleSet {
    /// The position of the rule that evaluates this alert; `None` when there is none any more.
    #[must_use]
    pub fn position(&self, key: &AlertKey) -> Option<usize> {
        let per = key.per();
        if let Some((per, (_, value))) = per.zip(key.label.as_ref())
            && !self.labels.contains(per, value)
        {
            return None;
        }
        let mut rules = self.rules.iter();
        rules.position(|rule| rule.name == key.rule && rule.per == per)
    }

    /// Whether a rule evaluates the traffic with this label value by itself.
    #[must_use]
    pub fn evaluates(&self, per: Per, value: &str) -> bool {
        let is_used = self.rules.iter().any(|rule| rule.per == Some(per));
        is_used && self.labels.contains(per, value)
    }
}

/// The routes, platforms and backends of a configuration. Alerts of others are resolved: their traffic has ended.
#[derive(Clone, Debug, Default)]
pub struct LabelValues(HashMap<Per, HashSet<Arc<str>>>);

impl LabelValues {
    /// Of these routes (name, platform) and backends, and of requests that match no route.
    #[must_use]
    pub fn new<'a>(
        routes: impl Iterator<Item = (&'a str, &'a str)>,
        backends: impl Iterator<Item = &'a str>,
    ) -> Self {
        let mut values: HashMap<Per, HashSet<Arc<str>>> = HashMap::new();
        let mut add = |per: Per, value: &str| {
            values.entry(per).or_default().insert(value.into());
        };
        for (route, platform) in routes.chain([(NO_ROUTE, NO_PLATFORM)]) {
            add(Per::Route, route);
            add(Per::Platform, platform);
        }
        backends.for_each(|backend| add(Per::Backend, backend));
        LabelValues(values)
    }

    /// Whether there is this route, platform or backend. Models are not configured: any may be called.
    #[must_use]
    pub fn contains(&self, per: Per, value: &str) -> bool {
        let values = self.0.get(&per);
        per == Per::Model || values.is_some_and(|values| values.contains(value))
    }
}
