use super::*;
use crate::alert::counts::Counts;
use crate::alert::fixture::{NOW, STEP, rule, rule_set};
use crate::alert::rule::Rule;
use crate::alert::signal::{Signal, error_rate, rate_limited_share};
use crate::alert::tier::Tier;

fn at(now: Duration) -> EvaluationTime {
    EvaluationTime {
        steady: now,
        wall: now,
    }
}

fn failing() -> Vec<(MetricSubject, Delta)> {
    let route = MetricSubject::Route {
        name: "chat".into(),
        platform: "api".into(),
    };
    let delta = Delta {
        durations: vec![(100, 1000)],
        first_tokens: Vec::new(),
        counts: Counts {
            failed: 900,
            ..Counts::default()
        },
    };
    vec![(route, delta)]
}

/// The step at which the alert fires: with failing requests until the process changes, and none afterwards.
fn fires_at(upgraded_after: Option<u32>, signal: &'static Signal) -> Option<u32> {
    let rule = |signal| {
        let rule = (*rule("Failures", None)).clone();
        Arc::new(Rule { signal, ..rule })
    };
    let new = |signal| Engine::new(rule_set(vec![rule(signal)]), Arc::default(), &[]);
    let mut engine = new(&error_rate::SIGNAL);
    // The clock of the successor is an hour behind.
    let mut now = NOW;
    for step in 0..20 {
        now += STEP;
        let fired = engine
            .evaluate(at(now), failing(), &Snapshot::default())
            .iter()
            .any(|transition| transition.state.tier == Tier::Critical);
        if fired {
            return Some(step);
        }
        if upgraded_after == Some(step) {
            let state = engine.hand_over(at(now), Vec::new(), &Snapshot::default());
            let text = serde_json::to_string(&state).expect("JSON");
            now -= Duration::from_secs(3600);
            engine = new(signal);
            engine.resume(serde_json::from_str(&text).expect("a state"), at(now));
        }
    }
    None
}

#[test]
fn the_time_that_counts_for_an_alert_goes_on_in_the_next_process() {
    let usual = fires_at(None, &error_rate::SIGNAL).expect("it fires");
    assert!(usual > 1, "it takes a few evaluations");
    assert_eq!(fires_at(Some(usual - 1), &error_rate::SIGNAL), Some(usual));
    // Values of another signal are forgotten.
    assert_eq!(fires_at(Some(usual - 1), &rate_limited_share::SIGNAL), None);
}

#[test]
fn windows_keep_their_counts_and_drop_them_at_their_age() {
    let new = || {
        let rules = vec![rule("Failures", Some(Per::Route))];
        Engine::new(rule_set(rules), Arc::default(), &[])
    };
    let mut old = new();
    old.evaluate(at(NOW), failing(), &Snapshot::default());
    let later = NOW + STEP;
    let state = old.hand_over(at(later), failing(), &Snapshot::default());
    let mut engine = new();
    engine.resume(state, at(later));
    let failed = |engine: &Engine| {
        let part = engine.parts.values().map(|window| window.counts().failed);
        (engine.whole.counts().failed, part.sum::<u64>())
    };
    assert_eq!(failed(&engine), (1800, 1800));
    let end = NOW + engine.set.window;
    engine.evaluate(at(end), Vec::new(), &Snapshot::default());
    assert_eq!(failed(&engine), (900, 900));
}
