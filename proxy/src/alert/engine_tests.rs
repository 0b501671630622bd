use super::super::counters::Counters;
use super::super::counts::Counts;
use super::super::fixture::{NOW, STEP, rule, rule_set};
use super::super::rule_set::LabelValues;
use super::super::signal::{
    Signal, error_rate, events_dropped, first_token, rate_limited_share, response_time,
    signature_failure_share,
};
use super::super::state::RESOLVED_RETENTION;
use super::*;
use crate::exchange::Recorder as _;
use crate::record::fixture::filled;
use crate::refusal::ErrorCode;

fn begin(rules: Vec<Arc<Rule>>, saved: &[Saved]) -> Engine {
    Engine::new(rule_set(rules), Arc::default(), saved)
}

fn at(now: Duration) -> EvaluationTime {
    EvaluationTime {
        steady: now,
        wall: now,
    }
}

fn route(name: &str) -> MetricSubject {
    MetricSubject::Route {
        name: name.into(),
        platform: "api".into(),
    }
}

/// A number of requests, some of which failed.
fn requests(count: u64, failed: u64) -> Delta {
    Delta {
        durations: vec![(100, count)],
        first_tokens: Vec::new(),
        counts: Counts {
            failed,
            ..Counts::default()
        },
    }
}

/// Runs steps of (requests, failed) on one route; returns each transition as (step, key, from, to).
fn run(engine: &mut Engine, steps: &[(u64, u64)]) -> Vec<(usize, String, Tier, Tier)> {
    let mut changes = Vec::new();
    for (step, (count, failed)) in steps.iter().enumerate() {
        let now = NOW + STEP * u32::try_from(step).expect("few");
        let taken = vec![(route("chat"), requests(*count, *failed))];
        for transition in engine.evaluate(at(now), taken, &Snapshot::default()) {
            let state = &transition.state;
            changes.push((step, state.key.to_string(), transition.from, state.tier));
        }
    }
    changes
}

#[test]
fn a_rate_rises_holds_and_recovers() {
    let mut engine = begin(vec![rule("ErrorRate", None)], &[]);
    // 2 % for a while, 0.8 %, 0.4 %, then 5 %, 2 %, 0.4 %.
    let mut steps = Vec::new();
    for failed in [2, 20, 8, 4, 50, 20, 4] {
        steps.extend([(1000, failed); 8]);
    }
    let changes = run(&mut engine, &steps);
    let notified: Vec<_> = changes
        .iter()
        .map(|(_, _, from, to)| (*from, *to))
        .collect();
    assert_eq!(
        notified,
        [
            (Tier::None, Tier::Warning),
            (Tier::Warning, Tier::None),
            (Tier::None, Tier::Warning),
            (Tier::Warning, Tier::Critical),
            (Tier::Critical, Tier::None)
        ]
    );
    assert!(changes.iter().all(|(_, key, _, _)| key == "ErrorRate"));
}

#[test]
fn too_little_traffic_holds_the_tier() {
    let mut engine = begin(vec![rule("ErrorRate", None)], &[]);
    run(&mut engine, &[(100, 10); 6]);
    assert_eq!(engine.alerts()[0].tier, Tier::Critical);
    let later = NOW + STEP * 100;
    let changes = engine.evaluate(
        at(later),
        vec![(route("chat"), requests(19, 0))],
        &Snapshot::default(),
    );
    assert_eq!(changes, []);
    let state = &engine.alerts()[0];
    assert_eq!(
        (state.tier, state.sample),
        (Tier::Critical, SampleState::Held)
    );
    assert_eq!(state.value, Some(0.1), "the last one");
}

#[test]
fn each_route_has_its_own_tier_and_a_platform_is_all_of_its_routes() {
    let rules = vec![
        rule("PerRoute", Some(Per::Route)),
        rule("PerPlatform", Some(Per::Platform)),
        rule("All", None),
    ];
    let mut engine = begin(rules, &[]);
    for step in 0..6 {
        let taken = vec![
            (route("good"), requests(900, 0)),
            (route("bad"), requests(100, 20)),
        ];
        engine.evaluate(at(NOW + STEP * step), taken, &Snapshot::default());
    }
    let alerts = engine.alerts();
    let tiers: Vec<_> = alerts
        .iter()
        .map(|state| (state.key.to_string(), state.tier))
        .collect();
    assert_eq!(
        tiers,
        [
            ("PerRoute{route=\"bad\"}".to_owned(), Tier::Critical),
            ("PerRoute{route=\"good\"}".to_owned(), Tier::None),
            ("PerPlatform{platform=\"api\"}".to_owned(), Tier::Warning),
            ("All".to_owned(), Tier::Warning),
        ]
    );
}

