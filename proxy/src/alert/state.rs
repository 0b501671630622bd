//! The state of one alert, and its transitions: what pages show and notifiers send.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::identity::AlertIdentity;
use super::per::Per;
use super::rule::Rule;
use super::tier::{SampleState, Tier};

/// How long a resolved alert is kept and sent again, for an Alertmanager that was down when it was resolved.
pub const RESOLVED_RETENTION: Duration = Duration::from_secs(15 * 60);

/// The identity of one alert.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertKey {
    pub rule: Arc<str>,
    /// Name and value of the rule's label; `None` of a rule over all traffic.
    pub label: Option<(&'static str, Arc<str>)>,
}

impl AlertKey {
    #[must_use]
    pub fn per(&self) -> Option<Per> {
        self.label
            .as_ref()
            .and_then(|(name, _)| Per::of_label(name))
    }
}

impl std::fmt::Display for AlertKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.label {
            None => write!(formatter, "{}", self.rule),
            Some((name, value)) => write!(formatter, "{}{{{name}=\"{value}\"}}", self.rule),
        }
    }
}

/// The state of one alert. Times are since the Unix epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertState {
    pub key: AlertKey,
    /// The labels of the process that raised it. A firing alert keeps them when they change with a restart: under
    /// other labels its receivers would never see it resolved.
    pub identity: Arc<AlertIdentity>,
    /// `None` when no rule evaluates it any more.
    pub rule: Option<Arc<Rule>>,
    pub tier: Tier,
    pub sample: SampleState,
    /// The last one.
    pub value: Option<f64>,
    /// What the value is about: a mount, names of services.
    pub about: Option<String>,
    /// When there was a value last.
    pub last_at: Duration,
    /// When this tier started.
    pub since: Duration,
    /// When it started to fire; kept for a while after it is resolved.
    pub raised_at: Option<Duration>,
    /// When it became critical; kept for a while after it is resolved.
    pub critical_at: Option<Duration>,
    /// When it was resolved; kept for a while. `None` while it fires.
    pub ended_at: Option<Duration>,
    /// When it was critical before it was resolved and fired again; kept for a while.
    pub past_critical: Option<Past>,
}

/// A period that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    pub began_at: Duration,
    pub ended_at: Duration,
}

/// A change of tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    pub from: Tier,
    pub at: Duration,
    /// How long the tier before it lasted.
    pub after: Duration,
    /// After the change.
    pub state: AlertState,
}

impl AlertState {
    #[must_use]
    pub fn new(
        rule: Arc<Rule>,
        label: Option<Arc<str>>,
        identity: Arc<AlertIdentity>,
        now: Duration,
    ) -> Self {
        let label = rule.per.map(Per::label).zip(label);
        AlertState {
            key: AlertKey {
                rule: rule.name.clone(),
                label,
            },
            identity,
            rule: Some(rule),
            tier: Tier::None,
            sample: SampleState::Missing,
            value: None,
            about: None,
            last_at: now,
            since: now,
            raised_at: None,
            critical_at: None,
            ended_at: None,
            past_critical: None,
        }
    }

    /// As it was when the last process ended, without a rule yet. Without an identity it was saved by an older
    /// version.
    #[must_use]
    pub fn of_saved(saved: &Saved, identity: &Arc<AlertIdentity>) -> Self {
        let raised_by = saved.identity.clone().map(Arc::new);
        AlertState {
            key: saved.key.clone(),
            identity: raised_by.unwrap_or_else(|| identity.clone()),
            rule: None,
            tier: saved.tier,
            sample: SampleState::Held,
            value: saved.value,
            about: None,
            last_at: saved.last_at,
            since: saved.since,
            raised_at: saved.raised_at,
            critical_at: saved.critical_at,
            ended_at: saved.ended_at,
            past_critical: saved.past_critical,
        }
    }

