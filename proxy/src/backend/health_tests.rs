use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;

fn config(healthy_after: u32, unhealthy_after: u32) -> HealthCheckConfig {
    HealthCheckConfig {
        path: PathAndQuery::from_static("/healthz"),
        interval: Duration::from_secs(5),
        timeout: Duration::from_secs(1),
        healthy_after,
        unhealthy_after,
        expected: ExpectedStatus::Below500,
    }
}

fn result(verdict: CheckVerdict) -> CheckResult {
    CheckResult {
        verdict,
        detail: "status 200".into(),
        at: Duration::ZERO,
    }
}

/// The statuses after each of these checks: `+` passes, `-` fails.
fn statuses(config: &HealthCheckConfig, checks: &str) -> String {
    let mut health = Health::default();
    let status_after = |check| {
        let before = health.status();
        let change = health.record(
            result(match check {
                '+' => CheckVerdict::Passed,
                _ => CheckVerdict::Failed,
            }),
            config,
        );
        let after = health.status();
        let expected = (before != after).then_some(HealthChange {
            from: before,
            to: after,
        });
        assert_eq!(change, expected);
        match after {
            HealthStatus::Unknown => '?',
            HealthStatus::Healthy => 'H',
            HealthStatus::Unhealthy => 'U',
        }
    };
    checks.chars().map(status_after).collect()
}

#[test]
fn the_first_result_decides_and_thresholds_apply_after_it() {
    for (healthy_after, unhealthy_after, checks, expected) in [
        (2, 3, "+", "H"),
        (2, 3, "-", "U"),
        (2, 3, "+--+---", "HHHHHHU"),
        (2, 3, "-+-++", "UUUUH"),
        (2, 3, "+---+-++-", "HHHUUUUHH"),
        (1, 1, "+-+-+", "HUHUH"),
        (1, 2, "---+-+--", "UUUHHHHU"),
        (5, 1, "+-++++-+++++", "HUUUUUUUUUUH"),
    ] {
        let config = config(healthy_after, unhealthy_after);
        assert_eq!(statuses(&config, checks), expected, "{checks}");
    }
}

#[test]
fn an_endpoint_is_unknown_until_its_first_check() {
    let mut health = Health::default();
    assert_eq!(health.status(), HealthStatus::Unknown);
    assert!(!health.is_unhealthy() && health.last().is_none());
    health.record(result(CheckVerdict::Failed), &config(2, 3));
    assert!(health.is_unhealthy());
    assert_eq!(health.last(), Some(&result(CheckVerdict::Failed)));
}

/// Against a definition by the history: the status changes where the last results, as many as its threshold, all
/// contradict it.
#[test]
fn the_status_follows_from_the_history() {
    for seed in 0..200 {
        let mut random = SmallRng::seed_from_u64(seed);
        let (healthy_after, unhealthy_after) =
            (random.random_range(1..5), random.random_range(1..5));
        let config = config(healthy_after, unhealthy_after);
        let failing = random.random_range(0.1..0.9);
        let checks: String = (0..200)
            .map(|_| match random.random_bool(failing) {
                true => '-',
                false => '+',
            })
            .collect();
        let mut status = None;
        let mut since = 0;
        let mut expected = String::new();
        for (position, check) in checks.char_indices() {
            let (found, required) = match status {
                None => (if check == '+' { 'H' } else { 'U' }, 1),
                Some('H') => ('U', unhealthy_after),
                Some(_) => ('H', healthy_after),
            };
            let contradicting = if found == 'H' { '+' } else { '-' };
            let history = &checks[since..=position];
            let in_a_row = history
                .chars()
                .rev()
                .take_while(|one| *one == contradicting);
            if in_a_row.count() as u32 >= required {
                status = Some(found);
                since = position + 1;
            }
            expected.push(status.unwrap_or('?'));
        }
        assert_eq!(statuses(&config, &checks), expected, "seed {seed}");
    }
}

#[test]
fn a_status_is_expected_below_500_or_by_the_list() {
    let one_of = |statuses: &[u16]| ExpectedStatus::OneOf(statuses.into());
    for (expected, status, verdict) in [
        (ExpectedStatus::Below500, 101, CheckVerdict::Failed),
        (ExpectedStatus::Below500, 200, CheckVerdict::Passed),
        (ExpectedStatus::Below500, 302, CheckVerdict::Passed),
        (ExpectedStatus::Below500, 404, CheckVerdict::Passed),
        (ExpectedStatus::Below500, 499, CheckVerdict::Passed),
        (ExpectedStatus::Below500, 500, CheckVerdict::Failed),
        (ExpectedStatus::Below500, 503, CheckVerdict::Failed),
        (one_of(&[200]), 200, CheckVerdict::Passed),
        (one_of(&[200]), 204, CheckVerdict::Failed),
        (one_of(&[200, 204]), 204, CheckVerdict::Passed),
        (one_of(&[503]), 503, CheckVerdict::Passed),
    ] {
        let code = StatusCode::from_u16(status).expect("a status");
        assert_eq!(expected.verdict(code), verdict, "{expected:?} {status}");
    }
}
