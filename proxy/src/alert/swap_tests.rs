//! Swaps of the rules: what carries over, and what is resolved.

use super::super::counts::Counts;
use super::super::fixture::{NOW, STEP, rule, rule_set};
use super::super::rule_set::LabelValues;
use super::super::signal::rate_limited_share;
use super::super::tier::Thresholds;
use super::*;

/// One evaluation after `step` intervals, of requests on the route `chat`; its transitions.
fn evaluate(engine: &mut Engine, step: u32, count: u64, failed: u64) -> Vec<(String, Tier)> {
    let now = NOW + STEP * step;
    let at = EvaluationTime {
        steady: now,
        wall: now,
    };
    let subject = MetricSubject::Route {
        name: "chat".into(),
        platform: "api".into(),
    };
    let delta = Delta {
        durations: vec![(100, count)],
        counts: Counts {
            failed,
            ..Counts::default()
        },
        ..Delta::default()
    };
    let transitions = engine.evaluate(at, vec![(subject, delta)], &Snapshot::default());
    shown(&transitions)
}

fn shown(transitions: &[Transition]) -> Vec<(String, Tier)> {
    let transitions = transitions.iter();
    transitions
        .map(|transition| (transition.state.key.to_string(), transition.state.tier))
        .collect()
}

fn engine(rules: &[Arc<Rule>]) -> Engine {
    let mut engine = Engine::new(rule_set(rules.to_vec()), Arc::default(), &[]);
    engine.begin(NOW);
    engine
}

/// A swap to these rules after `step` intervals; the alerts that it resolves.
fn install(engine: &mut Engine, step: u32, rules: &[Arc<Rule>]) -> Vec<(String, Tier)> {
    shown(&engine.install(rule_set(rules.to_vec()), NOW + STEP * step))
}

fn changed(rule: &Arc<Rule>, thresholds: impl Fn(&mut Thresholds)) -> Arc<Rule> {
    let mut rule = Rule::clone(rule);
    thresholds(&mut rule.thresholds);
    Arc::new(rule)
}

fn critical(name: &str) -> Vec<(String, Tier)> {
    vec![(name.to_owned(), Tier::Critical)]
}

fn resolved(name: &str) -> Vec<(String, Tier)> {
    vec![(name.to_owned(), Tier::None)]
}

#[test]
fn an_unchanged_rule_keeps_its_alert_its_values_and_its_counts() {
    let rules = [rule("ErrorRate", None), rule("PerRoute", Some(Per::Route))];
    let mut swapped = engine(&rules);
    let mut other = engine(&rules);
    // Critical after three values in a row: the swap comes after two of them, and again after it fired.
    for (step, failed) in [10, 10, 10, 10, 0, 0, 0, 0, 0, 0].into_iter().enumerate() {
        let step = u32::try_from(step).expect("few");
        if matches!(step, 2 | 4 | 6) {
            let (before, rules) = (
                swapped.alerts(),
                rules.each_ref().map(|it| changed(it, |_| {})),
            );
            assert_eq!(install(&mut swapped, step, &rules), []);
            assert_eq!(swapped.alerts(), before);
        }
        let transitions = evaluate(&mut swapped, step, 100, failed);
        assert_eq!(transitions, evaluate(&mut other, step, 100, failed));
        assert_eq!(swapped.alerts(), other.alerts(), "step {step}");
        let expected = match step {
            2 => [critical("ErrorRate"), critical("PerRoute{route=\"chat\"}")].concat(),
            9 => [resolved("ErrorRate"), resolved("PerRoute{route=\"chat\"}")].concat(),
            _ => Vec::new(),
        };
        assert_eq!(transitions, expected, "step {step}");
    }
}

