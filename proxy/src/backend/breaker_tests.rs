use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::clock;

const SECOND: Duration = Duration::from_secs(1);

fn config() -> BreakerConfig {
    BreakerConfig {
        failure_ratio: 0.5,
        minimum_requests: 20,
        window: 10 * SECOND,
        open_for: 15 * SECOND,
    }
}

fn fail(breaker: &mut Breaker, times: u32, now: Instant) -> Option<CircuitChange> {
    (0..times).fold(None, |last, _| {
        let admission = breaker.admit(now);
        breaker
            .record(admission, EndpointOutcome::Failure, now)
            .or(last)
    })
}

fn succeed(breaker: &mut Breaker, times: u32, now: Instant) {
    for _ in 0..times {
        let admission = breaker.admit(now);
        assert_eq!(
            breaker.record(admission, EndpointOutcome::Success, now),
            None
        );
    }
}

#[test]
fn it_opens_at_the_ratio_and_not_below_the_minimum() {
    let now = clock::now();
    let mut breaker = Breaker::new(config(), now);
    assert_eq!(fail(&mut breaker, 19, now), None);
    assert_eq!(breaker.state(now), CircuitState::Closed);
    assert_eq!(fail(&mut breaker, 1, now), Some(CircuitChange::Opened));
    let until = now + 15 * SECOND;
    assert_eq!(breaker.state(now), CircuitState::Open { until });
    assert_eq!(breaker.admit(now), CircuitAdmission::Rejected);

    let mut breaker = Breaker::new(config(), now);
    succeed(&mut breaker, 21, now);
    assert_eq!(
        fail(&mut breaker, 20, now),
        None,
        "20 of 41 are less than half"
    );
    assert_eq!(fail(&mut breaker, 1, now), Some(CircuitChange::Opened));
}

#[test]
fn outcomes_leave_the_window() {
    let start = clock::now();
    let mut breaker = Breaker::new(config(), start);
    assert_eq!(fail(&mut breaker, 19, start), None);
    assert_eq!(fail(&mut breaker, 1, start + 10 * SECOND), None);
    // A long pause, and a clock that does not move.
    assert_eq!(fail(&mut breaker, 18, start + 10 * SECOND), None);
    assert_eq!(fail(&mut breaker, 19, start + 3600 * SECOND), None);
    assert_eq!(
        fail(&mut breaker, 1, start + 3600 * SECOND),
        Some(CircuitChange::Opened)
    );
}

#[test]
fn one_probe_decides() {
    let start = clock::now();
    let mut breaker = Breaker::new(config(), start);
    fail(&mut breaker, 20, start);
    let later = start + 15 * SECOND;
    assert_eq!(
        breaker.rejects_until(later - Duration::from_nanos(1)),
        Some(later)
    );
    assert_eq!(breaker.rejects_until(later), None);
    assert_eq!(breaker.admit(later), CircuitAdmission::Probe);
    assert_eq!(
        breaker.admit(later),
        CircuitAdmission::Rejected,
        "one at a time"
    );
    assert_eq!(breaker.state(later), CircuitState::HalfOpen);
    assert_eq!(
        breaker.record(CircuitAdmission::Probe, EndpointOutcome::Failure, later),
        None
    );
    let until = later + 15 * SECOND;
    assert_eq!(breaker.state(later), CircuitState::Open { until });

    assert_eq!(breaker.admit(until), CircuitAdmission::Probe);
    // The client of the probe left: the next request probes.
    assert_eq!(
        breaker.record(CircuitAdmission::Probe, EndpointOutcome::Abandoned, until),
        None
    );
    assert_eq!(breaker.admit(until), CircuitAdmission::Probe);
    assert_eq!(
        breaker.record(CircuitAdmission::Probe, EndpointOutcome::Success, until),
        Some(CircuitChange::Closed)
    );
    assert_eq!(breaker.state(until), CircuitState::Closed);
    assert_eq!(
        fail(&mut breaker, 19, until),
        None,
        "it starts with an empty window"
    );
}

#[test]
fn late_outcomes_of_requests_from_before_change_nothing() {
    let now = clock::now();
    let mut breaker = Breaker::new(config(), now);
    let early = breaker.admit(now);
    fail(&mut breaker, 20, now);
    let open = breaker.state(now);
    for outcome in [
        EndpointOutcome::Success,
        EndpointOutcome::Failure,
        EndpointOutcome::Abandoned,
    ] {
        assert_eq!(breaker.record(early, outcome, now), None);
        assert_eq!(breaker.state(now), open);
    }
    // One that was sent because there was no other endpoint, and succeeded, is as good as a probe.
    let in_spite = breaker.admit(now);
    assert_eq!(in_spite, CircuitAdmission::Rejected);
    assert_eq!(
        breaker.record(in_spite, EndpointOutcome::Success, now),
        Some(CircuitChange::Closed)
    );
}

/// Over many seeds: an endpoint that fails with a steady probability is open most of the time if that is far above
/// the ratio, and never opens if it is far below; there is never more than one probe, and never a state without an end.
#[test]
fn simulated_over_seeds() {
    for seed in 0..200 {
        let mut random = SmallRng::seed_from_u64(seed);
        let failing = [0.0, 0.05, 0.2, 0.8, 1.0][seed as usize % 5];
        let start = clock::now();
        let mut breaker = Breaker::new(config(), start);
        let mut now = start;
        let mut under_way: Vec<(Instant, CircuitAdmission)> = Vec::new();
        let (mut sent, mut rejected, mut opened) = (0, 0, 0);
        for _ in 0..5_000 {
            now += Duration::from_millis(random.random_range(1..40));
            let ended: Vec<_> = under_way
                .extract_if(.., |(until, _)| *until <= now)
                .collect();
            for (_, admission) in ended {
                let outcome = match random.random_bool(failing) {
                    _ if random.random_bool(0.02) => EndpointOutcome::Abandoned,
                    true => EndpointOutcome::Failure,
                    false => EndpointOutcome::Success,
                };
                let transition = breaker.record(admission, outcome, now);
                opened += u32::from(transition == Some(CircuitChange::Opened));
            }
            match breaker.admit(now) {
                CircuitAdmission::Rejected => rejected += 1,
                admission => {
                    sent += 1;
                    under_way.push((
                        now + Duration::from_millis(random.random_range(1..500)),
                        admission,
                    ));
                }
            }
            let probes = under_way
                .iter()
                .filter(|(_, admission)| *admission == CircuitAdmission::Probe);
            assert!(probes.count() <= 1, "seed {seed}");
            if let CircuitState::Open { until } = breaker.state(now) {
                assert!(
                    until > now && until <= now + config().open_for,
                    "seed {seed}"
                );
            }
        }
        let open_share = f64::from(rejected) / f64::from(rejected + sent);
        match failing {
            share if share <= 0.2 => assert_eq!((opened, rejected), (0, 0), "seed {seed}"),
            _ => assert!(opened >= 1 && open_share > 0.5, "seed {seed}: {open_share}"),
        }
    }
}
