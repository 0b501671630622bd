//! Silences: for a time nobody is told of alerts with these labels.
//!
//! Matchers are those of Alertmanager's API v2. Pure: the time is passed in.

use jiff::{SignedDuration, Timestamp};
use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

use super::state::Standing;
use super::tier::Tier;

/// So many at once.
pub const SILENCES_MAX: usize = 100;
const MATCHERS_MAX: usize = 20;
const TEXT_BYTES_MAX: usize = 512;
/// What a regular expression of somebody may take.
const REGEX_BYTES_MAX: usize = 64 * 1024;
/// The longest one.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
const EXAMPLE_TIME: &str = "2026-11-22T08:30:00Z";

/// A silence as it was asked for, and is shown.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    pub id: String,
    pub matchers: Vec<Matcher>,
    pub starts_at: Timestamp,
    pub ends_at: Timestamp,
    pub created_by: String,
    pub comment: String,
}

/// One condition on a label; a label that is not there counts as empty.
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

/// What a client sends.
#[derive(Clone, Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object with matchers and duration"
)]
pub struct Wish {
    pub matchers: Vec<Matcher>,
    /// Now by default. Alertmanager's spelling of each key is taken as well.
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

impl Wish {
    /// The silence that is wished for.
    ///
    /// # Errors
    /// What is wrong with it, and what to write instead.
    pub fn check(self, id: String, now: Timestamp) -> Result<Silence, String> {
        if self.matchers.is_empty() {
            return Err("`matchers` is empty: name at least one label, such as {\"name\": \"alertname\", \"value\": \"ErrorRate\"}".to_owned());
        }
        if self.matchers.len() > MATCHERS_MAX {
            return Err(format!("`matchers` has more than {MATCHERS_MAX}"));
        }
        let mut matches_nothing = false;
        for (place, matcher) in self.matchers.iter().enumerate() {
            let compiled = Compiled::new(matcher)
                .map_err(|why| format!("`matchers[{place}].value`: {why}"))?;
            matches_nothing |= !compiled.matches("");
            if matcher.name.is_empty() {
                return Err(format!("`matchers[{place}].name` is empty"));
            }
        }
        if !matches_nothing {
            return Err(
                "these matchers match every alert; at least one must not match an empty value"
                    .to_owned(),
            );
        }
        let texts = [&self.comment, &self.created_by];
        let texts = texts.into_iter().chain(
            self.matchers
                .iter()
                .flat_map(|matcher| [&matcher.name, &matcher.value]),
        );
        for text in texts {
            if text.len() > TEXT_BYTES_MAX {
                return Err(format!("no text is longer than {TEXT_BYTES_MAX} bytes"));
            }
            if text.chars().any(char::is_control) {
                return Err("no text has a line break or another control character".to_owned());
            }
        }
        let starts_at = time("starts_at", self.starts_at)?.unwrap_or(now);
        let ends_at = match (time("ends_at", self.ends_at)?, &self.duration) {
            (Some(ends_at), None) => ends_at,
            (None, Some(duration)) => {
                let duration = crate::units::duration(duration)
                    .map_err(|error| format!("`duration`: {error}"))?;
                starts_at
                    .checked_add(duration)
                    .map_err(|_| "`duration` is too long".to_owned())?
            }
            _ => {
                return Err(format!(
                    "give either `duration`, such as \"2h\", or `ends_at`, such as \"{EXAMPLE_TIME}\""
                ));
            }
        };
        if starts_at.duration_until(ends_at) > LONGEST || now.duration_until(ends_at) > LONGEST {
            return Err("a silence ends within a year: remove the rule instead".to_owned());
        }
        if ends_at <= starts_at || ends_at <= now {
            return Err(
                "it would be over already: `ends_at` lies before its start or before now"
                    .to_owned(),
            );
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
}

fn time(name: &str, text: Option<String>) -> Result<Option<Timestamp>, String> {
    let wrong = |text| format!("`{name}`: expected a time such as {EXAMPLE_TIME}, found {text:?}");
    text.map(|text| text.parse().map_err(|_| wrong(text)))
        .transpose()
}

/// A matcher ready to be asked.
enum Compiled {
    Text { value: String, is_equal: bool },
    Regex { regex: Box<Regex>, is_equal: bool },
}

impl Compiled {
    fn new(matcher: &Matcher) -> Result<Self, String> {
        let is_equal = matcher.is_equal;
        if !matcher.is_regex {
            let value = matcher.value.clone();
            return Ok(Compiled::Text { value, is_equal });
        }
        let regex = RegexBuilder::new(&format!("^(?:{})$", matcher.value))
            .size_limit(REGEX_BYTES_MAX)
            .build()
            .map_err(|error| error.to_string())?;
        let regex = Box::new(regex);
        Ok(Compiled::Regex { regex, is_equal })
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Compiled::Text {
                value: wanted,
                is_equal,
            } => (wanted == value) == *is_equal,
            Compiled::Regex { regex, is_equal } => regex.is_match(value) == *is_equal,
        }
    }
}

/// All silences that are not over.
#[derive(Default)]
pub struct Silences {
    all: Vec<(Silence, Vec<(String, Compiled)>)>,
}

/// Whether a silence found its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    Kept,
    /// There are [`SILENCES_MAX`] already.
    Full,
}

impl Silences {
    /// Takes one that was checked; one that cannot be read any more is left out.
    pub fn add(&mut self, silence: Silence) -> Added {
        if self.all.len() >= SILENCES_MAX {
            return Added::Full;
        }
        let matchers = silence.matchers.iter().map(|matcher| {
            let compiled = Compiled::new(matcher)?;
            Ok((matcher.name.clone(), compiled))
        });
        if let Ok(matchers) = matchers.collect::<Result<Vec<_>, String>>() {
            self.all.push((silence, matchers));
        }
        Added::Kept
    }

