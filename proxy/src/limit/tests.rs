use std::sync::LazyLock;

use futures_util::FutureExt;
use governor::clock::FakeRelativeClock;

use super::*;

mod bounded;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn limit(name: &str, rate: u32, period: Duration, burst: u32, by: By) -> Config {
    Config {
        name: name.into(),
        rate,
        period,
        burst,
        by,
        clients: Vec::new(),
    }
}

fn limits(configs: &[Config]) -> (RateLimits<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (RateLimits::with_clock(configs, KEYS_MAX, &clock), clock)
}

struct Caller {
    address: IpAddr,
    client: Option<&'static str>,
    platform: &'static str,
    headers: HeaderMap,
}

impl Caller {
    fn named(client: &'static str) -> Self {
        Caller {
            client: Some(client),
            ..Caller::at("192.0.2.1")
        }
    }

    fn at(address: &str) -> Self {
        Caller {
            address: address.parse().expect("an address"),
            client: None,
            platform: "api",
            headers: HeaderMap::new(),
        }
    }

    fn with_header(name: &'static str, value: &'static str) -> Self {
        let mut caller = Caller::at("192.0.2.1");
        caller.headers.append(name, HeaderValue::from_static(value));
        caller
    }

    fn subject(&self) -> Subject<'_> {
        Subject {
            address: self.address,
            client: self.client,
            platform: self.platform,
            headers: &self.headers,
        }
    }
}

static DEADLINE: LazyLock<Instant> = LazyLock::new(crate::clock::now);

/// In this process nothing waits.
fn admit<C: Clock>(limits: &RateLimits<C>, caller: &Caller) -> Decision {
    let decision = limits.admit(&caller.subject(), *DEADLINE).now_or_never();
    decision.expect("nothing waits in this process")
}

fn admit_address<C: Clock>(limits: &RateLimits<C>, caller: &Caller) -> Decision {
    let decision = limits
        .admit_address(&caller.subject(), *DEADLINE)
        .now_or_never();
    decision.expect("nothing waits in this process")
}

