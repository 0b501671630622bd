//! weir's own figures for the time of the test, out of its metrics: what it saw, beside what was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use goose_reqwest::Client;
use serde::Serialize;

const TIMEOUT: Duration = Duration::from_secs(5);

/// One reading of `/metrics`: sums over all labels but those that are told apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading(BTreeMap<String, f64>);

/// What weir counted during the test.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Seen {
    pub requests: u64,
    /// As `error_rate` of weir's alerts counts them.
    pub failed: u64,
    pub rate_limited: u64,
    pub signature_refused: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// Time that weir itself added, in the mean.
    pub overhead_ms_mean: f64,
}

/// Asks the admin side.
///
/// # Errors
/// When it does not answer with metrics.
pub async fn read(admin: &str, token: Option<&str>) -> anyhow::Result<Reading> {
    let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let mut request = client.get(format!("{admin}/metrics"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await?.error_for_status()?;
    Ok(parse(&answer.text().await?))
}

fn parse(text: &str) -> Reading {
    let mut sums = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("weir_")) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let Ok(value) = value.parse::<f64>() else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let label = ["error_code", "outcome"].iter().find_map(|label| {
            let (_, rest) = labels.split_once(&format!("{label}=\""))?;
            rest.split('"').next()
        });
        let key = match label {
            Some(label) => format!("{name}:{label}"),
            None => name.to_owned(),
        };
        *sums.entry(key).or_insert(0.0) += value;
    }
    Reading(sums)
}

impl Reading {
    /// What came since an earlier one.
    #[must_use]
    pub fn since(&self, before: &Reading) -> Seen {
        let grown = |key: &str| {
            let of = |reading: &Reading| reading.0.get(key).copied().unwrap_or(0.0);
            (of(self) - of(before)).max(0.0)
        };
        let signature: f64 = ["missing", "invalid", "expired", "replayed"]
            .iter()
            .map(|why| grown(&format!("weir_errors_total:signature_{why}")))
            .sum();
        let count = grown("weir_overhead_seconds_count");
        Seen {
            requests: grown("weir_request_duration_seconds_count") as u64,
            failed: grown("weir_failed_requests_total") as u64,
            rate_limited: grown("weir_errors_total:rate_limited") as u64,
            signature_refused: signature as u64,
            cache_hits: grown("weir_cache_lookups_total:hit") as u64,
            cache_misses: grown("weir_cache_lookups_total:miss") as u64,
            overhead_ms_mean: grown("weir_overhead_seconds_sum") / count.max(1.0) * 1000.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grew_between_two_readings_is_told() {
        let before = parse("weir_request_duration_seconds_count{route=\"a\"} 5\n# HELP x\n");
        let after = parse(
            "weir_request_duration_seconds_count{route=\"a\"} 10\n\
             weir_request_duration_seconds_count{route=\"b\"} 5\n\
             weir_errors_total{route=\"a\",platform=\"api\",error_code=\"rate_limited\"} 3\n\
             weir_errors_total{route=\"a\",platform=\"api\",error_code=\"signature_invalid\"} 2\n\
             weir_cache_lookups_total{route=\"a\",tier=\"memory\",outcome=\"hit\"} 4\n\
             weir_overhead_seconds_sum{route=\"a\"} 0.002\nweir_overhead_seconds_count{route=\"a\"} 10\n",
        );
        let seen = after.since(&before);
        assert_eq!(
            (seen.requests, seen.rate_limited, seen.signature_refused),
            (10, 3, 2)
        );
        assert_eq!(seen.cache_hits, 4);
        assert!((seen.overhead_ms_mean - 0.2).abs() < 1e-9);
    }
}