#[test]
fn a_firing_alert_survives_a_restart_without_a_second_transition() {
    let rules = vec![rule("ErrorRate", Some(Per::Route))];
    let mut engine = begin(rules.clone(), &[]);
    run(&mut engine, &[(100, 2); 6]);
    let before = engine.alerts();
    let saved: Vec<Saved> = before.iter().filter_map(AlertState::to_save).collect();
    let mut engine = begin(rules, &saved);
    let after = engine.alerts();
    assert_eq!(
        (after[0].tier, after[0].since),
        (Tier::Warning, before[0].since)
    );
    let changes = run(&mut engine, &[(100, 2); 6]);
    assert_eq!(changes, []);
    let changes = run(&mut engine, &[(100, 0); 10]);
    assert_eq!(changes.len(), 1);
    assert_eq!(engine.alerts()[0].tier, Tier::None);
}

#[test]
fn an_alert_whose_rule_was_removed_is_resolved_once() {
    let mut engine = begin(vec![rule("ErrorRate", None)], &[]);
    run(&mut engine, &[(100, 10); 6]);
    let saved: Vec<Saved> = engine
        .alerts()
        .iter()
        .filter_map(AlertState::to_save)
        .collect();
    // A rule of this name with another `per` is a different one.
    let mut engine = begin(vec![rule("ErrorRate", Some(Per::Route))], &saved);
    let changes = run(&mut engine, &[(100, 0); 3]);
    assert_eq!(
        changes,
        [(0, "ErrorRate".to_owned(), Tier::Critical, Tier::None)]
    );
    let ended = engine.alerts().iter().any(|state| state.ended_at.is_some());
    assert!(ended, "it is kept for a while");
    engine.evaluate(
        at(NOW + RESOLVED_RETENTION * 2),
        Vec::new(),
        &Snapshot::default(),
    );
    assert!(engine.alerts().iter().all(|state| state.rule.is_some()));
}

#[test]
fn signals_of_requests_are_computed_from_their_outcomes() {
    let tally = Counters::default();
    let mut exchange = filled();
    exchange.model.time_to_first_chunk = Some(Duration::from_millis(200));
    let codes = [
        None,
        Some(ErrorCode::RateLimited),
        Some(ErrorCode::SignatureInvalid),
        Some(ErrorCode::UpstreamConnect),
    ];
    for (code, status) in codes.into_iter().zip([200, 429, 401, 502]) {
        for _ in 0..25 {
            (exchange.error_code, exchange.status) = (code, status);
            tally.record(&exchange, Duration::from_millis(100));
        }
    }
    let mut window = Window::new(STEP, STEP);
    window.slide(NOW, tally.take());
    let near = |signal: &Signal, truth: f64| {
        let of = |minimum| signal.measure(Some(&window), minimum, &Snapshot::default());
        let value = of(100).expect("a value").value;
        assert!((value - truth).abs() <= truth * 0.02, "{signal:?}: {value}");
        assert_eq!(of(101), None, "{signal:?}");
    };
    near(&error_rate::SIGNAL, 0.25);
    near(&rate_limited_share::SIGNAL, 0.25);
    near(&signature_failure_share::SIGNAL, 0.25);
    for signal in [
        &response_time::P50,
        &response_time::P95,
        &response_time::P99,
        &response_time::MEAN,
    ] {
        near(signal, 0.1);
    }
    near(&first_token::P99, 0.2);
    let dropped = events_dropped::SIGNAL.measure(Some(&window), 100, &Snapshot::default());
    assert_eq!(dropped, Some(0.0.into()));
}

