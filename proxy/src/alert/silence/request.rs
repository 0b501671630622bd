//! Requests for silences, and their validation.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::{Compiled, Matcher, Silence};
use crate::units::{self, UnitError};

const MATCHERS_MAX: usize = 20;
const TEXT_BYTES_MAX: usize = 512;
/// The longest silence.
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
const EXAMPLE_TIME: &str = "2026-11-22T08:30:00Z";

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
                .checked_add(units::duration(duration)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Silence, String> {
        let request: SilenceRequest =
            serde_json::from_str(text).map_err(|error| error.to_string())?;
        let silence = request.check(
            "1".to_owned(),
            "2026-11-22T08:00:00Z".parse().expect("a time"),
        );
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
}
