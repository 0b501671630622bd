//! Assembles the report of a run from its statistics, and warns where they are not reliable.

use std::time::Duration;

use super::run_report::{Report, SenderSummary, SidecarSummary, Verdict, Versions, timestamp};
use super::summary::{self, LatencySummary, NameSummary};
use crate::pacer::Pacer;
use crate::sidecar::SidecarMetrics;
use crate::slo::{RunTotals, Slo, SloResult};
use crate::stats::{RequestStats, RunStats, StatsRecorder};

/// With a higher median send delay, the machine of the load generator was the bottleneck.
const SEND_DELAY_MS_MAX: f64 = 5.0;
/// The sender's single CPU is saturated above this share of the time.
const CPU_SHARE_MAX: f64 = 0.9;
/// With all users busy for a larger share of the requests, the test was not an open model.
const BUSY_SHARE_MAX: f64 = 0.01;

/// The parameters of a test.
pub struct TestInfo<'a> {
    pub scenario: &'a str,
    pub target: &'a str,
    pub rate: String,
    /// Since 1970.
    pub started_at: Duration,
    pub weir_version: Option<String>,
    pub seed: u64,
    pub slos: &'a [Slo],
    pub users: usize,
    /// The CPU time of the sending thread.
    pub cpu_time: Duration,
    /// The total run time, including the warm-up and the drain.
    pub wall_time: Duration,
    pub warnings: Vec<String>,
    pub sidecar: Option<SidecarMetrics>,
}

impl Report {
    /// Assembles the report.
    #[must_use]
    pub fn new(info: TestInfo<'_>, pacer: &Pacer, recorder: &StatsRecorder) -> Self {
        let stats = recorder.snapshot();
        let all = stats.all();
        let duration = duration(pacer);
        let duration_s = duration.as_secs_f64().max(0.001);
        let direct = stats.direct.requests;
        let unsent = pacer.due_count().saturating_sub(all.requests + direct);
        let totals = RunTotals {
            seconds: stats.end.max(duration).as_secs_f64().max(0.001),
            unsent,
        };
        let slos = evaluate(info.slos, &stats, &totals);
        let sender = sender(&info, pacer, &all);
        let sidecar = info
            .sidecar
            .map(|metrics| sidecar(metrics, &all, &stats.warm_up));
        let mut warnings = info.warnings;
        warnings.extend(sender_warnings(&sender, &all, unsent));
        warnings.extend(sidecar.iter().flat_map(differences));
        if pacer.is_interrupted() {
            warnings.insert(
                0,
                format!("the test was interrupted after {duration_s:.1} s"),
            );
        }
        let interrupted_after_s = pacer.is_interrupted().then_some(duration_s);
        let passed = slos.iter().all(|slo| slo.ok) && interrupted_after_s.is_none();
        Report {
            verdict: if passed { Verdict::Pass } else { Verdict::Fail },
            scenario: info.scenario.to_owned(),
            target: info.target.to_owned(),
            rate: info.rate,
            started_at: timestamp(info.started_at),
            versions: Versions::with(info.weir_version),
            seed: info.seed,
            duration_s,
            warm_up_s: pacer.schedule().warm_up().as_secs_f64(),
            due: pacer.due_count(),
            requests: all.requests,
            errors: all.error_count(),
            error_rate: all.error_rate(),
            rejected: all.rejected,
            rate_limited: all.rate_limited,
            offered_rps: offered(pacer.due_count() as f64 / duration_s, direct),
            achieved_rps: all.requests as f64 / totals.seconds,
            unsent,
            latency_ms: LatencySummary::from(&all.latency),
            service_ms: LatencySummary::from(&all.service_time),
            late_ms: LatencySummary::from(&all.send_delay),
            first_token_ms: LatencySummary::from(&all.first_token),
            token_time_ms: LatencySummary::from(&all.token_time),
            errors_by_kind: all.errors.clone(),
            slos,
            by_name: summary::by_name(&stats),
            direct: (direct > 0).then(|| NameSummary::from(&stats.direct)),
            by_status: all.statuses.clone(),
            unanswered: all.requests.saturating_sub(all.statuses.values().sum()),
            percentiles: all.latency.curve(),
            sender,
            sidecar,
            regressions: Vec::new(),
            interrupted_after_s,
            warnings,
            timeline: summary::timeline(&stats, recorder),
            heat_map: summary::heat_map(&stats, recorder),
        }
    }
}

