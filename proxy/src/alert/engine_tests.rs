use super::super::counts::Counts;
use super::super::fixture::{NOW, rule};
use super::super::signal::{
    Signal, error_rate, events_dropped, first_token, rate_limited_share, response_time,
    signature_failure_share,
};
use super::super::standing::ENDED_IS_TOLD_FOR;
use super::super::tally::Tally;
use super::*;
use crate::exchange::Recorder as _;
use crate::record::fixture::filled;
use crate::refusal::ErrorCode;

const STEP: Duration = Duration::from_secs(15);

fn settings() -> Settings {
    Settings {
        window: STEP * 4,
        interval: STEP,
        requests_min: 20,
        identity: Arc::default(),
    }
}

fn begin(rules: Vec<Arc<Rule>>, saved: Vec<Saved>) -> Engine {
    Engine::new(rules, settings(), saved, |_, value| value != "gone")
}

fn at(now: Duration) -> Now {
    Now {
        steady: now,
        wall: now,
    }
}

fn route(name: &str) -> Subject {
    Subject::Route {
        name: name.into(),
        platform: "api".into(),
    }
}

/// So many requests, so many of which failed.
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

/// Runs steps of (requests, failed) on one route; tells each change as (step, key, from, to).
fn run(engine: &mut Engine, steps: &[(u64, u64)]) -> Vec<(usize, String, Tier, Tier)> {
    let mut changes = Vec::new();
    for (step, (count, failed)) in steps.iter().enumerate() {
        let now = NOW + STEP * u32::try_from(step).expect("few");
        let taken = vec![(route("chat"), requests(*count, *failed))];
        for transition in engine.evaluate(at(now), taken, &Snapshot::default()) {
            let standing = &transition.standing;
            changes.push((
                step,
                standing.key.to_string(),
                transition.from,
                standing.tier,
            ));
        }
    }
    changes
}