#[test]
fn a_removed_rule_resolves_its_alert_at_once_and_returns_without_it() {
    let (kept, removed) = (rule("Kept", None), rule("ErrorRate", Some(Per::Route)));
    let mut engine = engine(&[kept.clone(), removed.clone()]);
    (0..4).for_each(|step| drop(evaluate(&mut engine, step, 100, 10)));
    let ended = install(&mut engine, 4, std::slice::from_ref(&kept));
    assert_eq!(ended, resolved("ErrorRate{route=\"chat\"}"));
    let alerts = engine.alerts();
    let orphan = alerts.last().expect("the resolved alert, for a while");
    assert!(orphan.rule.is_none() && orphan.ended_at == Some(NOW + STEP * 4));
    assert_eq!(alerts[0].tier, Tier::Critical);
    assert_eq!(evaluate(&mut engine, 4, 100, 10), []);

    // Its state is the resolved one, and it fires again after `for`.
    assert_eq!(install(&mut engine, 5, &[kept, removed]), []);
    assert_eq!(engine.alerts().len(), 2);
    assert_eq!(engine.alerts()[1].tier, Tier::None);
    for step in 5..7 {
        assert_eq!(evaluate(&mut engine, step, 100, 10), []);
    }
    let raised = evaluate(&mut engine, 7, 100, 10);
    assert_eq!(raised, critical("ErrorRate{route=\"chat\"}"));
}

#[test]
fn changed_thresholds_apply_to_the_values_so_far() {
    let before = rule("ErrorRate", None);
    let mut engine = engine(std::slice::from_ref(&before));
    (0..4).for_each(|step| drop(evaluate(&mut engine, step, 100, 2)));
    assert_eq!(engine.alerts()[0].tier, Tier::Warning);
    let since = engine.alerts()[0].since;
    let lower = changed(&before, |thresholds| thresholds.critical = 0.015);
    assert_eq!(install(&mut engine, 4, &[lower]), []);
    assert_eq!(engine.alerts()[0].since, since);
    assert_eq!(evaluate(&mut engine, 4, 100, 2), critical("ErrorRate"));
    let higher = changed(&before, |thresholds| {
        (thresholds.recovery, thresholds.warning, thresholds.critical) = (0.03, 0.1, 0.2);
    });
    assert_eq!(install(&mut engine, 5, &[higher]), []);
    assert_eq!(evaluate(&mut engine, 5, 100, 2), resolved("ErrorRate"));
}

#[test]
fn a_rule_with_another_signal_starts_with_its_own_values() {
    let before = rule("Rule", None);
    let mut engine = engine(std::slice::from_ref(&before));
    (0..4).for_each(|step| drop(evaluate(&mut engine, step, 100, 10)));
    let mut other = Rule::clone(&before);
    other.signal = &rate_limited_share::SIGNAL;
    assert_eq!(install(&mut engine, 4, &[Arc::new(other)]), []);
    let state = &engine.alerts()[0];
    assert_eq!((state.tier, state.value), (Tier::Critical, None));
    for step in 4..6 {
        assert_eq!(evaluate(&mut engine, step, 100, 10), []);
    }
    assert_eq!(evaluate(&mut engine, 6, 100, 10), resolved("Rule"));
}

#[test]
fn an_alert_of_a_removed_route_is_resolved_and_its_last_requests_are_not_evaluated() {
    let rules = vec![rule("ErrorRate", Some(Per::Route))];
    let mut engine = engine(&rules);
    (0..4).for_each(|step| drop(evaluate(&mut engine, step, 100, 10)));
    let without = RuleSet {
        labels: LabelValues::default(),
        ..rule_set(rules)
    };
    let ended = shown(&engine.install(without, NOW + STEP * 4));
    assert_eq!(ended, resolved("ErrorRate{route=\"chat\"}"));
    (4..8).for_each(|step| assert_eq!(evaluate(&mut engine, step, 100, 10), []));
    assert!(engine.alerts().iter().all(|state| state.rule.is_none()));
}

#[test]
fn a_window_of_another_length_keeps_its_counts() {
    let rules = vec![rule("ErrorRate", None)];
    let mut engine = engine(&rules);
    for (step, failed) in [8, 4, 2, 0].into_iter().enumerate() {
        evaluate(&mut engine, u32::try_from(step).expect("few"), 100, failed);
    }
    let with_window = |window| RuleSet {
        window,
        ..rule_set(rules.clone())
    };
    engine.install(with_window(STEP * 5), NOW + STEP * 4);
    evaluate(&mut engine, 4, 100, 0);
    assert_eq!(engine.alerts()[0].value, Some(14.0 / 500.0));
    engine.install(with_window(STEP * 3), NOW + STEP * 5);
    evaluate(&mut engine, 5, 100, 0);
    assert_eq!(engine.alerts()[0].value, Some(0.0));
}
