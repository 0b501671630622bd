//! How one alert stands, and what changed: what pages show and notifiers tell.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::identity::Identity;
use super::per::Per;
use super::rule::Rule;
use super::tier::{Basis, Tier};

/// How long an alert that ended is told of: an Alertmanager that was down is to hear of it.
pub const ENDED_IS_TOLD_FOR: Duration = Duration::from_secs(15 * 60);

/// What tells one alert from all others.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub rule: Arc<str>,
    /// What the rule tells apart, and its value here: the label's name and the label's value.
    pub label: Option<(&'static str, Arc<str>)>,
}

impl Key {
    #[must_use]
    pub fn per(&self) -> Option<Per> {
        self.label
            .as_ref()
            .and_then(|(name, _)| Per::of_label(name))
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.label {
            None => write!(formatter, "{}", self.rule),
            Some((name, value)) => write!(formatter, "{}{{{name}=\"{value}\"}}", self.rule),
        }
    }
}

/// How an alert stands. Times are since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    pub key: Key,
    /// Who raised it. An alert in force keeps it, also when that changes with a restart: under other labels
    /// nobody would be told of its end.
    pub identity: Arc<Identity>,
    /// `None` when it is no longer configured.
    pub rule: Option<Arc<Rule>>,
    pub tier: Tier,
    pub basis: Basis,
    /// The last one.
    pub figure: Option<f64>,
    /// What the figure is about: a mount, names of services.
    pub about: Option<String>,
    /// When there was a figure last.
    pub last_at: Duration,
    /// When this tier began.
    pub since: Duration,
    /// When it went up from none; kept for a while after its end.
    pub raised_at: Option<Duration>,
    /// When it became critical; kept for a while after its end.
    pub critical_at: Option<Duration>,
    /// When it ended; `None` while it is in force, and a while after.
    pub ended_at: Option<Duration>,
    /// When it was critical before it went up anew from none; kept for a while.
    pub past_critical: Option<Past>,
}

/// From when to when something was so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    pub began_at: Duration,
    pub ended_at: Duration,
}

/// A tier became another.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    pub from: Tier,
    pub at: Duration,
    /// How long the tier before had lasted.
    pub after: Duration,
    /// As it stands now.
    pub standing: Standing,
}

impl Standing {
    #[must_use]
    pub fn new(
        rule: Arc<Rule>,
        value: Option<Arc<str>>,
        identity: Arc<Identity>,
        now: Duration,
    ) -> Self {
        let label = rule.per.map(Per::label).zip(value);
        Standing {
            key: Key {
                rule: rule.name.clone(),
                label,
            },
            identity,
            rule: Some(rule),
            tier: Tier::None,
            basis: Basis::Forgotten,
            figure: None,
            about: None,
            last_at: now,
            since: now,
            raised_at: None,
            critical_at: None,
            ended_at: None,
            past_critical: None,
        }
    }

    /// As it was when a former process ended. What does not say who raised it was kept by an older version.
    #[must_use]
    pub fn of_saved(saved: &Saved, rule: Option<Arc<Rule>>, identity: &Arc<Identity>) -> Self {
        let raised_by = saved.identity.clone().map(Arc::new);
        Standing {
            key: saved.key.clone(),
            identity: raised_by.unwrap_or_else(|| identity.clone()),
            rule,
            tier: saved.tier,
            basis: Basis::Held,
            figure: saved.figure,
            about: None,
            last_at: saved.last_at,
            since: saved.since,
            raised_at: saved.raised_at,
            critical_at: saved.critical_at,
            ended_at: saved.ended_at,
            past_critical: saved.past_critical,
        }
    }

    /// What is left of an alert that nobody watches any more, and that somebody was told of.
    #[must_use]
    pub fn ghost(key: Key, identity: Arc<Identity>, now: Duration) -> Self {
        Standing {
            key,
            identity,
            rule: None,
            tier: Tier::None,
            basis: Basis::Forgotten,
            figure: None,
            about: None,
            last_at: now,
            since: now,
            raised_at: None,
            critical_at: None,
            ended_at: Some(now),
            past_critical: None,
        }
    }

    /// All labels but the severity, in no order.
    #[must_use]
    pub fn labels(&self) -> Vec<(&str, &str)> {
        let label = self.key.label.iter().map(|(name, value)| (*name, &**value));
        std::iter::once(("alertname", &*self.key.rule))
            .chain(self.identity.labels())
            .chain(label)
            .collect()
    }