    /// A stale alert: no rule evaluates it any more, but a notifier has sent it as firing. It is resolved.
    #[must_use]
    pub fn stale(key: AlertKey, identity: Arc<AlertIdentity>, now: Duration) -> Self {
        AlertState {
            key,
            identity,
            rule: None,
            tier: Tier::None,
            sample: SampleState::Missing,
            value: None,
            about: None,
            last_at: now,
            since: now,
            raised_at: None,
            critical_at: None,
            ended_at: Some(now),
            past_critical: None,
        }
    }

    /// All labels but the severity, unordered.
    #[must_use]
    pub fn labels(&self) -> Vec<(&str, &str)> {
        let label = self.key.label.iter().map(|(name, value)| (*name, &**value));
        std::iter::once(("alertname", &*self.key.rule))
            .chain(self.identity.labels())
            .chain(label)
            .collect()
    }

    /// Changes the tier.
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
            state: self.clone(),
        }
    }

    /// Forgets a resolved alert after [`RESOLVED_RETENTION`].
    pub fn expire_resolved(&mut self, now: Duration) {
        let is_over = |ended: Duration| now.saturating_sub(ended) > RESOLVED_RETENTION;
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

    /// Whether it fires, or was resolved a short time ago.
    #[must_use]
    pub fn is_relevant(&self) -> bool {
        self.tier != Tier::None || self.ended_at.is_some()
    }

    /// What a restart must restore; `None` when there is nothing.
    #[must_use]
    pub fn to_save(&self) -> Option<Saved> {
        self.is_relevant().then(|| Saved {
            key: self.key.clone(),
            identity: Some((*self.identity).clone()),
            tier: self.tier,
            value: self.value,
            last_at: self.last_at,
            since: self.since,
            raised_at: self.raised_at,
            critical_at: self.critical_at,
            ended_at: self.ended_at,
            past_critical: self.past_critical,
        })
    }

    /// The threshold of a tier, as people write it.
    #[must_use]
    pub fn threshold(&self, tier: Tier) -> Option<String> {
        let rule = self.rule.as_ref()?;
        let threshold = match tier {
            Tier::None => rule.thresholds.recovery,
            Tier::Warning => rule.thresholds.warning,
            Tier::Critical => rule.thresholds.critical,
        };
        Some(rule.signal.unit.show(threshold))
    }

    /// The value as people write it, with what it is about.
    #[must_use]
    pub fn shown_value(&self) -> String {
        let shown = match (&self.rule, self.value) {
            (Some(rule), Some(value)) => rule.signal.unit.show(value),
            _ => "unknown".to_owned(),
        };
        match &self.about {
            Some(about) => format!("{shown} ({about})"),
            None => shown,
        }
    }
}

/// What is saved of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    #[serde(flatten, with = "saved_key")]
    pub key: AlertKey,
    /// `None` when saved by a version before 0.2.
    #[serde(default)]
    pub identity: Option<AlertIdentity>,
    pub tier: Tier,
    #[serde(rename = "figure")]
    pub value: Option<f64>,
    pub last_at: Duration,
    pub since: Duration,
    pub raised_at: Option<Duration>,
    pub critical_at: Option<Duration>,
    pub ended_at: Option<Duration>,
    #[serde(default)]
    pub past_critical: Option<Past>,
}

/// A key in the file. A label that this version does not know is an error.
pub(super) mod saved_key {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::AlertKey;
    use crate::alert::per::Per;

    #[derive(Serialize, Deserialize)]
    struct Plain {
        rule: String,
        labels: BTreeMap<String, String>,
    }

    pub(in crate::alert) fn serialize<S: Serializer>(
        key: &AlertKey,
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
    ) -> Result<AlertKey, D::Error> {
        let Plain { rule, labels } = Plain::deserialize(from)?;
        let label = match labels.into_iter().next() {
            None => None,
            Some((name, value)) => {
                let per = Per::of_label(&name);
                let name = per.map(Per::label);
                let name = name.ok_or_else(|| D::Error::custom("unknown label"))?;
                Some((name, Arc::from(value)))
            }
        };
        Ok(AlertKey {
            rule: rule.into(),
            label,
        })
    }
}
