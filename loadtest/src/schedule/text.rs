//! Rates and spikes as people write them.

use weir::units;

use super::Spikes;

/// Reads `50/s`, `10/s..100/s` (a ramp) and `50/s,100/s,200/s` (steps).
///
/// # Errors
/// What was wrong, and what to write instead.
pub fn rates(text: &str) -> Result<Vec<(f64, f64)>, String> {
    text.split(',')
        .map(|part| match part.trim().split_once("..") {
            Some((from, to)) => Ok((rate(from)?, rate(to)?)),
            None => rate(part).map(|rate| (rate, rate)),
        })
        .collect()
}

/// Rates as they can be read again: `50/s`, `10/s..100/s, 200/s`.
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

/// Reads `400/s:2s/30s`: a rate, for how long, how often.
///
/// # Errors
/// What was wrong, and what to write instead.
pub fn spikes(text: &str) -> Result<Spikes, String> {
    let wrong =
        || format!("expected spikes such as 400/s:2s/30s (rate, length, every), found {text:?}");
    let (rate_text, times) = text.split_once(':').ok_or_else(wrong)?;
    let (length, every) = times.split_once('/').ok_or_else(wrong)?;
    let time = |text: &str| units::duration(text.trim()).map_err(|_| wrong());
    let spikes = Spikes {
        rate: rate(rate_text)?,
        length: time(length)?,
        every: time(every)?,
    };
    if spikes.length >= spikes.every || spikes.length.is_zero() {
        return Err(format!(
            "a spike is shorter than the time between two: {text:?}"
        ));
    }
    Ok(spikes)
}

fn rate(text: &str) -> Result<f64, String> {
    // A ramp may begin or end with none, where a limit may not.
    if matches!(text.trim(), "0/s" | "0/min" | "0/h") {
        return Ok(0.0);
    }
    let rate = units::rate(text.trim()).map_err(|_| {
        format!(
            "expected a rate such as 50/s or 300/min, found {:?}",
            text.trim()
        )
    })?;
    Ok(f64::from(rate.count) / rate.period.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::schedule::Schedule;

    #[test]
    fn rates_are_shown_as_they_are_written() {
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
    fn what_is_no_rate_is_told() {
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
        assert!(Schedule::new(&[(0.0, 0.0)], Duration::from_secs(1), None).is_err());
    }
}
