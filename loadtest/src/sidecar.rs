//! weir's own figures for the time of the test, out of its metrics: what it saw, beside what was sent.

use std::collections::BTreeMap;
use std::time::Duration;

use goose_reqwest::Client;
use serde::{Deserialize, Serialize};

use crate::stats::Named;

const TIMEOUT: Duration = Duration::from_secs(5);
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(100);

/// One reading of `/metrics`: sums over all labels but those that are told apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    sums: BTreeMap<String, f64>,
    version: Option<String>,
}

/// What weir counted during the test.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Seen {
    pub requests: u64,
    /// As `error_rate` of weir's alerts counts them.
    pub failed: u64,
    pub rate_limited: u64,
    pub signature_refused: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// From a request's first byte to the end of its answer, in the mean.
    pub request_ms_mean: f64,
    /// Time that weir itself added, in the mean.
    pub overhead_ms_mean: f64,
}

/// One figure of both, and by how much they may differ.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Beside {
    pub figure: String,
    pub client: f64,
    pub weir: f64,
    pub allowed: f64,
    pub ok: bool,
}

/// Requests under way at either reading: two, or one in a hundred.
const COUNT_DIFFERENCE: (f64, f64) = (2.0, 0.01);
/// The network and the client's own work: two milliseconds, or two in a hundred.
const TIME_DIFFERENCE_MS: (f64, f64) = (2.0, 0.02);

impl Seen {
    /// The client's figures beside weir's own. `client` is everything that was sent to weir, the warm-up
    /// included, since weir cannot tell it apart.
    #[must_use]
    pub fn beside(&self, client: &Named) -> Vec<Beside> {
        let status = |wanted: &dyn Fn(u16) -> bool| -> f64 {
            let statuses = client
                .statuses
                .iter()
                .filter(|(status, _)| wanted(**status));
            statuses.map(|(_, count)| *count).sum::<u64>() as f64
        };
        let behind_a_200 = ["answer cut short", "upstream_error", "upstream_incomplete"]
            .iter()
            .filter_map(|kind| client.errors.get(*kind))
            .sum::<u64>() as f64;
        let counts = [
            ("requests", client.requests as f64, self.requests),
            (
                "failed",
                status(&|status| status >= 500) + behind_a_200,
                self.failed,
            ),
            (
                "limited (429)",
                status(&|status| status == 429),
                self.rate_limited,
            ),
            (
                "signature refused (401)",
                status(&|status| status == 401),
                self.signature_refused,
            ),
            ("cache hits", client.cache_hits as f64, self.cache_hits),
        ];
        let counts = counts
            .into_iter()
            .map(|(figure, client, weir)| beside(figure, client, weir as f64, COUNT_DIFFERENCE));
        let mean = client.service.mean_ms();
        let time = beside(
            "mean time, ms",
            mean,
            self.request_ms_mean,
            TIME_DIFFERENCE_MS,
        );
        counts.chain([time]).collect()
    }
}

fn beside(figure: &str, client: f64, weir: f64, (at_least, share): (f64, f64)) -> Beside {
    let allowed = at_least.max(client * share);
    Beside {
        figure: figure.to_owned(),
        client,
        weir,
        allowed,
        ok: (client - weir).abs() <= allowed,
    }
}

/// Asks the admin side, until it has counted what was sent: it counts a request when its answer is over.
///
/// # Errors
/// When it does not answer with metrics.
pub async fn read_after(
    admin: &str,
    token: Option<&str>,
    before: &Reading,
    sent: u64,
) -> anyhow::Result<Seen> {
    let mut tries = 0;
    loop {
        let after = read(admin, token).await?;
        anyhow::ensure!(
            !after.is_of_another_process(before),
            "weir was started again while the test ran"
        );
        let seen = after.since(before);
        tries += 1;
        if seen.requests >= sent || tries == TRIES {
            return Ok(seen);
        }
        tokio::time::sleep(PAUSE).await;
    }
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
    let reading = parse(&answer.text().await?);
    anyhow::ensure!(
        reading.sums.contains_key("weir_build_info"),
        "there are no metrics of weir's at /metrics"
    );
    Ok(reading)
}

