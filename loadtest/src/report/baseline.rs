//! Compares a run with a baseline, which is the `--json` of an earlier run.

use super::run_report::{Regression, Report, Verdict};

/// How much the latencies of two equal runs differ, in milliseconds.
const NOISE_MS: f64 = 2.0;
/// How much the error rates of two equal runs differ.
const NOISE_SHARE: f64 = 0.001;

/// A run with a higher error rate is not a valid baseline.
const ERRORS_MAX: f64 = 0.5;

impl Report {
    /// Compares the run with a baseline: a regression by more than `tolerance` fails it.
    pub fn compare(&mut self, before: &Report, tolerance: f64) {
        self.regressions = regressions(before, self, tolerance);
        if !self.regressions.is_empty() {
            self.verdict = Verdict::Fail;
        }
        self.warnings.extend(differences(before, self));
    }
}

/// Values that are worse by more than `tolerance` (0.1 is a tenth) and by more than noise; for all requests, and for
/// each name that both runs have.
fn regressions(before: &Report, now: &Report, tolerance: f64) -> Vec<Regression> {
    let mut all = vec![
        (
            "p50 ms".to_owned(),
            before.latency_ms.p50,
            now.latency_ms.p50,
            NOISE_MS,
        ),
        (
            "p95 ms".to_owned(),
            before.latency_ms.p95,
            now.latency_ms.p95,
            NOISE_MS,
        ),
        (
            "p99 ms".to_owned(),
            before.latency_ms.p99,
            now.latency_ms.p99,
            NOISE_MS,
        ),
        (
            "first token p95 ms".to_owned(),
            before.first_token_ms.p95,
            now.first_token_ms.p95,
            NOISE_MS,
        ),
        (
            "error rate".to_owned(),
            before.error_rate,
            now.error_rate,
            NOISE_SHARE,
        ),
    ];
    for (name, now) in &now.by_name {
        let Some(before) = before.by_name.get(name) else {
            continue;
        };
        let p99 = (before.latency_ms.p99, now.latency_ms.p99);
        all.push((format!("{name}: p99 ms"), p99.0, p99.1, NOISE_MS));
        let rates = (before.error_rate, now.error_rate);
        all.push((format!("{name}: error rate"), rates.0, rates.1, NOISE_SHARE));
    }
    let grew = all.into_iter().filter(|(_, before, now, noise)| {
        *now > before * (1.0 + tolerance) && now - before > *noise
    });
    let mut regressions: Vec<Regression> = grew
        .map(|(name, before, now, _)| Regression { name, before, now })
        .collect();
    // Unsent requests are not part of the other values, so a lower throughput must show here.
    let share = |report: &Report| report.achieved_rps / report.offered_rps.max(1e-9);
    if share(now) < share(before) * (1.0 - tolerance) {
        regressions.push(Regression {
            name: "share of the offered rate".to_owned(),
            before: share(before),
            now: share(now),
        });
    }
    regressions
}

/// Why a report is not a valid baseline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaselineError {
    #[error("its scenario is {0}")]
    Scenario(String),
    #[error("the run was interrupted")]
    Interrupted,
    #[error("{errors} of its {requests} requests failed")]
    Failed { requests: u64, errors: u64 },
}

/// Checks whether a run is a valid baseline for a test of `scenario`.
///
/// # Errors
/// Why it is not.
pub fn check(before: &Report, scenario: &str) -> Result<(), BaselineError> {
    if before.scenario != scenario {
        return Err(BaselineError::Scenario(before.scenario.clone()));
    }
    if before.interrupted_after_s.is_some() {
        return Err(BaselineError::Interrupted);
    }
    // Against a run without successful requests, every run would pass.
    if before.requests == 0 || before.error_rate > ERRORS_MAX {
        return Err(BaselineError::Failed {
            requests: before.requests,
            errors: before.errors,
        });
    }
    Ok(())
}

/// Differences between the runs that make the comparison less meaningful.
fn differences(before: &Report, now: &Report) -> Vec<String> {
    let (old, new) = (before.offered_rps, now.offered_rps);
    let is_close = (old - new).abs() <= new.max(old) * 0.05;
    let rate = (!is_close).then(|| format!("the rate of the baseline was {old:.1}/s"));
    let names = before.by_name.keys();
    let missing = names.filter(|name| !now.by_name.contains_key(*name));
    let missing = missing
        .map(|name| format!("the baseline has requests named {name}, and this run has none"));
    let is_stream = |report: &Report| report.first_token_ms.count > 0;
    let stream = (is_stream(before) && !is_stream(now))
        .then(|| "the baseline has streams, and this run has none".to_owned());
    rate.into_iter().chain(missing).chain(stream).collect()
}
