//! Picking endpoints while circuits are open or endpoints are unhealthy.

use http::uri::PathAndQuery;

use super::breaker::EndpointOutcome;
use super::health::{CheckResult, CheckVerdict, ExpectedStatus, HealthCheckConfig, HealthStatus};
use super::tls::{TlsClients, TlsSettings};
use super::*;
use crate::config;

const NOT_TRIED: &[usize] = &[];

const CHECK: HealthCheckConfig = HealthCheckConfig {
    path: PathAndQuery::from_static("/healthz"),
    interval: Duration::from_secs(5),
    timeout: Duration::from_secs(1),
    healthy_after: 1,
    unhealthy_after: 1,
    expected: ExpectedStatus::Below500,
};

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

fn pick(backend: &Backend, eligible: EligibleEndpoints, now: Instant) -> Result<usize, NoEndpoint> {
    let picked = backend.pick(NOT_TRIED, None, eligible, now);
    picked.map(|call| call.position())
}

fn check(backend: &Backend, position: usize, verdict: CheckVerdict, now: Instant) {
    let result = CheckResult {
        verdict,
        detail: "status 503".into(),
        at: Duration::ZERO,
    };
    backend.endpoints[position].record_check(result, &CHECK, now);
}

/// The endpoints that requests are sent to.
fn used(backend: &Backend, eligible: EligibleEndpoints, now: Instant) -> Vec<usize> {
    let picks = (0..200).filter_map(|_| pick(backend, eligible, now).ok());
    let mut positions: Vec<_> = picks.collect();
    positions.sort_unstable();
    positions.dedup();
    positions
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
            .map(|_| pick(&backend, EligibleEndpoints::Available, now).expect("an endpoint"))
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
    let none = pick(&backend, EligibleEndpoints::Available, second(2));
    assert_eq!(none, Err(NoEndpoint::NoneAvailable));
    assert!(pick(&backend, EligibleEndpoints::All, second(2)).is_ok());
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
        assert_eq!(pick(&pair, EligibleEndpoints::Available, now), Ok(1));
    }
    let single = backend(1);
    fail(&single, 0, now);
    let none = pick(&single, EligibleEndpoints::Available, now);
    assert_eq!(none, Err(NoEndpoint::NoneAvailable));
    assert_eq!(single.open_circuits(now), 1);
    // Half-open: without requests it is no longer counted as open.
    let later = now + single.config.breaker.open_for;
    assert_eq!(single.open_circuits(later), 0);
    let probe = single.pick(NOT_TRIED, None, EligibleEndpoints::Available, later);
    let mut probe = probe.expect("the probe");
    assert!(probe.is_probe());
    let second = pick(&single, EligibleEndpoints::Available, later);
    assert_eq!(second, Err(NoEndpoint::NoneAvailable), "one at a time");
    assert_eq!(single.open_circuits(later), 1);
    probe.report(EndpointOutcome::Success, || later);
    assert_eq!(pick(&single, EligibleEndpoints::Available, later), Ok(0));
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
    let none = pick(&backend(0), EligibleEndpoints::Available, clock::now());
    assert_eq!(none, Err(NoEndpoint::None));
}

#[test]
fn unhealthy_endpoints_leave_the_rotation_as_long_as_one_is_available() {
    let now = clock::now();
    let backend = backend(3);
    let available = |now| used(&backend, EligibleEndpoints::Available, now);
    check(&backend, 0, CheckVerdict::Failed, now);
    assert_eq!(available(now), [1, 2]);
    check(&backend, 1, CheckVerdict::Failed, now);
    assert_eq!(available(now), [2], "more than half of them");
    assert!(backend.has_untried(&[], now));
    assert!(!backend.has_untried(&[2], now));
    // Those with a closed circuit are better than none.
    fail(&backend, 2, now);
    assert_eq!(available(now), [0; 0]);
    assert_eq!(used(&backend, EligibleEndpoints::Unhealthy, now), [0, 1]);
    assert_eq!(used(&backend, EligibleEndpoints::All, now), [0, 1, 2]);
    assert!(backend.has_untried(&[0], now));
    // All are unhealthy: all are tried.
    let later = now + backend.config.breaker.open_for + balance::SLOW_START;
    let mut probe = backend.endpoints[2].begin(2, later);
    probe.report(EndpointOutcome::Success, || later);
    check(&backend, 2, CheckVerdict::Failed, later);
    assert_eq!(available(later), [0; 0]);
    let all = used(&backend, EligibleEndpoints::Unhealthy, later);
    assert_eq!(all, [0, 1, 2]);
    // Back again, gradually.
    check(&backend, 1, CheckVerdict::Passed, later);
    assert_eq!(available(later), [1]);
    check(&backend, 0, CheckVerdict::Passed, later);
    check(&backend, 2, CheckVerdict::Passed, later);
    assert_eq!(available(later + balance::SLOW_START), [0, 1, 2]);
    let is_unrestricted = |endpoint: &Arc<Endpoint>| endpoint.is_unrestricted();
    assert!(backend.endpoints.iter().all(is_unrestricted));
}

#[test]
fn a_single_endpoint_that_is_unhealthy_is_used_if_there_is_nothing_better() {
    let now = clock::now();
    let single = backend(1);
    check(&single, 0, CheckVerdict::Failed, now);
    let none = pick(&single, EligibleEndpoints::Available, now);
    assert_eq!(none, Err(NoEndpoint::NoneAvailable));
    assert_eq!(pick(&single, EligibleEndpoints::Unhealthy, now), Ok(0));
    fail(&single, 0, now);
    let none = pick(&single, EligibleEndpoints::Unhealthy, now);
    assert_eq!(none, Err(NoEndpoint::NoneAvailable));
    check(&single, 0, CheckVerdict::Passed, now);
    let none = pick(&single, EligibleEndpoints::Available, now);
    assert_eq!(none, Err(NoEndpoint::NoneAvailable), "its circuit is open");
}