fn parse(text: &str) -> Reading {
    let mut sums = BTreeMap::new();
    let mut version = None;
    for line in text.lines().filter(|line| line.starts_with("weir_")) {
        let Some((series, value)) = line.rsplit_once(' ') else {
            continue;
        };
        let Ok(value) = value.parse::<f64>() else {
            continue;
        };
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let value_of = |label: &str| {
            let (_, rest) = labels.split_once(&format!("{label}=\""))?;
            rest.split('"').next()
        };
        if name == "weir_build_info" {
            version = value_of("version").map(str::to_owned);
        }
        let label = ["error_code", "outcome"].into_iter().find_map(value_of);
        let key = match label {
            Some(label) => format!("{name}:{label}"),
            None => name.to_owned(),
        };
        *sums.entry(key).or_insert(0.0) += value;
    }
    Reading { sums, version }
}

impl Reading {
    /// weir's own.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.version.clone()
    }

    /// Whether a counter has gone back, which it does only when its process begins anew.
    fn is_of_another_process(&self, before: &Reading) -> bool {
        let requests = "weir_request_duration_seconds_count";
        let of = |reading: &Reading| reading.sums.get(requests).copied().unwrap_or(0.0);
        of(self) < of(before)
    }

    /// What came since an earlier one.
    #[must_use]
    pub fn since(&self, before: &Reading) -> Seen {
        let grown = |key: &str| {
            let of = |reading: &Reading| reading.sums.get(key).copied().unwrap_or(0.0);
            (of(self) - of(before)).max(0.0)
        };
        let signature: f64 = ["missing", "invalid", "expired", "replayed"]
            .iter()
            .map(|why| grown(&format!("weir_errors_total:signature_{why}")))
            .sum();
        let mean_ms = |name: &str| {
            let count = grown(&format!("{name}_count"));
            grown(&format!("{name}_sum")) / count.max(1.0) * 1000.0
        };
        Seen {
            requests: grown("weir_request_duration_seconds_count") as u64,
            failed: grown("weir_failed_requests_total") as u64,
            rate_limited: grown("weir_errors_total:rate_limited") as u64,
            signature_refused: signature as u64,
            cache_hits: grown("weir_cache_lookups_total:hit") as u64,
            cache_misses: grown("weir_cache_lookups_total:miss") as u64,
            request_ms_mean: mean_ms("weir_request_duration_seconds"),
            overhead_ms_mean: mean_ms("weir_overhead_seconds"),
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
            "weir_build_info{commit=\"c\",version=\"0.1.0\"} 1\n\
             weir_request_duration_seconds_count{route=\"a\"} 10\n\
             weir_request_duration_seconds_count{route=\"b\"} 5\n\
             weir_errors_total{route=\"a\",platform=\"api\",error_code=\"rate_limited\"} 3\n\
             weir_errors_total{route=\"a\",platform=\"api\",error_code=\"signature_invalid\"} 2\n\
             weir_cache_lookups_total{route=\"a\",tier=\"memory\",outcome=\"hit\"} 4\n\
             weir_overhead_seconds_sum{route=\"a\"} 0.002\nweir_overhead_seconds_count{route=\"a\"} 10\n",
        );
        assert_eq!(after.version().as_deref(), Some("0.1.0"));
        let seen = after.since(&before);
        assert_eq!(
            (seen.requests, seen.rate_limited, seen.signature_refused),
            (10, 3, 2)
        );
        assert_eq!(seen.cache_hits, 4);
        assert!((seen.overhead_ms_mean - 0.2).abs() < 1e-9);
        let mut client = Named {
            requests: 1000,
            cache_hits: 4,
            ..Named::default()
        };
        client.statuses = [(200, 995), (401, 2), (429, 3)].into();
        let beside = |requests| {
            let seen = Seen {
                requests,
                ..seen.clone()
            };
            let all = seen.beside(&client);
            let differ = all.into_iter().filter(|one| !one.ok);
            differ.map(|one| one.figure).collect::<Vec<_>>()
        };
        assert!(beside(990).is_empty(), "{:?}", beside(990));
        assert_eq!(beside(989), ["requests"]);
    }
}