    /// Ends one before its time; `None` when there is none with this id.
    pub fn remove(&mut self, id: &str) -> Option<Silence> {
        let place = self.all.iter().position(|(silence, _)| silence.id == id)?;
        Some(self.all.remove(place).0)
    }

    /// Forgets those that are over; says whether there were any.
    pub fn forget_over(&mut self, now: Timestamp) -> bool {
        let before = self.all.len();
        self.all.retain(|(silence, _)| silence.ends_at > now);
        self.all.len() != before
    }

    /// All of them, in the order in which they came.
    #[must_use]
    pub fn list(&self) -> Vec<Silence> {
        self.all
            .iter()
            .map(|(silence, _)| silence.clone())
            .collect()
    }

    /// The ids of those that hold for an alert now. Its severity is the higher of its tier and what was
    /// `told` of it, so that an alert that ends is still found.
    #[must_use]
    pub fn over(&self, standing: &Standing, told: Tier, now: Timestamp) -> Vec<&str> {
        let was_critical = standing.tier == Tier::None && standing.critical_at.is_some();
        let severity = match standing.tier.max(told) {
            Tier::Critical => "critical",
            _ if was_critical => "critical",
            _ => "warning",
        };
        let labels = standing.labels();
        let value = |name: &str| match name {
            "severity" => severity,
            _ => labels
                .iter()
                .find(|(label, _)| *label == name)
                .map_or("", |(_, value)| value),
        };
        let holds = |(silence, matchers): &&(Silence, Vec<(String, Compiled)>)| {
            silence.starts_at <= now
                && now < silence.ends_at
                && matchers
                    .iter()
                    .all(|(name, compiled)| compiled.matches(value(name)))
        };
        let found = self.all.iter().filter(holds);
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

    fn wish(text: &str) -> Result<Silence, String> {
        let wish: Wish = serde_json::from_str(text).map_err(|error| error.to_string())?;
        wish.check("1".to_owned(), at("2026-11-22T08:00:00Z"))
    }

    #[test]
    fn what_is_wrong_is_told_with_what_to_write() {
        for (text, told) in [
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
                "over already",
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
            let told_so = wish(text).expect_err(text);
            assert!(told_so.contains(told), "{text}: {told_so}");
        }
        let many = format!(
            r#"{{"matchers":[{{"name":"a","value":"{}","isRegex":true}}],"duration":"1h"}}"#,
            "(a{1000}){1000}"
        );
        wish(&many).expect_err("a regular expression without a bound");
    }

    #[test]
    fn it_holds_for_its_labels_and_its_time() {
        let mut silences = Silences::default();
        let text = r#"{"matchers":[{"name":"alertname","value":"Error.*","isRegex":true},
            {"name":"severity","value":"critical","isEqual":false}],
            "starts_at":"2026-11-22T09:00:00Z","duration":"1h"}"#;
        assert_eq!(silences.add(wish(text).expect("a silence")), Added::Kept);
        let mut standing = fixture::standing("ErrorRate", Tier::Warning);
        let over = |silences: &Silences, standing: &Standing, time: &str| {
            !silences.over(standing, Tier::None, at(time)).is_empty()
        };
        assert!(!over(&silences, &standing, "2026-11-22T08:59:59Z"));
        assert!(over(&silences, &standing, "2026-11-22T09:00:00Z"));
        assert!(!over(&silences, &standing, "2026-11-22T10:00:00Z"));
        let identity = crate::alert::identity::Identity::new(&Default::default(), "a:1");
        standing.identity = identity.into();
        let of = |instance: &str| {
            let text = format!(
                r#"{{"matchers":[{{"name":"instance","value":"{instance}"}}],"duration":"1h"}}"#
            );
            let mut silences = Silences::default();
            silences.add(wish(&text).expect("a silence"));
            over(&silences, &standing, "2026-11-22T08:30:00Z")
        };
        assert!(of("a:1") && !of("b:1"), "only the replica that is named");
        standing.tier = Tier::Critical;
        assert!(!over(&silences, &standing, "2026-11-22T09:30:00Z"));
        let other = fixture::standing("DiskUsage", Tier::Warning);
        assert!(!over(&silences, &other, "2026-11-22T09:30:00Z"));
        assert!(!silences.forget_over(at("2026-11-22T09:59:59Z")));
        assert!(silences.forget_over(at("2026-11-22T10:00:00Z")));
    }

    #[test]
    fn there_are_only_so_many() {
        let mut silences = Silences::default();
        for round in 0..=SILENCES_MAX {
            let mut silence =
                wish(r#"{"matchers":[{"name":"a","value":"b"}],"duration":"1h"}"#).expect("one");
            silence.id = round.to_string();
            let added = silences.add(silence);
            assert_eq!(added == Added::Full, round == SILENCES_MAX);
        }
        assert!(silences.remove("5").is_some());
        assert!(silences.remove("5").is_none());
    }
}
