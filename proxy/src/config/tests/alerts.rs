//! `alerts`: checks of rules, labels and notifiers.

use super::*;

/// A configuration with one rule with these settings.
fn rule(rest: &str) -> String {
    format!("{LEAST}alerts: {{rules: [{{name: R, {rest}}}]}}\n")
}

/// Each line: the settings of a rule => part of the expected message.
const WRONG: &str = "
signal: error_rate, warning: 1, critical: 3%, recovery: 1% => `error_rate` is measured as a share such as 1%
signal: spool_oldest, warning: 1%, critical: 1h, recovery: 1m => measured as a duration such as 500ms
signal: events_dropped, warning: 1s, critical: 5, recovery: 0 => measured as a whole number such as 0
signal: cache_hit_ratio, warning: 10%, critical: 30%, recovery: 40% => `warning` is below `critical`; the order is recovery >= warning >= critical
signal: cache_hit_ratio, warning: 30%, critical: 10%, recovery: 20% => `recovery` is below `warning`
signal: disk_usage, per: route, warning: 1%, critical: 3%, recovery: 1% => no value for each route: leave `per` out
signal: rate_limited_share, per: model, warning: 1%, critical: 3%, recovery: 1% => no value for each model: leave `per` out, or use route or platform
signal: errors, warning: 1%, critical: 3%, recovery: 1% => one of `error_rate`
signal: error_rate, per: client, warning: 1%, critical: 3%, recovery: 1% => one of `route`, `platform`, `model`, `backend`
signal: error_rate, warning: 1%, critical: 3% => the key `recovery` is missing
signal: error_rate, warning: 1%, critical: 3%, recovery: 1%, for: 10d => longer than 1000 times `evaluate_every`
signal: error_rate, warning: 1%, critical: 3%, recovery: 1%, runbook: 'http://a/{x}' => no braces
signal: error_rate, warning: 1.5, critical: 3%, recovery: 1% => a share such as 1%, a duration such as 500ms or a whole number
";

#[test]
fn contradictory_settings_of_a_rule_are_reported() {
    for line in WRONG.lines().filter(|line| !line.is_empty()) {
        let (rest, expected) = line.split_once(" => ").expect("a case");
        let error = invalid(&rule(rest));
        assert_eq!(error.list.len(), 1, "{line}: {error}");
        assert_eq!(error.list[0].line, 3);
        assert!(error.list[0].message.contains(expected), "{line}: {error}");
    }
}

