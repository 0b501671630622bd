//! What got worse since an earlier run, past what is noise.

use serde::{Deserialize, Serialize};

use super::Report;

/// What two equal runs differ by: milliseconds.
const NOISE_MS: f64 = 2.0;
/// The same of a share of requests.
const NOISE_SHARE: f64 = 0.001;

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

/// Why two runs can hardly be compared, if they cannot.
#[must_use]
pub fn unlike(before: &Report, now: &Report) -> Option<String> {
    if before.scenario != now.scenario {
        return Some(format!(
            "the baseline is of another test: scenario {}",
            before.scenario
        ));
    }
    let (old, new) = (before.offered_rps, now.offered_rps);
    let is_close = (old - new).abs() <= new.max(old) * 0.05;
    (!is_close).then(|| format!("the baseline is of another test: {old:.1}/s"))
}