#[test]
fn a_rate_goes_up_holds_and_clears() {
    let mut engine = begin(vec![rule("ErrorRate", None)], Vec::new());
    // 2 % for a while, 0.8 %, 0.4 %, then 5 %, 2 %, 0.4 %.
    let mut steps = Vec::new();
    for failed in [2, 20, 8, 4, 50, 20, 4] {
        steps.extend([(1000, failed); 8]);
    }
    let changes = run(&mut engine, &steps);
    let told: Vec<_> = changes
        .iter()
        .map(|(_, _, from, to)| (*from, *to))
        .collect();
    assert_eq!(
        told,
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
fn too_little_traffic_holds_the_tier_and_says_so() {
    let mut engine = begin(vec![rule("ErrorRate", None)], Vec::new());
    run(&mut engine, &[(100, 10); 6]);
    assert_eq!(engine.standings()[0].tier, Tier::Critical);
    let later = NOW + STEP * 100;
    let changes = engine.evaluate(
        at(later),
        vec![(route("chat"), requests(19, 0))],
        &Snapshot::default(),
    );
    assert_eq!(changes, []);
    let standing = &engine.standings()[0];
    assert_eq!(
        (standing.tier, standing.basis),
        (Tier::Critical, Basis::Held)
    );
    assert_eq!(standing.figure, Some(0.1), "the last one");
}

#[test]
fn each_route_has_its_own_tier_and_a_platform_is_all_of_its_routes() {
    let rules = vec![
        rule("PerRoute", Some(Per::Route)),
        rule("PerPlatform", Some(Per::Platform)),
        rule("All", None),
    ];
    let mut engine = begin(rules, Vec::new());
    for step in 0..6 {
        let taken = vec![
            (route("good"), requests(900, 0)),
            (route("bad"), requests(100, 20)),
        ];
        engine.evaluate(at(NOW + STEP * step), taken, &Snapshot::default());
    }
    let standings = engine.standings();
    let tiers: Vec<_> = standings
        .iter()
        .map(|standing| (standing.key.to_string(), standing.tier))
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
fn what_was_in_force_goes_on_after_a_restart_and_is_told_once() {
    let rules = vec![rule("ErrorRate", Some(Per::Route))];
    let mut engine = begin(rules.clone(), Vec::new());
    run(&mut engine, &[(100, 2); 6]);
    let before = engine.standings();
    let saved: Vec<Saved> = before.iter().filter_map(Standing::to_save).collect();
    let mut engine = begin(rules, saved);
    let after = engine.standings();
    assert_eq!(
        (after[0].tier, after[0].since),
        (Tier::Warning, before[0].since)
    );
    let changes = run(&mut engine, &[(100, 2); 6]);
    assert_eq!(changes, []);
    let changes = run(&mut engine, &[(100, 0); 10]);
    assert_eq!(changes.len(), 1);
    assert_eq!(engine.standings()[0].tier, Tier::None);
}

#[test]
fn an_alert_whose_rule_is_gone_ends_once() {
    let mut engine = begin(vec![rule("ErrorRate", None)], Vec::new());
    run(&mut engine, &[(100, 10); 6]);
    let saved: Vec<Saved> = engine
        .standings()
        .iter()
        .filter_map(Standing::to_save)
        .collect();
    // A rule of this name that tells routes apart is another.
    let mut engine = begin(vec![rule("ErrorRate", Some(Per::Route))], saved);
    let changes = run(&mut engine, &[(100, 0); 3]);
    assert_eq!(
        changes,
        [(0, "ErrorRate".to_owned(), Tier::Critical, Tier::None)]
    );
    let ended = engine
        .standings()
        .iter()
        .any(|standing| standing.ended_at.is_some());
    assert!(ended, "it is told for a while");
    engine.evaluate(
        at(NOW + ENDED_IS_TOLD_FOR * 2),
        Vec::new(),
        &Snapshot::default(),
    );
    assert!(
        engine
            .standings()
            .iter()
            .all(|standing| standing.rule.is_some())
    );
}

#[test]
fn every_signal_of_requests_comes_out_of_what_requests_were() {
    let tally = Tally::default();
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
        let figure = of(100).expect("a figure").value;
        assert!(
            (figure - truth).abs() <= truth * 0.02,
            "{signal:?}: {figure}"
        );
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
fn dropped_events_are_those_of_the_window() {
    let mut dropped = Rule::clone(&rule("EventsDropped", None));
    dropped.signal = &events_dropped::SIGNAL;
    (
        dropped.lines.warning,
        dropped.lines.critical,
        dropped.lines.recovery,
    ) = (0.0, 100.0, 0.0);
    let mut engine = begin(vec![Arc::new(dropped)], Vec::new());
    let mut tiers = Vec::new();
    for step in 0..12_u64 {
        let snapshot = Snapshot {
            events_dropped: if step >= 3 { 5 } else { 0 },
            ..Snapshot::default()
        };
        let now = NOW + STEP * u32::try_from(step).expect("few");
        engine.evaluate(at(now), Vec::new(), &snapshot);
        tiers.push(engine.standings()[0].tier as u8);
    }
    // Five were lost in step 3; three steps later it is a warning, and four later they are out of the
    // window.
    assert_eq!(tiers, [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0]);
}

#[test]
fn an_alert_of_a_route_that_is_gone_ends_and_of_one_that_is_there_goes_on() {
    let rules = vec![rule("ErrorRate", Some(Per::Route))];
    let mut engine = begin(rules.clone(), Vec::new());
    for step in 0..6 {
        let taken = vec![
            (route("gone"), requests(100, 50)),
            (route("chat"), requests(100, 50)),
        ];
        engine.evaluate(at(NOW + STEP * step), taken, &Snapshot::default());
    }
    let standings = engine.standings();
    let saved: Vec<Saved> = standings.iter().filter_map(Standing::to_save).collect();
    assert_eq!(saved.len(), 2);
    let mut engine = begin(rules, saved);
    let ended = engine.evaluate(at(NOW + STEP * 7), Vec::new(), &Snapshot::default());
    let keys: Vec<_> = ended
        .iter()
        .map(|one| one.standing.key.to_string())
        .collect();
    assert_eq!(keys, ["ErrorRate{route=\"gone\"}"]);
    let chat = &engine.standings()[0];
    assert_eq!(
        (chat.key.to_string().as_str(), chat.tier),
        ("ErrorRate{route=\"chat\"}", Tier::Critical)
    );
}

#[test]
fn calls_of_a_model_that_was_not_known_yet_leave_no_alert_behind() {
    let mut engine = begin(vec![rule("ErrorRate", Some(Per::Model))], Vec::new());
    let model = |name: &str| Subject::Model(name.into());
    let mut step = |taken| {
        static STEPS: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let step = STEPS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        engine.evaluate(at(NOW + STEP * step), taken, &Snapshot::default());
        engine.standings()
    };
    for _ in 0..6 {
        step(vec![(model("other"), requests(100, 100))]);
    }
    let mut standings = Vec::new();
    for _ in 0..6 {
        let taken = vec![
            (model("other"), requests(0, 0)),
            (model("m"), requests(100, 0)),
        ];
        standings = step(taken);
    }
    assert!(
        standings.iter().all(|standing| standing.tier == Tier::None),
        "{standings:?}"
    );
}

#[test]
fn an_alert_in_force_keeps_who_raised_it_and_the_next_one_is_of_who_is_there() {
    let who = |instance: &str| Arc::new(Identity::new(&BTreeMap::new(), instance));
    let of = |saved: &Saved, identity: &str| {
        let settings = Settings {
            identity: who(identity),
            ..settings()
        };
        Engine::new(
            vec![rule("ErrorRate", None)],
            settings,
            vec![saved.clone()],
            |_, _| true,
        )
    };
    let mut raised = super::super::fixture::standing("ErrorRate", Tier::Critical);
    raised.identity = who("old:1");
    let mut saved = raised.to_save().expect("in force");
    let mut engine = of(&saved, "new:1");
    assert_eq!(engine.standings()[0].labels()[1], ("instance", "old:1"));
    // It ends, and begins anew.
    let mut seen = Vec::new();
    for step in 1..12_u32 {
        let failed = if step < 6 { 0 } else { 50 };
        let taken = vec![(route("chat"), requests(100, failed))];
        seen.extend(engine.evaluate(at(NOW + STEP * step), taken, &Snapshot::default()));
    }
    let seen: Vec<_> = seen
        .iter()
        .map(|one| (one.standing.tier, one.standing.identity.to_string()))
        .collect();
    assert_eq!(seen[0], (Tier::None, "old:1".to_owned()));
    assert!(seen[1..].iter().all(|(_, identity)| identity == "new:1"));
    assert!(seen.len() > 1, "{seen:?}");
    // An older version did not say.
    saved.identity = None;
    assert_eq!(of(&saved, "new:1").standings()[0].identity, who("new:1"));
}

#[test]
fn people_read_the_wall_clock_and_tiers_do_not() {
    let mut engine = begin(vec![rule("ErrorRate", None)], Vec::new());
    let mut seen = Vec::new();
    for step in 0..6_u32 {
        // Set back by an hour after two steps.
        let wall = if step < 2 { NOW + STEP * 240 } else { NOW };
        let now = Now {
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