/// The duration of the test; how long it ran, if it was interrupted.
fn duration(pacer: &Pacer) -> Duration {
    match pacer.is_interrupted() {
        true => pacer.elapsed().min(pacer.schedule().duration()),
        false => pacer.schedule().duration(),
    }
}

/// The metrics of weir, compared with everything that was sent to it.
fn sidecar(
    metrics: SidecarMetrics,
    measured: &RequestStats,
    warm_up: &RequestStats,
) -> SidecarSummary {
    let mut sent = measured.clone();
    sent.add(warm_up);
    let comparisons = metrics.compare(&sent);
    SidecarSummary {
        metrics,
        comparisons,
    }
}

/// The results of the given thresholds, and of those default thresholds that failed.
fn evaluate(given: &[Slo], stats: &RunStats, totals: &RunTotals) -> Vec<SloResult> {
    let given_results = given.iter().map(|slo| slo.evaluate(stats, totals));
    let implied = Slo::implied(given).into_iter().map(|slo| SloResult {
        note: Some("default threshold".to_owned()),
        ..slo.evaluate(stats, totals)
    });
    given_results
        .chain(implied.filter(|result| !result.ok))
        .collect()
}

fn sender(info: &TestInfo<'_>, pacer: &Pacer, all: &RequestStats) -> SenderSummary {
    let processor_share = info.cpu_time.as_secs_f64() / info.wall_time.as_secs_f64().max(0.001);
    let busy_share = pacer.busy_share();
    let is_delayed = all.send_delay.quantile_ms(0.5) > SEND_DELAY_MS_MAX;
    SenderSummary {
        users: info.users,
        busy_share,
        processor_share,
        is_bottleneck: processor_share > CPU_SHARE_MAX
            || (is_delayed && busy_share <= BUSY_SHARE_MAX),
    }
}

/// The arrival rate at the target: with `--direct`, every second request goes to the backend.
fn offered(rate: f64, direct: u64) -> f64 {
    match direct {
        0 => rate,
        _ => rate / 2.0,
    }
}

/// Warnings where the load generator distorts the results.
fn sender_warnings(sender: &SenderSummary, all: &RequestStats, unsent: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    let delay_ms = all.send_delay.quantile_ms(0.5);
    if sender.is_bottleneck {
        warnings.push(format!(
            "the load generator was the bottleneck: its CPU was {:.0} % busy, and half of the requests were sent at least {delay_ms:.1} ms late; the results measure weir-load, not the target",
            sender.processor_share * 100.0
        ));
    }
    if sender.busy_share > BUSY_SHARE_MAX {
        warnings.push(format!(
            "all {} users were waiting for responses when {:.1} % of the requests came due; the waiting time is part of their latency; increase --users to send them on time",
            sender.users,
            sender.busy_share * 100.0
        ));
    }
    if unsent > 0 {
        warnings.push(format!(
            "{unsent} requests were due but could not be sent in time; they are not part of any other result"
        ));
    }
    warnings
}

fn differences(sidecar: &SidecarSummary) -> impl Iterator<Item = String> {
    let differ = sidecar.comparisons.iter().filter(|one| !one.ok);
    differ.map(|one| {
        format!(
            "{}: weir-load counted {:.1} and weir {:.1}, which differ by more than {:.1}: weir also serves other clients, or there is another proxy in between",
            one.name, one.client, one.weir, one.allowed
        )
    })
}