    /// Takes a new tier.
    pub fn change(&mut self, from: Tier, to: Tier, now: Duration) -> Transition {
        let after = now.saturating_sub(self.since);
        (self.tier, self.since) = (to, now);
        match to {
            Tier::None => self.ended_at = Some(now),
            Tier::Warning | Tier::Critical => {
                if from == Tier::None {
                    let past = self.critical_at.zip(self.ended_at);
                    let past = past.map(|(began_at, ended_at)| Past { began_at, ended_at });
                    self.past_critical = past.or(self.past_critical);
                    (self.raised_at, self.critical_at, self.ended_at) = (Some(now), None, None);
                }
                if to == Tier::Critical {
                    self.critical_at = Some(now);
                }
            }
        }
        Transition {
            from,
            at: now,
            after,
            standing: self.clone(),
        }
    }

    /// An end is told for a while only.
    pub fn forget_end(&mut self, now: Duration) {
        let is_over = |ended: Duration| now.saturating_sub(ended) > ENDED_IS_TOLD_FOR;
        if self.ended_at.is_some_and(is_over) {
            (self.raised_at, self.critical_at, self.ended_at) = (None, None, None);
        }
        if self
            .past_critical
            .is_some_and(|past| is_over(past.ended_at))
        {
            self.past_critical = None;
        }
    }

    /// What is to be remembered over a restart; `None` when nothing is.
    #[must_use]
    pub fn to_save(&self) -> Option<Saved> {
        let is_told = self.tier != Tier::None || self.ended_at.is_some();
        is_told.then(|| Saved {
            key: self.key.clone(),
            identity: Some((*self.identity).clone()),
            tier: self.tier,
            figure: self.figure,
            last_at: self.last_at,
            since: self.since,
            raised_at: self.raised_at,
            critical_at: self.critical_at,
            ended_at: self.ended_at,
            past_critical: self.past_critical,
        })
    }

    /// The line that its tier stands for, as people write it.
    #[must_use]
    pub fn threshold(&self, tier: Tier) -> Option<String> {
        let rule = self.rule.as_ref()?;
        let line = match tier {
            Tier::None => rule.lines.recovery,
            Tier::Warning => rule.lines.warning,
            Tier::Critical => rule.lines.critical,
        };
        Some(rule.signal.unit.show(line))
    }

    /// The figure as people write it, with what it is about.
    #[must_use]
    pub fn shown_figure(&self) -> String {
        let shown = match (&self.rule, self.figure) {
            (Some(rule), Some(figure)) => rule.signal.unit.show(figure),
            _ => "unknown".to_owned(),
        };
        match &self.about {
            Some(about) => format!("{shown} ({about})"),
            None => shown,
        }
    }
}

/// What outlives the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    #[serde(flatten, with = "saved_key")]
    pub key: Key,
    /// `None` in what a version before 0.2 kept.
    #[serde(default)]
    pub identity: Option<Identity>,
    pub tier: Tier,
    pub figure: Option<f64>,
    pub last_at: Duration,
    pub since: Duration,
    pub raised_at: Option<Duration>,
    pub critical_at: Option<Duration>,
    pub ended_at: Option<Duration>,
    #[serde(default)]
    pub past_critical: Option<Past>,
}

/// A key in a file: a label that this version does not know makes no key.
pub(super) mod saved_key {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Key;
    use crate::alert::per::Per;

    #[derive(Serialize, Deserialize)]
    struct Plain {
        rule: String,
        labels: BTreeMap<String, String>,
    }

    pub(in crate::alert) fn serialize<S: Serializer>(
        key: &Key,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let label = key.label.iter();
        let labels = label.map(|(name, value)| ((*name).to_owned(), value.to_string()));
        let plain = Plain {
            rule: key.rule.to_string(),
            labels: labels.collect(),
        };
        plain.serialize(serializer)
    }

    pub(in crate::alert) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Key, D::Error> {
        let Plain { rule, labels } = Plain::deserialize(from)?;
        let label = match labels.into_iter().next() {
            None => None,
            Some((name, value)) => {
                let per = Per::of_label(&name);
                let name = per.map(Per::label);
                let name = name.ok_or_else(|| D::Error::custom("a label that is unknown here"))?;
                Some((name, Arc::from(value)))
            }
        };
        Ok(Key {
            rule: rule.into(),
            label,
        })
    }
}