#[track_caller]
fn admitted(decision: Decision) -> QuotaStatus {
    match decision {
        Decision::Admitted(Some(status)) => status,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn limited(decision: Decision) -> (QuotaStatus, Duration) {
    match decision {
        Decision::Limited {
            status,
            retry_after,
        } => (status, retry_after),
        Decision::Admitted(status) => panic!("admitted: {status:?}"),
    }
}

#[test]
fn a_burst_is_admitted_then_the_rate() {
    let (limits, clock) = limits(&[limit("per-client", 20, SECOND, 40, By::Client)]);
    let web = Caller::named("web");
    assert_eq!(
        limits.policy_header().expect("a policy"),
        "\"per-client\";q=40;w=2"
    );
    for left in (37..40).rev() {
        assert_eq!(admitted(admit(&limits, &web)).remaining, left);
    }
    let status = admitted(admit(&limits, &web));
    assert_eq!(status.header(), "\"per-client\";r=36;t=1");
    for _ in 0..36 {
        admitted(admit(&limits, &web));
    }
    let (status, retry_after) = limited(admit(&limits, &web));
    assert_eq!(status.header(), "\"per-client\";r=0;t=2");
    assert_eq!(retry_after, Duration::from_millis(50));
    assert_eq!(retry_after_s(retry_after), 1);
    clock.advance(Duration::from_millis(49));
    limited(admit(&limits, &web));
    clock.advance(Duration::from_millis(1));
    assert_eq!(admitted(admit(&limits, &web)).remaining, 0);
    limited(admit(&limits, &web));
    clock.advance(10 * SECOND);
    let status = admitted(admit(&limits, &web));
    assert_eq!((status.remaining, status.reset_s), (39, 1));
}

#[test]
fn a_route_without_limits_has_no_ratelimit_headers() {
    let (limits, _clock) = limits(&[]);
    let web = Caller::named("web");
    assert!(limits.policy_header().is_none());
    assert!(!limits.any_by_address());
    assert!(matches!(admit(&limits, &web), Decision::Admitted(None)));
    assert!(matches!(
        admit_address(&limits, &web),
        Decision::Admitted(None)
    ));
}

#[test]
fn one_per_hour_counts_down_exactly() {
    let (limits, clock) = limits(&[limit("rare", 1, HOUR, 2, By::Route)]);
    assert_eq!(
        limits.policy_header().expect("policy"),
        "\"rare\";q=2;w=7200"
    );
    let web = Caller::named("web");
    assert_eq!(admitted(admit(&limits, &web)).reset_s, 3600);
    clock.advance(HOUR / 2);
    let status = admitted(admit(&limits, &web));
    assert_eq!((status.remaining, status.reset_s), (0, 5400));
    let (status, retry_after) = limited(admit(&limits, &web));
    assert_eq!(status.reset_s, 5400);
    assert_eq!(retry_after_s(retry_after), 1800);
}

#[test]
fn extreme_rates_work() {
    let (limits, clock) = limits(&[limit("fast", 1_000_000, SECOND, 3, By::Route)]);
    assert_eq!(limits.policy_header().expect("policy"), "\"fast\";q=3;w=1");
    let web = Caller::named("web");
    for _ in 0..3 {
        admitted(admit(&limits, &web));
    }
    limited(admit(&limits, &web));
    clock.advance(Duration::from_micros(1));
    admitted(admit(&limits, &web));

    for (rate, period, burst) in [
        (0, Duration::ZERO, 0),
        (u32::MAX, Duration::from_nanos(1), u32::MAX),
        (1, Duration::MAX, u32::MAX),
        (1, HOUR, u32::MAX),
        (u32::MAX, SECOND, 1),
    ] {
        let (limits, clock) = self::limits(&[limit("odd", rate, period, burst, By::Route)]);
        clock.advance(1_000 * HOUR);
        assert_eq!(admitted(admit(&limits, &web)).policy.as_ref(), "odd");
    }
}

#[test]
fn a_third_of_a_second_is_still_one_second_for_the_whole_quota() {
    let (limits, _clock) = limits(&[limit("three", 3, SECOND, 3, By::Route)]);
    assert_eq!(limits.policy_header().expect("policy"), "\"three\";q=3;w=1");
}

#[test]
fn keys_differ_by_what_the_limit_counts_by() {
    let cases = [
        (By::Client, Caller::named("a"), Caller::named("b")),
        (By::Client, Caller::at("192.0.2.1"), Caller::at("192.0.2.2")),
        (
            By::Client,
            Caller::named("192.0.2.1"),
            Caller::at("192.0.2.1"),
        ),
        (
            By::Address,
            Caller::at("192.0.2.1"),
            Caller::at("192.0.2.2"),
        ),
        (
            By::Address,
            Caller::at("2001:db8::1"),
            Caller::at("2001:db8:0:1::1"),
        ),
        (
            By::Header(HeaderName::from_static("x-tenant")),
            Caller::with_header("x-tenant", "absent"),
            Caller::at("192.0.2.1"),
        ),
        (
            By::Header(HeaderName::from_static("x-tenant")),
            Caller::with_header("x-tenant", ""),
            Caller::at("192.0.2.1"),
        ),
    ];
    for (by, one, other) in cases {
        let (limits, _clock) = limits(&[limit("l", 1, HOUR, 1, by.clone())]);
        let ask = |caller: &Caller| match by {
            By::Address => admit_address(&limits, caller),
            _ => admit(&limits, caller),
        };
        admitted(ask(&one));
        limited(ask(&one));
        admitted(ask(&other));
        limited(ask(&other));
    }
}

#[test]
fn keys_ignore_what_a_client_can_change_for_free() {
    let tenant = HeaderName::from_static("x-tenant");
    let mut other_platform = Caller::named("b");
    other_platform.platform = "feishu";
    let mut two_values = Caller::with_header("x-tenant", "a");
    two_values
        .headers
        .append("x-tenant", HeaderValue::from_static("b"));
    let cases = [
        (
            By::Address,
            Caller::at("2001:db8::1"),
            Caller::at("2001:db8::ffff:1"),
        ),
        (
            By::Address,
            Caller::at("192.0.2.1"),
            Caller::at("::ffff:192.0.2.1"),
        ),
        (
            By::Client,
            Caller::at("192.0.2.1"),
            Caller::at("::ffff:192.0.2.1"),
        ),
        (By::Route, Caller::named("a"), other_platform),
        (By::Platform, Caller::named("a"), Caller::named("b")),
        (
            By::Header(tenant.clone()),
            Caller::named("a"),
            Caller::named("b"),
        ),
        (
            By::Header(tenant),
            Caller::with_header("x-tenant", "a"),
            two_values,
        ),
    ];
    for (by, one, other) in cases {
        let (limits, _clock) = limits(&[limit("l", 1, HOUR, 1, by.clone())]);
        let ask = |caller: &Caller| match by {
            By::Address => admit_address(&limits, caller),
            _ => admit(&limits, caller),
        };
        admitted(ask(&one));
        limited(ask(&other));
    }
}

#[test]
fn limits_by_address_are_checked_before_the_body_and_not_again() {
    let (limits, _clock) = limits(&[
        limit("flood", 1, HOUR, 1, By::Address),
        limit("per-client", 1, HOUR, 5, By::Client),
    ]);
    let web = Caller::named("web");
    assert!(limits.any_by_address());
    let early = admitted(admit_address(&limits, &web));
    let late = admitted(admit(&limits, &web));
    admitted(admit(&limits, &web));
    let (status, _) = limited(admit_address(&limits, &web));
    assert_eq!(status.policy.as_ref(), "flood");
    let nearest = QuotaStatus::nearer(Some(late), Some(early)).expect("a status");
    assert_eq!(nearest.policy.as_ref(), "flood");
    assert_eq!(
        limits.policy_header().expect("policy"),
        "\"flood\";q=1;w=3600, \"per-client\";q=5;w=18000"
    );
}

#[test]
fn the_limit_with_the_least_quota_is_reported_and_a_rejection_uses_no_quota_elsewhere() {
    let (limits, clock) = limits(&[
        limit("per-client", 1, HOUR, 10, By::Client),
        limit("everyone", 1, SECOND, 2, By::Route),
    ]);
    let (one, other) = (Caller::named("one"), Caller::named("other"));
    assert_eq!(admitted(admit(&limits, &one)).policy.as_ref(), "everyone");
    admitted(admit(&limits, &other));
    for _ in 0..100 {
        let (status, _) = limited(admit(&limits, &one));
        assert_eq!(status.policy.as_ref(), "everyone");
    }
    for _ in 0..9 {
        clock.advance(SECOND);
        admitted(admit(&limits, &one));
    }
    clock.advance(SECOND);
    let (status, _) = limited(admit(&limits, &one));
    assert_eq!(status.policy.as_ref(), "per-client");
    // The limit that rejected has not counted it either.
    admitted(admit(&limits, &other));
}

#[test]
fn concurrent_threads_get_exactly_the_burst() {
    let (limits, _clock) = limits(&[limit("burst", 1, HOUR, 500, By::Route)]);
    let admitted = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let web = Caller::named("web");
                for _ in 0..500 {
                    if matches!(admit(&limits, &web), Decision::Admitted(_)) {
                        admitted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.into_inner(), 500);
}

#[test]
fn the_real_clock_admits() {
    let config = [limit("per-client", 1, HOUR, 1, By::Client)];
    let limits = RateLimits::new(&config);
    let web = Caller::named("web");
    admitted(admit(&limits, &web));
    limited(admit(&limits, &web));
    assert_eq!(format!("{limits:?}"), "RateLimits([\"per-client\"])");
}

#[test]
fn a_limit_for_some_clients_does_not_apply_to_others() {
    let mut config = limit("guests", 1, SECOND, 1, By::Client);
    config.clients = vec!["guest".into()];
    let (limits, _clock) = limits(&[config, limit("all", 100, SECOND, 100, By::Route)]);
    let guest = Caller::named("guest");
    let demo = Caller::named("demo");
    assert!(matches!(admit(&limits, &guest), Decision::Admitted(_)));
    let Decision::Limited { status, .. } = admit(&limits, &guest) else {
        panic!("a second request of the guest");
    };
    assert_eq!(&*status.policy, "guests");
    for _ in 0..10 {
        let Decision::Admitted(Some(status)) = admit(&limits, &demo) else {
            panic!("demo is not a guest");
        };
        assert_eq!(&*status.policy, "all");
    }
}
