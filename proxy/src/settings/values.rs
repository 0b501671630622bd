//! The scalar types of settings.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::decode::{FromScalar, Invalid};
use super::diagnostic::Diagnostics;
use super::node::FilePosition;
use super::secret;
use crate::units::{self, Rate};

pub(crate) use super::secret::SecretText;

pub(crate) fn pattern(pattern: &str) -> Value {
    json!({"type": "string", "pattern": pattern})
}

fn unit<T>(read: Result<T, units::UnitError>, usual: &str) -> Result<T, Invalid> {
    read.map_err(|error| {
        if error.expected == usual {
            Invalid::Unexpected
        } else {
            Invalid::Because(error.to_string())
        }
    })
}

impl FromScalar for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Invalid::Unexpected),
        }
    }

    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

/// A name that becomes a label: few characters, so that it needs no escape anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Slug(pub(crate) String);

impl FromScalar for Slug {
    fn expected() -> String {
        "a name of 1 to 64 characters from a-z, 0-9, _ and -".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let is_label = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-'
        };
        if (1..=64).contains(&text.len()) && text.bytes().all(is_label) {
            return Ok(Slug(text.to_owned()));
        }
        Err(Invalid::Unexpected)
    }

    fn schema() -> Value {
        pattern("^[a-z0-9_-]{1,64}$")
    }
}

/// The name of an alert rule: characters that need no escape in Prometheus.
pub(crate) struct RuleName(pub(crate) String);

impl FromScalar for RuleName {
    fn expected() -> String {
        "a name of 1 to 64 letters, digits and _".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if (1..=64).contains(&text.len()) && text.bytes().all(is_word) {
            return Ok(RuleName(text.to_owned()));
        }
        Err(Invalid::Unexpected)
    }

    fn schema() -> Value {
        pattern("^[A-Za-z0-9_]{1,64}$")
    }
}

/// Any text, without control characters.
#[derive(Clone, Debug)]
pub(crate) struct PlainText(pub(crate) String);

pub(crate) fn plain_text(text: &str) -> Result<String, Invalid> {
    if text.chars().any(char::is_control) {
        return Err(Invalid::Because(
            "expected one line of text; there is a control character in it".to_owned(),
        ));
    }
    Ok(text.to_owned())
}

