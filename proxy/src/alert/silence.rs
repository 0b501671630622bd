//! Silences: for a time no notifications are sent for alerts whose labels match.
//!
//! Matchers are those of Alertmanager's API v2. Pure: the time is passed in.

use jiff::Timestamp;
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::state::AlertState;
use super::tier::Tier;

pub use request::{InvalidSilence, SilenceRequest};

mod request;

/// The most silences at a time.
pub const SILENCES_MAX: usize = 100;
/// The size limit of a compiled regular expression.
const REGEX_BYTES_MAX: usize = 64 * 1024;

/// A silence as it is stored and shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<Matcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub created_by: String,
    pub comment: String,
}

/// A condition on a label. A missing label counts as empty.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Matcher {
    pub name: String,
    pub value: String,
    #[serde(default)]
    pub is_regex: bool,
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

/// A compiled matcher.
enum Compiled {
    Text { value: String, is_equal: bool },
    Regex { regex: Box<Regex>, is_equal: bool },
}

impl Compiled {
    fn new(matcher: &Matcher) -> Result<Self, regex::Error> {
        let is_equal = matcher.is_equal;
        if !matcher.is_regex {
            let value = matcher.value.clone();
            return Ok(Compiled::Text { value, is_equal });
        }
        let regex = RegexBuilder::new(&format!("^(?:{})$", matcher.value))
            .size_limit(REGEX_BYTES_MAX)
            .build()?;
        let regex = Box::new(regex);
        Ok(Compiled::Regex { regex, is_equal })
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Compiled::Text {
                value: expected,
                is_equal,
            } => (expected == value) == *is_equal,
            Compiled::Regex { regex, is_equal } => regex.is_match(value) == *is_equal,
        }
    }
}

/// All silences that have not expired.
#[derive(Default)]
pub struct Silences {
    all: Vec<(Silence, Vec<(String, Compiled)>)>,
}

/// Whether a silence was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    Stored,
    /// There are [`SILENCES_MAX`] already.
    Full,
}

impl Silences {
    /// Adds a checked silence. One that does not compile any more is left out.
    pub fn add(&mut self, silence: Silence) -> Added {
        if self.all.len() >= SILENCES_MAX {
            return Added::Full;
        }
        let matchers = silence.matchers.iter().map(|matcher| {
            let compiled = Compiled::new(matcher)?;
            Ok((matcher.name.clone(), compiled))
        });
        if let Ok(matchers) = matchers.collect::<Result<Vec<_>, regex::Error>>() {
            self.all.push((silence, matchers));
        }
        Added::Stored
    }

    /// Removes a silence; `None` when there is none with this id.
    pub fn remove(&mut self, id: &str) -> Option<Silence> {
        let place = self.all.iter().position(|(silence, _)| silence.id == id)?;
        Some(self.all.remove(place).0)
    }

    /// Removes expired silences; returns whether there were any.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let before = self.all.len();
        self.all.retain(|(silence, _)| silence.ends_at > now);
        self.all.len() != before
    }

    /// All silences, oldest first.
    #[must_use]
    pub fn list(&self) -> Vec<Silence> {
        self.all
            .iter()
            .map(|(silence, _)| silence.clone())
            .collect()
    }

    /// The ids of the active silences that match an alert. Its severity is the higher of its tier and the tier that
    /// was `notified`, so that a silence also holds back its resolution.
    #[must_use]
    pub fn matching(&self, state: &AlertState, notified: Tier, now: Timestamp) -> Vec<&str> {
        let was_critical = state.tier == Tier::None && state.critical_at.is_some();
        let severity = match state.tier.max(notified) {
            Tier::Critical => "critical",
            _ if was_critical => "critical",
            _ => "warning",
        };
        let labels = state.labels();
        let value = |name: &str| match name {
            "severity" => severity,
            _ => labels
                .iter()
                .find(|(label, _)| *label == name)
                .map_or("", |(_, value)| value),
        };
        let matches = |(silence, matchers): &&(Silence, Vec<(String, Compiled)>)| {
            silence.starts_at <= now
                && now < silence.ends_at
                && matchers
                    .iter()
                    .all(|(name, compiled)| compiled.matches(value(name)))
        };
        let found = self.all.iter().filter(matches);
        found.map(|(silence, _)| &*silence.id).collect()
    }
}

impl std::fmt::Debug for Silences {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Silences({})", self.all.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::fixture;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    fn request(text: &str) -> Result<Silence, String> {
        let request: SilenceRequest =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let silence = request.check("1".to_owned(), at("2026-11-22T08:00:00Z"));
        silence.map_err(|error| error.to_string())
    }

    #[test]
    fn a_silence_matches_by_labels_and_time() {
        let mut silences = Silences::default();
        let text = r#"{"matchers":[{"name":"alertname","value":"Error.*","isRegex":true},
            {"name":"severity","value":"critical","isEqual":false}],
            "starts_at":"2026-11-22T09:00:00Z","duration":"1h"}"#;
        assert_eq!(
            silences.add(request(text).expect("a silence")),
            Added::Stored
        );
        let mut state = fixture::alert("ErrorRate", Tier::Warning);
        let silenced = |silences: &Silences, state: &AlertState, time: &str| {
            !silences.matching(state, Tier::None, at(time)).is_empty()
        };
        assert!(!silenced(&silences, &state, "2026-11-22T08:59:59Z"));
        assert!(silenced(&silences, &state, "2026-11-22T09:00:00Z"));
        assert!(!silenced(&silences, &state, "2026-11-22T10:00:00Z"));
        let identity = crate::alert::identity::AlertIdentity::new(&Default::default(), "a:1");
        state.identity = identity.into();
        let of = |instance: &str| {
            let text = format!(
                r#"{{"matchers":[{{"name":"instance","value":"{instance}"}}],"duration":"1h"}}"#
            );
            let mut silences = Silences::default();
            silences.add(request(&text).expect("a silence"));
            silenced(&silences, &state, "2026-11-22T08:30:00Z")
        };
        assert!(of("a:1") && !of("b:1"), "only the named replica");
        state.tier = Tier::Critical;
        assert!(!silenced(&silences, &state, "2026-11-22T09:30:00Z"));
        let other = fixture::alert("DiskUsage", Tier::Warning);
        assert!(!silenced(&silences, &other, "2026-11-22T09:30:00Z"));
        assert!(!silences.expire(at("2026-11-22T09:59:59Z")));
        assert!(silences.expire(at("2026-11-22T10:00:00Z")));
    }

    #[test]
    fn the_number_of_silences_is_bounded() {
        let mut silences = Silences::default();
        for round in 0..=SILENCES_MAX {
            let mut silence =
                request(r#"{"matchers":[{"name":"a","value":"b"}],"duration":"1h"}"#).expect("one");
            silence.id = round.to_string();
            let added = silences.add(silence);
            assert_eq!(added == Added::Full, round == SILENCES_MAX);
        }
        assert!(silences.remove("5").is_some());
        assert!(silences.remove("5").is_none());
    }
}