#[test]
fn an_endpoint_that_is_healthy_again_takes_its_share_gradually() {
    let now = clock::now();
    let pair = backend(2);
    check(&pair, 0, CheckVerdict::Passed, now);
    let share = |now| {
        let picks = (0..2_000).map(|_| pick(&pair, EligibleEndpoints::Available, now));
        picks.filter(|picked| *picked == Ok(0)).count()
    };
    assert_eq!(share(now), 1_000, "its first check is no recovery");
    check(&pair, 0, CheckVerdict::Failed, now);
    assert_eq!(share(now), 0);
    check(&pair, 0, CheckVerdict::Passed, now);
    let early = share(now);
    assert!((10..500).contains(&early), "{early}");
    let snapshot = pair.snapshot(now, Duration::ZERO);
    let endpoint = &snapshot.endpoints[0];
    assert_eq!(
        (endpoint.reason.as_deref(), endpoint.until),
        (Some("slow start after recovery"), Some(balance::SLOW_START))
    );
    assert_eq!(share(now + balance::SLOW_START), 1_000);
}

#[test]
fn the_health_of_an_endpoint_outlives_another_change_of_its_backend() {
    let now = clock::now();
    let old = backend(2);
    check(&old, 0, CheckVerdict::Failed, now);
    let changed = |change: fn(&mut Config)| {
        let mut config = Config::clone(&old.config);
        change(&mut config);
        let tls = TlsClients::with_system_roots().get(None);
        let new = Backend::replacing(Some(&old), Arc::new(config), &tls);
        (
            new.endpoints[0].health(),
            used(&new, EligibleEndpoints::Available, now),
        )
    };
    let other_retries = changed(|config| config.retry.attempts = 7);
    assert_eq!(other_retries, (HealthStatus::Unhealthy, vec![1]));
    let other_breaker = changed(|config| config.breaker.failure_ratio = 0.1);
    assert_eq!(other_breaker, (HealthStatus::Unhealthy, vec![1]));
    let other_checks = changed(|config| config.health_check = Some(CHECK));
    assert_eq!(other_checks, (HealthStatus::Unknown, vec![0, 1]));
    let other_endpoint = changed(|config| config.endpoints[0].text = "http://10.0.0.9:8000".into());
    assert_eq!(other_endpoint, (HealthStatus::Unknown, vec![0, 1]));
}

#[test]
fn circuits_and_connections_of_an_endpoint_outlive_changes_that_do_not_concern_them() {
    let now = clock::now();
    let old = backend(2);
    fail(&old, 0, now);
    assert_eq!(old.open_circuits(now), 1);
    let changed = |change: fn(&mut Config)| {
        let mut config = Config::clone(&old.config);
        change(&mut config);
        let tls = TlsClients::with_system_roots().get(None);
        let new = Backend::replacing(Some(&old), Arc::new(config), &tls);
        let keeps = |at: usize| new.endpoints[at].pool_key() == old.endpoints[at].pool_key();
        (new.open_circuits(now), keeps(0) && keeps(1))
    };
    let another_endpoint = changed(|config| {
        let mut added = config.endpoints[0].clone();
        added.text = "http://10.0.0.9:8000".into();
        config.endpoints.push(added);
    });
    assert_eq!(another_endpoint, (1, true));
    assert_eq!(changed(|config| config.retry.attempts = 7), (1, true));
    assert_eq!(
        changed(|config| config.total_timeout = Duration::from_secs(7)),
        (1, true)
    );
    assert_eq!(
        changed(|config| config.breaker.failure_ratio = 0.1),
        (0, false)
    );
    assert_eq!(
        changed(|config| config.tls = Some(TlsSettings::default())),
        (0, false)
    );
    assert_eq!(
        changed(|config| config.pool_idle_connections = 7),
        (0, false)
    );
}

#[test]
fn a_snapshot_has_the_reason_of_an_endpoint_out_of_rotation() {
    let now = clock::now();
    let unix_now = Duration::from_secs(1_000);
    let mut backend = backend(3);
    let mut config = Config::clone(&backend.config);
    config.health_check = Some(CHECK);
    backend.config = Arc::new(config);
    fail(&backend, 1, now);
    check(&backend, 2, CheckVerdict::Failed, now);
    fail(&backend, 2, now);
    let snapshot = backend.snapshot(now, unix_now);
    let endpoints = snapshot.endpoints.iter();
    let reasons: Vec<_> = endpoints
        .map(|endpoint| (endpoint.health, endpoint.reason.as_deref(), endpoint.until))
        .collect();
    let open_until = unix_now + backend.config.breaker.open_for;
    let failed = "1 of 1 requests within 10s failed";
    let both = format!("health check failed: status 503; {failed}");
    assert_eq!(
        reasons,
        [
            (Some(HealthStatus::Unknown), None, None),
            (Some(HealthStatus::Unknown), Some(failed), Some(open_until)),
            (Some(HealthStatus::Unhealthy), Some(&*both), None),
        ]
    );
}

#[test]
fn an_endpoint_is_tried_again_last_of_those_that_have_failed() {
    let now = clock::now();
    let backend = backend(3);
    fail(&backend, 2, now);
    let picked = |tried: &[usize]| {
        let picked = backend.pick(tried, None, EligibleEndpoints::Available, now);
        picked.map(|call| call.position())
    };
    for _ in 0..4 {
        assert_eq!(picked(&[0, 1]), Ok(0));
        assert_eq!(picked(&[1, 0]), Ok(1));
    }
}
