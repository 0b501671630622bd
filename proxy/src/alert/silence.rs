//! Silences: for a time no notifications are sent for alerts whose labels match.
//!
//! Matchers are those of Alertmanager's API v2. Pure: the time is passed in.

use jiff::{SignedDuration, Timestamp};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::state::AlertState;
use super::tier::Tier;
use crate::units::UnitError;

/// The most silences at a time.
pub const SILENCES_MAX: usize = 100;
const MATCHERS_MAX: usize = 20;
const TEXT_BYTES_MAX: usize = 512;
/// The size limit of a compiled regular expression.
const REGEX_BYTES_MAX: usize = 64 * 1024;
/// The longest silence.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
const EXAMPLE_TIME: &str = "2026-11-22T08:30:00Z";

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

/// A request for a silence.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with matchers and duration"
)]
pub struct SilenceRequest {
    pub matchers: Vec<Matcher>,
    /// Now by default. Alertmanager's spelling of each key is accepted as well.
    #[serde(alias = "startsAt")]
    pub starts_at: Option<String>,
    #[serde(alias = "endsAt")]
    pub ends_at: Option<String>,
    /// Instead of `ends_at`: `30m`, `2h`.
    pub duration: Option<String>,
    #[serde(default, alias = "createdBy")]
    pub created_by: String,
    #[serde(default)]
    pub comment: String,
}

/// Why a request for a silence is invalid.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSilence {
    #[error(
        "`matchers` is empty: name at least one label, such as {{\"name\": \"alertname\", \"value\": \"ErrorRate\"}}"
    )]
    NoMatchers,
    #[error("`matchers` has more than {MATCHERS_MAX}")]
    TooManyMatchers,
    #[error("`matchers[{0}].name` is empty")]
    EmptyName(usize),
    #[error("`matchers[{place}].value`: {error}")]
    Regex { place: usize, error: regex::Error },
    #[error("these matchers match every alert; at least one must not match an empty value")]
    MatchesEverything,
    #[error("a text is longer than {TEXT_BYTES_MAX} bytes")]
    LongText,
    #[error("a text has a line break or another control character")]
    ControlCharacter,
    #[error("`{key}`: expected a time such as {EXAMPLE_TIME}, found {text:?}")]
    Time { key: &'static str, text: String },
    #[error("`duration`: {0}")]
    Duration(#[from] UnitError),
    #[error("`duration` is too long")]
    LongDuration,
    #[error("set either `duration`, such as \"2h\", or `ends_at`, such as \"{EXAMPLE_TIME}\"")]
    NoEnd,
    #[error("a silence must end within a year: remove the rule instead")]
    TooLong,
    #[error("it would have expired already: `ends_at` is before its start or before now")]
    Expired,
}

impl SilenceRequest {
    /// The silence that is requested.
    ///
    /// # Errors
    /// What is invalid, and what to write instead.
    pub fn check(self, id: String, now: Timestamp) -> Result<Silence, InvalidSilence> {
        self.check_matchers()?;
        self.check_texts()?;
        let starts_at = time("starts_at", self.starts_at)?.unwrap_or(now);
        let ends_at = match (time("ends_at", self.ends_at)?, &self.duration) {
            (Some(ends_at), None) => ends_at,
            (None, Some(duration)) => starts_at
                .checked_add(crate::units::duration(duration)?)
                .map_err(|_| InvalidSilence::LongDuration)?,
            _ => return Err(InvalidSilence::NoEnd),
        };
        if starts_at.duration_until(ends_at) > LONGEST || now.duration_until(ends_at) > LONGEST {
            return Err(InvalidSilence::TooLong);
        }
        if ends_at <= starts_at || ends_at <= now {
            return Err(InvalidSilence::Expired);
        }
        Ok(Silence {
            id,
            matchers: self.matchers,
            starts_at,
            ends_at,
            created_by: self.created_by,
            comment: self.comment,
        })
    }

    fn check_matchers(&self) -> Result<(), InvalidSilence> {
        if self.matchers.is_empty() {
            return Err(InvalidSilence::NoMatchers);
        }
        if self.matchers.len() > MATCHERS_MAX {
            return Err(InvalidSilence::TooManyMatchers);
        }
        let mut matches_everything = true;
        for (place, matcher) in self.matchers.iter().enumerate() {
            let compiled =
                Compiled::new(matcher).map_err(|error| InvalidSilence::Regex { place, error })?;
            matches_everything &= compiled.matches("");
            if matcher.name.is_empty() {
                return Err(InvalidSilence::EmptyName(place));
            }
        }
        match matches_everything {
            true => Err(InvalidSilence::MatchesEverything),
            false => Ok(()),
        }
    }

    fn check_texts(&self) -> Result<(), InvalidSilence> {
        let of_matchers = self.matchers.iter();
        let of_matchers = of_matchers.flat_map(|matcher| [&matcher.name, &matcher.value]);
        for text in [&self.comment, &self.created_by]
            .into_iter()
            .chain(of_matchers)
        {
            if text.len() > TEXT_BYTES_MAX {
                return Err(InvalidSilence::LongText);
            }
            if text.chars().any(char::is_control) {
                return Err(InvalidSilence::ControlCharacter);
            }
        }
        Ok(())
    }
}

fn time(key: &'static str, text: Option<String>) -> Result<Option<Timestamp>, InvalidSilence> {
    let parse = |text: String| match text.parse() {
        Ok(time) => Ok(time),
        Err(_) => Err(InvalidSilence::Time { key, text }),
    };
    text.map(parse).transpose()
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
    fn an_invalid_request_is_explained() {
        for (text, expected) in [
            (r#"{"matchers":[],"duration":"1h"}"#, "matchers"),
            (r#"{"duration":"1h"}"#, "matchers"),
            (
                r#"{"matchers":[{"name":"a","value":"b"}]}"#,
                "either `duration`",
            ),
            (
                r#"{"matchers":[{"name":"a","value":"b"}],"duration":"1 fortnight"}"#,
                "`duration`",
            ),
            (
                r#"{"matchers":[{"name":"a","value":"b"}],"ends_at":"2026-11-22T07:00:00Z"}"#,
                "expired already",
            ),
            (
                r#"{"matchers":[{"name":"a","value":"(","isRegex":true}],"duration":"1h"}"#,
                "matchers[0].value",
            ),
            (
                r#"{"matchers":[{"name":"a","value":".*","isRegex":true}],"duration":"1h"}"#,
                "every alert",
            ),
            (
                r#"{"matchers":[{"name":"","value":"b"}],"duration":"1h"}"#,
                "name",
            ),
            (
                r#"{"matchers":[{"name":"a","value":"b"}],"for":"1h"}"#,
                "for",
            ),
        ] {
            let error = request(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
        let many = format!(
            r#"{{"matchers":[{{"name":"a","value":"{}","isRegex":true}}],"duration":"1h"}}"#,
            "(a{1000}){1000}"
        );
        request(&many).expect_err("a regular expression without a bound");
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
        let identity = crate::alert::identity::Identity::new(&Default::default(), "a:1");
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
