//! Picking endpoints while circuits are open.

use super::breaker::EndpointOutcome;
use super::tls::TlsClients;
use super::*;
use crate::config;

const NOT_TRIED: &[usize] = &[];

/// A backend with so many endpoints, whose circuits open after one failure.
fn backend(count: usize) -> Backend {
    let mut config = Config::clone(&config::defaults().expect("the defaults").config.backends[0]);
    let endpoint = config.endpoints[0].clone();
    config.endpoints = (0..count)
        .map(|number| EndpointConfig {
            text: format!("http://10.0.0.{number}:8000").into(),
            ..endpoint.clone()
        })
        .collect();
    config.breaker.minimum_requests = 1;
    Backend::new(Arc::new(config), &TlsClients::with_system_roots().get(None))
}

fn pick(backend: &Backend, circuits: OpenCircuits, now: Instant) -> Result<usize, NoEndpoint> {
    let picked = backend.pick(NOT_TRIED, None, circuits, now);
    picked.map(|call| call.position())
}

fn fail(backend: &Backend, position: usize, now: Instant) {
    let mut call = backend.endpoints[position].begin(position, now);
    call.report(EndpointOutcome::Failure, || now);
}

#[test]
fn at_most_half_of_the_endpoints_leave_the_rotation() {
    let now = clock::now();
    let second = |number| now + Duration::from_secs(number);
    let mut backend = backend(4);
    let picks = |now| {
        let mut positions: Vec<_> = (0..8)
            .map(|_| pick(&backend, OpenCircuits::Avoid, now).expect("an endpoint"))
            .collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    };
    assert_eq!(picks(now), [0, 1, 2, 3]);
    fail(&backend, 1, now);
    assert_eq!(picks(now), [0, 2, 3]);
    fail(&backend, 0, second(1));
    assert_eq!(picks(second(1)), [2, 3]);
    fail(&backend, 3, second(2));
    assert_eq!(backend.open_circuits(second(2)), 3);
    assert_eq!(picks(second(2)), [2, 3], "the last one that opened stays");
    assert!(backend.has_untried(&[2], second(2)));
    assert!(!backend.has_untried(&[2, 3], second(2)));
    fail(&backend, 2, second(2));
    let none = pick(&backend, OpenCircuits::Avoid, second(2));
    assert_eq!(none, Err(NoEndpoint::AllOpen));
    assert!(pick(&backend, OpenCircuits::Ignore, second(2)).is_ok());
    for (when_all_open, is_offered) in [(WhenAllOpen::Try, true), (WhenAllOpen::Fail, false)] {
        Arc::make_mut(&mut backend.config).when_all_open = when_all_open;
        assert_eq!(backend.has_untried(&[2], second(2)), is_offered);
    }
}

#[test]
fn one_of_two_endpoints_stays_and_one_alone_leaves() {
    let now = clock::now();
    let pair = backend(2);
    fail(&pair, 0, now);
    for _ in 0..4 {
        assert_eq!(pick(&pair, OpenCircuits::Avoid, now), Ok(1));
    }
    let single = backend(1);
    fail(&single, 0, now);
    let none = pick(&single, OpenCircuits::Avoid, now);
    assert_eq!(none, Err(NoEndpoint::AllOpen));
    assert_eq!(single.open_circuits(now), 1);
    // Half-open: without requests it is no longer counted as open.
    let later = now + single.config.breaker.open_for;
    assert_eq!(single.open_circuits(later), 0);
    let probe = single.pick(NOT_TRIED, None, OpenCircuits::Avoid, later);
    let mut probe = probe.expect("the probe");
    assert!(probe.is_probe());
    let second = pick(&single, OpenCircuits::Avoid, later);
    assert_eq!(second, Err(NoEndpoint::AllOpen), "one at a time");
    assert_eq!(single.open_circuits(later), 1);
    probe.report(EndpointOutcome::Success, || later);
    assert_eq!(pick(&single, OpenCircuits::Avoid, later), Ok(0));
    assert_eq!(single.open_circuits(later), 0);
}

#[test]
fn a_call_is_live_until_it_is_dropped_and_reports_once() {
    let now = clock::now();
    let backend = backend(1);
    let mut call = backend.endpoints[0].begin(0, now);
    assert_eq!(backend.endpoints[0].live(), 1);
    call.report(EndpointOutcome::Success, || now);
    call.report(EndpointOutcome::Failure, || now);
    assert_eq!(backend.open_circuits(now), 0);
    drop(call);
    assert_eq!(backend.endpoints[0].live(), 0);
    // An abandoned call proves nothing.
    drop(backend.endpoints[0].begin(0, now));
    assert_eq!(backend.open_circuits(now), 0);
}

#[test]
fn a_backend_without_endpoints_has_none_to_offer() {
    let none = pick(&backend(0), OpenCircuits::Avoid, clock::now());
    assert_eq!(none, Err(NoEndpoint::None));
}
