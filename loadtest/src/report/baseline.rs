//! What got worse since an earlier run, past what is noise.

use serde::{Deserialize, Serialize};

use super::Report;

/// What two equal runs differ by: milliseconds.
const NOISE_MS: f64 = 2.0;
/// The same of a share of requests.
const NOISE_SHARE: f64 = 0.001;

/// With a larger share of errors a run is no baseline.
const ERRORS_MAX: f64 = 0.5;

/// A figure of two runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Worse {
    pub figure: String,
    pub before: f64,
    pub now: f64,
}

impl std::fmt::Display for Worse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Worse {
            figure,
            before,
            now,
        } = self;
        write!(formatter, "{figure} was {before:.3} and is {now:.3}")?;
        if *before > 0.0 {
            let percent = (now / before - 1.0).abs() * 100.0;
            write!(formatter, ", {percent:.0} % worse")?;
        }
        Ok(())
    }
}

/// Figures that got worse by more than `tolerance` (0.1 is a tenth), and by more than what two equal runs
/// differ by; of all requests, and of each name that both runs have.
#[must_use]
pub fn worse(before: &Report, now: &Report, tolerance: f64) -> Vec<Worse> {
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
    let mut worse: Vec<Worse> = grew
        .map(|(figure, before, now, _)| Worse {
            figure,
            before,
            now,
        })
        .collect();
    // What could not be sent is in no other figure, so a target that takes less must show here.
    let share = |report: &Report| report.achieved_rps / report.offered_rps.max(1e-9);
    if share(now) < share(before) * (1.0 - tolerance) {
        worse.push(Worse {
            figure: "share of the offered rate".to_owned(),
            before: share(before),
            now: share(now),
        });
    }
    worse
}

/// Whether a run can be a baseline for a test of `scenario`.
///
/// # Errors
/// Why it cannot.
pub fn check(before: &Report, scenario: &str) -> Result<(), String> {
    if before.scenario != scenario {
        return Err(format!("it is of the scenario {}", before.scenario));
    }
    if before.interrupted_after_s.is_some() {
        return Err("it was interrupted".to_owned());
    }
    // A test that measured nothing, or nothing but failures, would let everything pass.
    if before.requests == 0 || before.error_rate > ERRORS_MAX {
        return Err(format!(
            "of its {} requests {} failed",
            before.requests, before.errors
        ));
    }
    Ok(())
}

/// What makes a comparison less than it looks.
#[must_use]
pub fn unlike(before: &Report, now: &Report) -> Vec<String> {
    let (old, new) = (before.offered_rps, now.offered_rps);
    let is_close = (old - new).abs() <= new.max(old) * 0.05;
    let rate = (!is_close).then(|| format!("the baseline was taken at {old:.1}/s"));
    let names = before.by_name.keys();
    let missing = names.filter(|name| !now.by_name.contains_key(*name));
    let missing = missing.map(|name| format!("the baseline has {name}, and this run has not"));
    let is_stream = |report: &Report| report.first_token_ms.count > 0;
    let stream = (is_stream(before) && !is_stream(now))
        .then(|| "the baseline has streams, and this run has none".to_owned());
    rate.into_iter().chain(missing).chain(stream).collect()
}
