//! The units of the configuration and the command line: `30s`, `10MiB`, `20/s`, `1%`.

use std::time::Duration;

use thiserror::Error;

/// The longest duration that is accepted: ten years. Adding it to a clock never overflows.
const DURATION_MAX: Duration = Duration::from_secs(3650 * 24 * 60 * 60);

/// An invalid value, described by what is expected. The message never repeats the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("expected {expected}")]
pub struct UnitError {
    pub expected: &'static str,
}

/// A count per period: `20/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    pub count: u32,
    pub period: Duration,
}

pub(crate) const DURATION_EXPECTED: &str =
    "a duration such as 30s (a whole number and ms, s, m, h or d)";
pub(crate) const SIZE_EXPECTED: &str =
    "a size such as 10MiB (a whole number and B, KiB, MiB, GiB, KB, MB or GB)";
pub(crate) const RATE_EXPECTED: &str = "a rate such as 20/s (a whole number and /s, /min or /h)";
pub(crate) const RATIO_EXPECTED: &str = "a share such as 1% or 0.5%, from 0% to 100%";

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`, at most ten years.
///
/// # Errors
/// The text has another format, or the value is out of range.
pub fn duration(text: &str) -> Result<Duration, UnitError> {
    let invalid = UnitError {
        expected: DURATION_EXPECTED,
    };
    let (number, unit) = number_and_unit(text).ok_or(invalid)?;
    let unit_ms: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(invalid),
    };
    let duration = number
        .checked_mul(unit_ms)
        .map(Duration::from_millis)
        .ok_or(invalid)?;
    if duration > DURATION_MAX {
        return Err(UnitError {
            expected: "a duration of at most 3650d",
        });
    }
    Ok(duration)
}

/// A number of bytes: a whole number and `B`, `KiB`, `MiB`, `GiB` (of 1024) or `KB`, `MB`, `GB` (of
/// 1000).
///
/// # Errors
/// The text has another format, or the value is out of range.
pub fn size(text: &str) -> Result<u64, UnitError> {
    let invalid = UnitError {
        expected: SIZE_EXPECTED,
    };
    let (number, unit) = number_and_unit(text).ok_or(invalid)?;
    let unit_bytes: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return Err(invalid),
    };
    let bytes = number.checked_mul(unit_bytes).ok_or(invalid)?;
    if bytes > 1 << 50 {
        return Err(UnitError {
            expected: "a size of at most 1048576GiB",
        });
    }
    Ok(bytes)
}

/// A rate: a whole number above 0 and `/s`, `/min` or `/h`.
///
/// # Errors
/// The text has another format, or the value is out of range.
pub fn rate(text: &str) -> Result<Rate, UnitError> {
    let invalid = UnitError {
        expected: RATE_EXPECTED,
    };
    let (number, unit) = number_and_unit(text).ok_or(invalid)?;
    let period_s = match unit {
        "/s" => 1,
        "/min" => 60,
        "/h" => 3600,
        _ => return Err(invalid),
    };
    let count = u32::try_from(number).map_err(|_| UnitError {
        expected: "a rate of at most 4294967295",
    })?;
    if count == 0 {
        return Err(UnitError {
            expected: "a rate above 0",
        });
    }
    Ok(Rate {
        count,
        period: Duration::from_secs(period_s),
    })
}

/// A share of the whole, from 0 to 1: `1%` is 0.01.
///
/// # Errors
/// The text has another format, or the value is out of range.
pub fn ratio(text: &str) -> Result<f64, UnitError> {
    let invalid = UnitError {
        expected: RATIO_EXPECTED,
    };
    let number = text.strip_suffix('%').ok_or(invalid)?;
    let is_decimal = number
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.')
        && number.starts_with(|first: char| first.is_ascii_digit());
    if !is_decimal {
        return Err(invalid);
    }
    let percent: f64 = number.parse().map_err(|_| invalid)?;
    if percent > 100.0 {
        return Err(invalid);
    }
    Ok(percent / 100.0)
}

/// A duration as the configuration writes it, such as `2s` or `1500ms`.
#[must_use]
pub fn shown(duration: Duration) -> String {
    let ms = duration.as_millis();
    let units = [
        (86_400_000, "d"),
        (3_600_000, "h"),
        (60_000, "m"),
        (1_000, "s"),
    ];
    let whole = units
        .iter()
        .find(|(unit, _)| ms > 0 && ms.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{}{name}", ms / unit),
        None => format!("{ms}ms"),
    }
}

/// Splits `30s` into 30 and `s`. Signs, fractions and spaces are rejected.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|next: char| !next.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed_or_rejected() {
        for (text, ms) in [
            ("0s", 0),
            ("100ms", 100),
            ("30s", 30_000),
            ("5m", 300_000),
            ("8h", 28_800_000),
            ("3650d", 315_360_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in [
            "",
            "30",
            "s",
            "30x",
            "30 s",
            "-1s",
            "1.5s",
            "3651d",
            "1h30m",
            "30S",
            "99999999999999999999s",
            "18446744073709551615d",
            "３０s",
            "30s\0",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_as_they_are_written() {
        for text in ["0ms", "1ms", "1500ms", "2s", "90s", "5m", "36h", "2d"] {
            assert_eq!(shown(duration(text).expect("a duration")), text);
        }
        assert_eq!(shown(Duration::from_secs(120)), "2m");
    }

    #[test]
    fn sizes_are_parsed_or_rejected() {
        for (text, bytes) in [
            ("0B", 0),
            ("32KiB", 32_768),
            ("10MiB", 10_485_760),
            ("1GiB", 1_073_741_824),
            ("1KB", 1_000),
            ("2MB", 2_000_000),
            ("3GB", 3_000_000_000),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "10",
            "10mib",
            "10 MiB",
            "18446744073709551615GiB",
            "1TiB",
            "-1B",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_and_ratios_are_parsed_or_rejected() {
        let rate_of = |count, period_s| Rate {
            count,
            period: Duration::from_secs(period_s),
        };
        assert_eq!(rate("20/s"), Ok(rate_of(20, 1)));
        assert_eq!(rate("100000/min"), Ok(rate_of(100_000, 60)));
        assert_eq!(rate("5/h"), Ok(rate_of(5, 3600)));
        for text in ["0/s", "20", "20/d", "/s", "4294967296/s", "1.5/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!(ratio("100%"), Ok(1.0));
        assert_eq!(ratio("0.5%"), Ok(0.005));
        for text in [
            "1", "%", "101%", "-1%", "1.2.3%", "inf%", "NaN%", ".5%", "1e1%",
        ] {
            assert!(ratio(text).is_err(), "{text}");
        }
    }
}