impl FromScalar for PlainText {
    fn expected() -> String {
        "a text".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        plain_text(text).map(PlainText)
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

/// A text that may be empty.
#[derive(Clone, Debug)]
pub(crate) struct MaybeEmptyText(pub(crate) String);

impl FromScalar for MaybeEmptyText {
    const TAKES_EMPTY: bool = true;

    fn expected() -> String {
        "a text, or \"\" for none".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        plain_text(text).map(MaybeEmptyText)
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

/// A duration of at least `MIN_MS` milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimeSpan<const MIN_MS: u64 = 1>(pub(crate) Duration);

impl<const MIN_MS: u64> FromScalar for TimeSpan<MIN_MS> {
    fn is_equal(old: &str, new: &str) -> bool {
        units::duration(old).ok() == units::duration(new).ok()
    }

    fn expected() -> String {
        units::DURATION_EXPECTED.to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let duration = unit(units::duration(text), units::DURATION_EXPECTED)?;
        if duration < Duration::from_millis(MIN_MS) {
            return Err(Invalid::Because("expected a duration above 0".to_owned()));
        }
        Ok(TimeSpan(duration))
    }

    fn schema() -> Value {
        pattern("^[0-9]+(ms|s|m|h|d)$")
    }
}

/// A number of bytes, at least `MIN`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size<const MIN: u64 = 1>(pub(crate) u64);

impl<const MIN: u64> FromScalar for Size<MIN> {
    fn is_equal(old: &str, new: &str) -> bool {
        units::size(old).ok() == units::size(new).ok()
    }

    fn expected() -> String {
        units::SIZE_EXPECTED.to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let bytes = unit(units::size(text), units::SIZE_EXPECTED)?;
        if bytes < MIN {
            return Err(Invalid::Because(format!(
                "expected a size of at least {MIN}B"
            )));
        }
        Ok(Size(bytes))
    }

    fn schema() -> Value {
        pattern("^[0-9]+(B|KiB|MiB|GiB|KB|MB|GB)$")
    }
}

/// A whole number, at least `MIN`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Count<const MIN: u32 = 1>(pub(crate) u32);

impl<const MIN: u32> Count<MIN> {
    const MAX: u32 = 1_000_000_000;
}

impl<const MIN: u32> FromScalar for Count<MIN> {
    fn expected() -> String {
        format!("a whole number from {MIN} to {}", Self::MAX)
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        match text.parse() {
            Ok(number) if (MIN..=Self::MAX).contains(&number) && !text.starts_with('+') => {
                Ok(Count(number))
            }
            _ => Err(Invalid::Unexpected),
        }
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": MIN, "maximum": Self::MAX})
    }
}

impl FromScalar for Rate {
    fn expected() -> String {
        units::RATE_EXPECTED.to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        unit(units::rate(text), units::RATE_EXPECTED)
    }

    fn schema() -> Value {
        pattern("^[0-9]+/(s|min|h)$")
    }
}

/// A share of the whole, from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Percentage(pub(crate) f64);

impl FromScalar for Percentage {
    fn expected() -> String {
        units::RATIO_EXPECTED.to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        unit(units::ratio(text), units::RATIO_EXPECTED).map(Percentage)
    }

    fn schema() -> Value {
        pattern("^[0-9]+(\\.[0-9]+)?%$")
    }
}

/// The threshold of an alert: a share, a duration or a number, as its signal is.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) enum Threshold {
    Share(f64),
    Time(Duration),
    Count(u32),
}

impl FromScalar for Threshold {
    fn expected() -> String {
        "a share such as 1%, a duration such as 500ms or a whole number".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        units::ratio(text)
            .map(Threshold::Share)
            .or_else(|_| units::duration(text).map(Threshold::Time))
            .or_else(|_| Count::<0>::read(text).map(|count| Threshold::Count(count.0)))
            .map_err(|_| Invalid::Unexpected)
    }

    fn schema() -> Value {
        let texts = pattern("^[0-9]+((\\.[0-9]+)?%|ms|s|m|h|d)$");
        json!({"anyOf": [texts, Count::<0>::schema()]})
    }
}

impl FromScalar for SocketAddr {
    fn expected() -> String {
        "an IP address and a port such as 0.0.0.0:8080 or [::1]:8080".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        text.parse().map_err(|_| Invalid::Unexpected)
    }

    fn schema() -> Value {
        pattern("^.+:[0-9]{1,5}$")
    }
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Network(pub(crate) IpNet);

impl FromScalar for Network {
    fn expected() -> String {
        "a network such as 10.0.0.0/8, or an IP address".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        text.parse::<IpNet>()
            .map(|network| network.trunc())
            .or_else(|_| text.parse::<IpAddr>().map(IpNet::from))
            .map(Network)
            .map_err(|_| Invalid::Unexpected)
    }

    fn schema() -> Value {
        pattern("^[0-9a-fA-F:.]+(/[0-9]{1,3})?$")
    }
}

impl FromScalar for HeaderName {
    fn expected() -> String {
        "a header name such as X-Api-Key".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        HeaderName::from_bytes(text.as_bytes()).map_err(|_| Invalid::Unexpected)
    }

    fn schema() -> Value {
        pattern("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")
    }
}

/// The value of a header; it may be a credential and is never shown.
pub(crate) struct HeaderText(pub(crate) SecretText);

impl FromScalar for HeaderText {
    const SECRET: bool = true;

    fn expected() -> String {
        "the value of a header: one line of printable characters".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let value = SecretText::from(text.trim());
        value.header_value().map_err(|_| Invalid::Unexpected)?;
        Ok(HeaderText(value))
    }

    fn schema() -> Value {
        json!({"type": ["string", "number"]})
    }

    fn notice(text: &str, place: FilePosition, diagnostics: &mut Diagnostics) {
        secret::notice_example(text, place, diagnostics);
    }
}