#[test]
fn dropped_events_are_counted_within_the_window() {
    let mut dropped = Rule::clone(&rule("EventsDropped", None));
    dropped.signal = &events_dropped::SIGNAL;
    (
        dropped.thresholds.warning,
        dropped.thresholds.critical,
        dropped.thresholds.recovery,
    ) = (0.0, 100.0, 0.0);
    let mut engine = begin(vec![Arc::new(dropped)], &[]);
    let mut tiers = Vec::new();
    for step in 0..12_u64 {
        let snapshot = Snapshot {
            events_dropped: if step >= 3 { 5 } else { 0 },
            ..Snapshot::default()
        };
        let now = NOW + STEP * u32::try_from(step).expect("few");
        engine.evaluate(at(now), Vec::new(), &snapshot);
        tiers.push(engine.alerts()[0].tier as u8);
    }
    // Five were lost in step 3; three steps later it is a warning, and four later they are out of the
    // window.
    assert_eq!(tiers, [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn an_alert_of_a_removed_route_is_resolved_and_of_an_existing_one_is_kept() {
    let rules = vec![rule("ErrorRate", Some(Per::Route))];
    let labels = [("gone", "api"), ("chat", "api")];
    let before = RuleSet {
        labels: LabelValues::new(labels.into_iter(), std::iter::empty()),
        ..rule_set(rules.clone())
    };
    let mut engine = Engine::new(before, Arc::default(), &[]);
    for step in 0..6 {
        let taken = vec![
            (route("gone"), requests(100, 50)),
            (route("chat"), requests(100, 50)),
        ];
        engine.evaluate(at(NOW + STEP * step), taken, &Snapshot::default());
    }
    let alerts = engine.alerts();
    let saved: Vec<Saved> = alerts.iter().filter_map(AlertState::to_save).collect();
    assert_eq!(saved.len(), 2);
    let mut engine = begin(rules, &saved);
    let ended = engine.evaluate(at(NOW + STEP * 7), Vec::new(), &Snapshot::default());
    let keys: Vec<_> = ended.iter().map(|one| one.state.key.to_string()).collect();
    assert_eq!(keys, ["ErrorRate{route=\"gone\"}"]);
    let chat = &engine.alerts()[0];
    assert_eq!(
        (chat.key.to_string().as_str(), chat.tier),
        ("ErrorRate{route=\"chat\"}", Tier::Critical)
    );
}

#[test]
fn calls_of_an_unknown_model_leave_no_alert_behind() {
    let mut engine = begin(vec![rule("ErrorRate", Some(Per::Model))], &[]);
    let model = |name: &str| MetricSubject::Model(name.into());
    let mut step = |taken| {
        static STEPS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let step = STEPS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        engine.evaluate(at(NOW + STEP * step), taken, &Snapshot::default());
        engine.alerts()
    };
    for _ in 0..6 {
        step(vec![(model("other"), requests(100, 100))]);
    }
    let mut alerts = Vec::new();
    for _ in 0..6 {
        let taken = vec![
            (model("other"), requests(0, 0)),
            (model("m"), requests(100, 0)),
        ];
        alerts = step(taken);
    }
    assert!(
        alerts.iter().all(|state| state.tier == Tier::None),
        "{alerts:?}"
    );
}

#[test]
fn a_firing_alert_keeps_its_identity_and_the_next_one_has_the_new_one() {
    let who = |instance: &str| Arc::new(AlertIdentity::new(&BTreeMap::new(), instance));
    let of = |saved: &Saved, identity: &str| {
        let set = rule_set(vec![rule("ErrorRate", None)]);
        Engine::new(set, who(identity), std::slice::from_ref(saved))
    };
    let mut raised = super::super::fixture::alert("ErrorRate", Tier::Critical);
    raised.identity = who("old:1");
    let mut saved = raised.to_save().expect("in force");
    let mut engine = of(&saved, "new:1");
    assert_eq!(engine.alerts()[0].labels()[1], ("instance", "old:1"));
    // It is resolved, and fires again.
    let mut seen = Vec::new();
    for step in 1..12_u32 {
        let failed = if step < 6 { 0 } else { 50 };
        let taken = vec![(route("chat"), requests(100, failed))];
        seen.extend(engine.evaluate(at(NOW + STEP * step), taken, &Snapshot::default()));
    }
    let seen: Vec<_> = seen
        .iter()
        .map(|one| (one.state.tier, one.state.identity.to_string()))
        .collect();
    assert_eq!(seen[0], (Tier::None, "old:1".to_owned()));
    assert!(seen[1..].iter().all(|(_, identity)| identity == "new:1"));
    assert!(seen.len() > 1, "{seen:?}");
    // An older version did not save it.
    saved.identity = None;
    assert_eq!(of(&saved, "new:1").alerts()[0].identity, who("new:1"));
}

#[test]
fn transitions_have_the_wall_clock_and_tiers_the_monotonic_one() {
    let mut engine = begin(vec![rule("ErrorRate", None)], &[]);
    let mut seen = Vec::new();
    for step in 0..6_u32 {
        // Set back by an hour after two steps.
        let wall = if step < 2 { NOW + STEP * 240 } else { NOW };
        let now = EvaluationTime {
            steady: NOW + STEP * step,
            wall: wall + STEP * step,
        };
        seen.extend(engine.evaluate(
            now,
            vec![(route("chat"), requests(100, 50))],
            &Snapshot::default(),
        ));
    }
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].at, NOW + STEP * 2);
}