/// Each line: `alerts.labels` => part of the expected message.
const WRONG_LABELS: &str = "
{severity: x} => an alert has a label `severity` by itself
{route: x} => an alert has a label `route` by itself
{a-b: x} => expected a label name of letters, digits and _
{9a: x} => expected a label name of letters, digits and _
{__a: x} => names that begin with __ are Prometheus' own
{a: '{{ $value }}'} => Prometheus takes {{ for the beginning of a template
[a, b] => expected
";

#[test]
fn labels_that_alerts_cannot_have_are_reported() {
    for line in WRONG_LABELS.lines().filter(|line| !line.is_empty()) {
        let (labels, expected) = line.split_once(" => ").expect("a case");
        let error = invalid(&format!("{LEAST}alerts: {{labels: {labels}}}\n"));
        assert_eq!(error.list.len(), 1, "{line}: {error}");
        let message = &error.list[0].message;
        assert!(message.contains(expected), "{line}: {error}");
    }
}

#[test]
fn a_label_that_comes_out_empty_is_left_out() {
    let text = format!(
        "{LEAST}alerts: {{labels: {{team: 'a b', zone: '', instance: \"${{NOBODY:-}}\"}}}}\n"
    );
    let labels = valid(&text).config.alerts.labels;
    let labels: Vec<_> = labels.iter().collect();
    assert_eq!(labels, [(&"team".to_owned(), &"a b".to_owned())]);
    assert!(valid(LEAST).config.alerts.labels.is_empty());
}

#[test]
fn an_unknown_signal_lists_all_that_there_are() {
    let thresholds = "warning: 1%, critical: 3%, recovery: 1%";
    let error = invalid(&rule(&format!("signal: nonsense, {thresholds}"))).to_string();
    assert!(error.contains("one of `error_rate`"), "{error}");
    assert!(
        error.contains("`dependency_down`, found `nonsense`"),
        "{error}"
    );
    assert!(error.contains("`circuit_open`"), "{error}");
}

#[test]
fn every_signal_accepts_thresholds_in_its_unit() {
    let shares = "warning: 1%, critical: 3%, recovery: 1%";
    let times = "warning: 1s, critical: 3s, recovery: 1s";
    let counts = "warning: 0, critical: 3, recovery: 0";
    for (signals, thresholds) in [
        (
            "error_rate disk_usage cpu_usage memory_usage rate_limited_share signature_failure_share",
            shares,
        ),
        (
            "response_time_p50 response_time_p95 response_time_p99 response_time_mean first_token_p99",
            times,
        ),
        ("events_dropped dependency_down", counts),
        ("cache_hit_ratio", "warning: 3%, critical: 1%, recovery: 3%"),
    ] {
        for signal in signals.split(' ') {
            let loaded = valid(&rule(&format!("signal: {signal}, {thresholds}")));
            assert_eq!(loaded.config.alerts.rules[0].signal.name, signal);
            assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
        }
    }
    // Valid, but it never fires: a warning.
    let spool = "signal: spool_oldest, warning: 1m, critical: 1h, recovery: 1m";
    let warnings = valid(&rule(spool)).warnings;
    assert_eq!(warnings.len(), 1);
    assert!(
        warnings[0].contains("without `events.elasticsearch`"),
        "{warnings:?}"
    );
}

#[test]
fn the_defaults_are_three_rules_without_notifiers() {
    let alerts = valid(LEAST).config.alerts;
    let rules: Vec<_> = alerts
        .rules
        .iter()
        .map(|rule| {
            let thresholds = &rule.thresholds;
            assert_eq!(thresholds.hold, std::time::Duration::from_secs(30));
            let values = (thresholds.warning, thresholds.critical, thresholds.recovery);
            (&*rule.name, rule.signal.name, values)
        })
        .collect();
    let expected = [
        ("ErrorRate", "error_rate", (0.01, 0.03, 0.005)),
        ("ResponseTime", "response_time_p99", (0.5, 1.0, 0.3)),
        ("DiskUsage", "disk_usage", (0.7, 0.85, 0.6)),
    ];
    assert_eq!(rules, expected);
    assert_eq!(alerts.minimum_requests, 20);
    assert!(alerts.notifiers.is_empty());
    assert_eq!(&*alerts.console_url, "http://127.0.0.1:8081");
}

#[test]
fn invalid_settings_of_notifiers_are_reported() {
    for (extra, expected) in [
        ("evaluate_every: 50ms", "at least 100ms"),
        (
            "evaluate_every: 1m, window: 30s",
            "`window` is shorter than `evaluate_every`",
        ),
        ("alertmanager: {urls: []}", "at least one"),
        (
            "alertmanager: {urls: ['http://a'], password: p}",
            "`username` is missing",
        ),
        (
            "alertmanager: {urls: ['http://a'], token: \"a\\nb\"}",
            "one line of printable ASCII",
        ),
        (
            "alertmanager: {urls: ['http://a'], username: u, token: t}",
            "use one of them",
        ),
        ("alertmanager: {urls: ['http://a/?x=1']}", "no query"),
        ("alertmanager: {urls: ['http://a/api/v2/alerts']}", "itself"),
        (
            "alertmanager: {urls: ['http://a', 'http://a/']}",
            "duplicate address",
        ),
        ("webhook: {token: t}", "`url`, which is missing"),
        ("webhook: {url: 'http://a', token: тест}", "printable ASCII"),
        ("console_url: 'http://a/{{x}}'", "no braces"),
        ("state: /dev/null", "no file"),
        ("state: /", "no file"),
        ("feishu: {secret: s}", "`webhook`, which is missing"),
        ("webhook: {url: 'ftp://a'}", "http:// or https://"),
        ("rules: [{name: 'a b'}]", "letters, digits and _"),
    ] {
        let error = invalid(&format!("{LEAST}alerts: {{{extra}}}\n"));
        assert!(error.to_string().contains(expected), "{extra}: {error}");
    }
    // With an unset variable there is no notifier.
    let extra = "feishu: {webhook: '${NONE:-}', secret: '${NONE:-}'}, webhook: {url: '${NONE:-}'}, state: ''";
    let alerts = valid(&format!("{LEAST}alerts: {{{extra}}}\n"))
        .config
        .alerts;
    assert!(alerts.notifiers.is_empty() && alerts.state.is_none());
}
