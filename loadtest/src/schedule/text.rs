//! Parses and formats arrival rates and spikes.

use std::time::Duration;

use weir::units;

/// Bursts that replace the arrival rate at regular intervals.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spikes {
    /// Requests per second during a spike.
    pub rate: f64,
    pub length: Duration,
    /// From the start of one spike to the start of the next.
    pub every: Duration,
}

/// Why a rate or spikes are invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    #[error("expected a rate such as 50/s or 300/min, found {0:?}")]
    Rate(String),
    #[error("expected spikes such as 400/s:2s/30s (rate, length, interval), found {0:?}")]
    Spikes(String),
    #[error("a spike must be shorter than the interval between two spikes, found {0:?}")]
    SpikeLength(String),
}

/// Parses `50/s` (constant), `10/s..100/s` (a ramp) and `50/s,100/s,200/s` (stages).
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn rates(text: &str) -> Result<Vec<(f64, f64)>, RateError> {
    text.split(',')
        .map(|part| match part.trim().split_once("..") {
            Some((from, to)) => Ok((rate(from)?, rate(to)?)),
            None => rate(part).map(|rate| (rate, rate)),
        })
        .collect()
}

/// Formats rates so that they can be parsed again: `50/s`, `10/s..100/s, 200/s`.
#[must_use]
pub fn shown(rates: &[(f64, f64)]) -> String {
    let one = |rate: f64| match (rate * 60.0).fract().abs() < 1e-9 && rate < 1.0 {
        true if rate > 0.0 => format!("{}/min", rate * 60.0),
        _ => format!("{}/s", (rate * 1000.0).round() / 1000.0),
    };
    let parts = rates.iter().map(|(from, to)| match from == to {
        true => one(*from),
        false => format!("{}..{}", one(*from), one(*to)),
    });
    parts.collect::<Vec<_>>().join(", ")
}

impl std::fmt::Display for Spikes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Spikes {
            rate,
            length,
            every,
        } = self;
        write!(
            formatter,
            "{}:{length:?}/{every:?}",
            shown(&[(*rate, *rate)])
        )
    }
}

/// Parses `400/s:2s/30s`: the rate of a spike, its length, and the interval.
///
/// # Errors
/// What is wrong, and what to write instead.
pub fn spikes(text: &str) -> Result<Spikes, RateError> {
    let malformed = || RateError::Spikes(text.to_owned());
    let (rate_text, times) = text.split_once(':').ok_or_else(malformed)?;
    let (length, every) = times.split_once('/').ok_or_else(malformed)?;
    let time = |text: &str| units::duration(text.trim()).map_err(|_| malformed());
    let spikes = Spikes {
        rate: rate(rate_text)?,
        length: time(length)?,
        every: time(every)?,
    };
    match spikes.length >= spikes.every || spikes.length.is_zero() {
        true => Err(RateError::SpikeLength(text.to_owned())),
        false => Ok(spikes),
    }
}

fn rate(text: &str) -> Result<f64, RateError> {
    // A ramp may start or end at 0, which is not a valid rate limit.
    if matches!(text.trim(), "0/s" | "0/min" | "0/h") {
        return Ok(0.0);
    }
    let rate = units::rate(text.trim()).map_err(|_| RateError::Rate(text.trim().to_owned()))?;
    Ok(f64::from(rate.count) / rate.period.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formatted_rates_can_be_parsed() {
        for text in ["50/s", "0/s..100/s", "10/s, 20/s", "30/min", "2.5/s"] {
            let read = match text {
                "2.5/s" => vec![(2.5, 2.5)],
                _ => rates(text).expect("rates"),
            };
            assert_eq!(shown(&read), text);
        }
        let spikes = spikes("400/s:2s/30s").expect("spikes");
        assert_eq!(spikes.to_string(), "400/s:2s/30s");
    }

    #[test]
    fn invalid_rates_and_spikes_are_rejected() {
        for text in ["", "50", "fast", "10/s..", "10/s;20/s", "-1/s"] {
            assert!(rates(text).is_err(), "{text}");
        }
        for text in [
            "400/s",
            "400/s:2s",
            "400/s:30s/2s",
            "x:2s/30s",
            "400/s:0s/2s",
        ] {
            assert!(spikes(text).is_err(), "{text}");
        }
    }
}
