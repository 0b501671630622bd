//! Swapping alert rules: which alerts are raised, kept and resolved.

use super::generations::{Backend, config_with, send};
use super::*;
use crate::alert::state::AlertState;
use crate::alert::tier::Tier;

const ROUTES: &str = "  - {name: works, path: /works, backend: a}
  - {name: fails, path: /fails, backend: closed}";

/// With these rules; every request is evaluated within moments.
fn config(backend: &Backend, routes: &str, rules: &[&str]) -> Config {
    let alerts = format!(
        "{{evaluate_every: 100ms, window: 10m, minimum_requests: 1, state: '', rules: [{}]}}",
        rules.join(", ")
    );
    config_with(backend, routes, "{}", &alerts)
}

/// A rule over `error_rate` that changes its tier at the first value.
fn rule(name: &str, thresholds: &str) -> String {
    format!("{{name: {name}, signal: error_rate, {thresholds}, for: 0s}}")
}

/// The state of an alert, once it is as expected.
fn wait_for(app: &App, key: &str, is_expected: impl Fn(&AlertState) -> bool) -> AlertState {
    let deadline = clock::now() + PATIENCE;
    loop {
        let alerts = app.alerts.store().alerts();
        let state = alerts.iter().find(|state| state.key.to_string() == key);
        if let Some(state) = state.filter(|state| is_expected(state)) {
            return state.clone();
        }
        assert!(clock::now() < deadline, "{key}: {alerts:?}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The transitions so far.
fn transitions(app: &App) -> Vec<(String, Tier)> {
    let recent = app.alerts.store().recent().into_iter();
    recent
        .map(|transition| (transition.state.key.to_string(), transition.state.tier))
        .collect()
}

#[test]
fn a_rule_added_at_a_swap_fires_and_its_alert_is_resolved_when_it_is_removed() {
    let backend = Backend::start();
    let app = App::start(&config(&backend, ROUTES, &[])).expect("weir starts");
    let address = app.addresses[0].0;
    assert_eq!(send(address, "/fails", &[], "").status, 502);

    // No rule needed the requests of a backend before: they are counted from now on.
    let added = rule(
        "Failing",
        "per: backend, warning: 10%, critical: 50%, recovery: 5%",
    );
    app.install(&config(&backend, ROUTES, &[&added]));
    assert_eq!(send(address, "/fails", &[], "").status, 502);
    let key = "Failing{backend=\"closed\"}";
    wait_for(&app, key, |state| state.tier == Tier::Critical);

    app.install(&config(&backend, ROUTES, &[]));
    let resolved = wait_for(&app, key, |state| state.rule.is_none());
    assert_eq!(resolved.tier, Tier::None);
    assert!(resolved.ended_at.is_some(), "it is sent as resolved");
    let seen = [
        (key.to_owned(), Tier::Critical),
        (key.to_owned(), Tier::None),
    ];
    assert_eq!(transitions(&app), seen);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(app.stop());
}

#[test]
fn an_alert_survives_the_swap_of_other_settings_and_follows_changed_thresholds() {
    let backend = Backend::start();
    let low = rule("Failing", "warning: 10%, critical: 90%, recovery: 5%");
    let app = App::start(&config(&backend, ROUTES, &[&low])).expect("weir starts");
    let address = app.addresses[0].0;
    // Half of the requests fail, from here to the end.
    assert_eq!(send(address, "/works", &[], "").status, 200);
    assert_eq!(send(address, "/fails", &[], "").status, 502);
    let half = |state: &AlertState| state.tier == Tier::Warning && state.value == Some(0.5);
    let raised = wait_for(&app, "Failing", half);
    let before = transitions(&app);

    // Another route, and another rule that shows that the swap is done.
    let routes = format!("{ROUTES}\n  - {{name: more, path: /more, backend: a}}");
    let second = rule("Second", "warning: 98%, critical: 99%, recovery: 97%");
    app.install(&config(&backend, &routes, &[&low, &second]));
    wait_for(&app, "Second", |state| state.value == Some(0.5));
    let kept = wait_for(&app, "Failing", half);
    assert_eq!(kept.since, raised.since);
    assert_eq!(kept.raised_at, raised.raised_at);
    assert_eq!(transitions(&app), before);

    let high = rule("Failing", "warning: 70%, critical: 90%, recovery: 60%");
    app.install(&config(&backend, &routes, &[&high]));
    let recovered = wait_for(&app, "Failing", |state| state.tier == Tier::None);
    assert_eq!(recovered.value, Some(0.5));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(app.stop());
}
