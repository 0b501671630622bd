//! Compares the requests that were sent with what weir counted in its own metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use goose_reqwest::Client;
use serde::{Deserialize, Serialize};

use crate::stats::RequestStats;

const TIMEOUT: Duration = Duration::from_secs(5);
const ATTEMPTS_MAX: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// A snapshot of `/metrics`: each family summed over its labels, except `error_code` and `outcome`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MetricsSnapshot {
    sums: BTreeMap<String, f64>,
    version: Option<String>,
}

/// What weir counted during the test.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct SidecarMetrics {
    pub requests: u64,
    /// Failed requests, as in the `error_rate` of weir's alerts.
    pub failed: u64,
    pub rate_limited: u64,
    pub signature_refused: u64,
    pub cache_hits: u64,
    pub cache_misses: u64,
    /// The mean time from the first byte of a request to the end of its response.
    pub request_ms_mean: f64,
    /// The mean time that weir itself added.
    pub overhead_ms_mean: f64,
}

/// One value as counted by the client and by weir, and how far the two may differ.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Comparison {
    #[serde(rename = "figure")]
    pub name: String,
    pub client: f64,
    pub weir: f64,
    pub allowed: f64,
    pub ok: bool,
}

/// Allowed difference of counts, for requests in flight at either snapshot: an absolute minimum and a share.
const COUNT_DIFFERENCE: (f64, f64) = (2.0, 0.01);
/// Allowed difference of times, for the network and the client itself: an absolute minimum and a share.
const TIME_DIFFERENCE_MS: (f64, f64) = (2.0, 0.02);

impl SidecarMetrics {
    /// Compares the counts of the client with these. `client` includes the warm-up, which weir cannot distinguish.
    #[must_use]
    pub fn compare(&self, client: &RequestStats) -> Vec<Comparison> {
        let with_status = |matches: &dyn Fn(u16) -> bool| -> f64 {
            let statuses = client
                .statuses
                .iter()
                .filter(|(status, _)| matches(**status));
            statuses.map(|(_, count)| *count).sum::<u64>() as f64
        };
        let failed_after_200 = [
            "response cut short",
            "upstream_error",
            "upstream_incomplete",
        ]
        .iter()
        .filter_map(|kind| client.errors.get(*kind))
        .sum::<u64>() as f64;
        let counts = [
            ("requests", client.requests as f64, self.requests),
            (
                "failed",
                with_status(&|status| status >= 500) + failed_after_200,
                self.failed,
            ),
            (
                "limited (429)",
                with_status(&|status| status == 429),
                self.rate_limited,
            ),
            (
                "signature refused (401)",
                with_status(&|status| status == 401),
                self.signature_refused,
            ),
            ("cache hits", client.cache_hits as f64, self.cache_hits),
        ];
        let counts = counts
            .into_iter()
            .map(|(name, client, weir)| compare(name, client, weir as f64, COUNT_DIFFERENCE));
        let mean = client.service_time.mean_ms();
        let time = compare(
            "mean time, ms",
            mean,
            self.request_ms_mean,
            TIME_DIFFERENCE_MS,
        );
        counts.chain([time]).collect()
    }
}

fn compare(name: &str, client: f64, weir: f64, (at_least, share): (f64, f64)) -> Comparison {
    let allowed = at_least.max(client * share);
    Comparison {
        name: name.to_owned(),
        client,
        weir,
        allowed,
        ok: (client - weir).abs() <= allowed,
    }
}

/// Fetches the metrics until all requests sent are counted: weir counts a request when its response has ended.
///
/// # Errors
/// The admin address does not serve metrics, or weir was restarted.
pub async fn fetch_delta(
    admin: &str,
    token: Option<&str>,
    before: &MetricsSnapshot,
    sent: u64,
) -> anyhow::Result<SidecarMetrics> {
    let mut attempts = 0;
    loop {
        let after = fetch(admin, token).await?;
        anyhow::ensure!(
            !after.is_after_restart(before),
            "weir was restarted during the test"
        );
        let delta = after.delta(before);
        attempts += 1;
        if delta.requests >= sent || attempts == ATTEMPTS_MAX {
            return Ok(delta);
        }
        tokio::time::sleep(RETRY_DELAY).await;
    }
}

/// Fetches the metrics.
///
/// # Errors
/// The admin address does not serve metrics.
pub async fn fetch(admin: &str, token: Option<&str>) -> anyhow::Result<MetricsSnapshot> {
    let client = Client::builder().timeout(TIMEOUT).no_proxy().build()?;
    let mut request = client.get(format!("{admin}/metrics"));
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let response = request.send().await?.error_for_status()?;
    let snapshot = parse(&response.text().await?);
    anyhow::ensure!(
        snapshot.sums.contains_key("weir_build_info"),
        "/metrics does not contain weir's metrics"
    );
    Ok(snapshot)
}

fn parse(text: &str) -> MetricsSnapshot {
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
    MetricsSnapshot { sums, version }
}

impl MetricsSnapshot {
    /// The version of weir.
    #[must_use]
    pub fn version(&self) -> Option<String> {
        self.version.clone()
    }

    /// Whether a counter has decreased, which only happens when the process restarts.
    fn is_after_restart(&self, before: &MetricsSnapshot) -> bool {
        let requests = "weir_request_duration_seconds_count";
        let of = |snapshot: &MetricsSnapshot| snapshot.sums.get(requests).copied().unwrap_or(0.0);
        of(self) < of(before)
    }

    /// What was counted since an earlier snapshot.
    #[must_use]
    pub fn delta(&self, before: &MetricsSnapshot) -> SidecarMetrics {
        let increase = |key: &str| {
            let of = |snapshot: &MetricsSnapshot| snapshot.sums.get(key).copied().unwrap_or(0.0);
            (of(self) - of(before)).max(0.0)
        };
        let signature: f64 = ["missing", "invalid", "expired", "replayed"]
            .iter()
            .map(|reason| increase(&format!("weir_errors_total:signature_{reason}")))
            .sum();
        let mean_ms = |name: &str| {
            let count = increase(&format!("{name}_count"));
            increase(&format!("{name}_sum")) / count.max(1.0) * 1000.0
        };
        SidecarMetrics {
            requests: increase("weir_request_duration_seconds_count") as u64,
            failed: increase("weir_failed_requests_total") as u64,
            rate_limited: increase("weir_errors_total:rate_limited") as u64,
            signature_refused: signature as u64,
            cache_hits: increase("weir_cache_lookups_total:hit") as u64,
            cache_misses: increase("weir_cache_lookups_total:miss") as u64,
            request_ms_mean: mean_ms("weir_request_duration_seconds"),
            overhead_ms_mean: mean_ms("weir_overhead_seconds"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_compared_by_their_increase() {
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
        let delta = after.delta(&before);
        assert_eq!(
            (delta.requests, delta.rate_limited, delta.signature_refused),
            (10, 3, 2)
        );
        assert_eq!(delta.cache_hits, 4);
        assert!((delta.overhead_ms_mean - 0.2).abs() < 1e-9);
        let mut client = RequestStats {
            requests: 1000,
            cache_hits: 4,
            ..RequestStats::default()
        };
        client.statuses = [(200, 995), (401, 2), (429, 3)].into();
        let differing = |requests| {
            let delta = SidecarMetrics {
                requests,
                ..delta.clone()
            };
            let all = delta.compare(&client);
            let differ = all.into_iter().filter(|one| !one.ok);
            differ.map(|one| one.name).collect::<Vec<_>>()
        };
        assert!(differing(990).is_empty(), "{:?}", differing(990));
        assert_eq!(differing(989), ["requests"]);
    }
}
