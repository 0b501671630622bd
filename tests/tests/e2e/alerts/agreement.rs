//! The engine and the Prometheus rules reach the same tiers: the same recorded series are evaluated by both, the rules
//! by promtool.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use weir::alert::rule::Rule;
use weir::alert::rules;
use weir::alert::tier::{Hysteresis, Tier};
use weir::config;
use weir_tests::{node, process};

/// Rules of every kind of hysteresis and direction, and one with labels by route.
const CONFIG: &str = "
backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes: [{name: r, path: '/*', backend: a}]
alerts:
  evaluate_every: 15s
  labels: {team: \"it's: 'x', \\\"y\\\" #\", instance: mine}
  rules:
    - {name: ErrorRate, signal: error_rate, warning: 1%, critical: 3%, recovery: 0.5%, for: 30s}
    - {name: AtOnce, signal: error_rate, warning: 1%, critical: 3%, recovery: 0.5%, for: 0s}
    - {name: Odd, signal: error_rate, per: route, warning: 1%, critical: 3%, recovery: 1%, for: 20s}
    - {name: Slow, signal: response_time_p99, per: platform, warning: 500ms, critical: 1s, recovery: 300ms, for: 2m}
    - {name: Hits, signal: cache_hit_ratio, warning: 50%, critical: 20%, recovery: 60%, for: 30s}
    - {name: Alike, signal: disk_usage, warning: 70%, critical: 70%, recovery: 70%, for: 45s}
    - {name: Dropped, signal: events_dropped, warning: 0, critical: 10, recovery: 0, for: 30s}
    - {name: Circuits, signal: circuit_open, warning: 0, critical: 1, recovery: 0, for: 30s}
";
const INTERVAL: Duration = Duration::from_secs(15);
/// More than two hours, so that series become stale and return.
const STEPS: usize = 600;

/// One value a step; `None` where there is too little traffic.
type Series = Vec<Option<f64>>;

/// Values that stay near the thresholds, hit them exactly, and are missing for short or long intervals.
fn series(rule: &Rule, random: &mut SmallRng) -> Series {
    let thresholds = &rule.thresholds;
    let exact = [thresholds.warning, thresholds.critical, thresholds.recovery];
    let noise = 1e-9;
    let between = [
        (thresholds.warning + thresholds.critical) / 2.0,
        (thresholds.warning + thresholds.recovery) / 2.0,
        thresholds.critical * 1.5,
        thresholds.recovery * 0.5,
        thresholds.warning + 1e-6,
        thresholds.critical - 1e-6,
        thresholds.recovery + 1e-6,
        thresholds.warning + noise,
        thresholds.recovery + noise,
        0.0,
    ];
    let choices: Vec<f64> = exact.into_iter().chain(between).collect();
    let mut series = Vec::new();
    while series.len() < STEPS {
        let value = choices[random.random_range(0..choices.len())];
        let long = rule.thresholds.samples() + 2;
        match random.random_range(0..40) {
            // Longer than the lookback, and about as long.
            0 => series.extend(vec![None; random.random_range(200..300)]),
            1 => series.extend(vec![None; random.random_range(238..244)]),
            2..6 => series.extend(vec![None; random.random_range(1..8)]),
            _ => series.extend(vec![Some(value); random.random_range(1..=long)]),
        }
    }
    series.truncate(STEPS);
    // A recorded value is rounded before anything looks at it.
    let rounded = |value: f64| (value * 1e6).round() / 1e6;
    let rounded = series.into_iter().map(|value| value.map(rounded));
    rounded.collect()
}

/// The tiers of the engine, step by step.
fn tiers(rule: &Rule, series: &Series) -> Vec<Tier> {
    let mut hysteresis = Hysteresis::default();
    let steps = series.iter().zip(0_u32..);
    steps
        .map(|(value, step)| {
            let now = Duration::from_secs(1_000_000) + INTERVAL * step;
            hysteresis.step(&rule.thresholds, now, *value).tier
        })
        .collect()
}

/// The values of a series in the syntax of promtool; missing values are marked as stale.
fn values(series: &Series) -> String {
    let mut text = String::new();
    let mut before = None;
    for sample in series {
        let value = match (sample, before) {
            (Some(value), _) => format!("{value:.6}"),
            (None, Some(Some(_))) => "stale".to_owned(),
            (None, _) => "_".to_owned(),
        };
        let _ = write!(text, "{value} ");
        before = Some(*sample);
    }
    text.trim_end().to_owned()
}

/// The labels that identify a series: the replica, and a label of the rule.
type SeriesLabels = (String, String);

/// A unit test for promtool: all series of a rule, and its tiers at every step.
fn unit_test(rule: &Rule, all: &[(SeriesLabels, Series)]) -> String {
    let name = &rule.name;
    let labels = |(instance, value): &SeriesLabels| {
        let replica = format!("instance=\"{instance}\", job=\"weir\"");
        match rule.per {
            Some(per) => format!("{replica}, {}=\"{value}\", rule=\"{name}\"", per.label()),
            None => format!("{replica}, rule=\"{name}\""),
        }
    };
    let mut text = String::from("- interval: 15s\n  input_series:\n");
    for (value, series) in all {
        let labels = labels(value);
        let _ = writeln!(
            text,
            "  - {{series: 'weir:signal{{{labels}}}', values: '{}'}}",
            values(series)
        );
    }
    text.push_str("  promql_expr_test:\n");
    let engine: Vec<_> = all.iter().map(|(_, series)| tiers(rule, series)).collect();
    for step in 0..STEPS {
        let at = step * 15;
        let _ = writeln!(
            text,
            "  - expr: weir:tier{{rule=\"{name}\"}} > 0\n    eval_time: {at}s\n    exp_samples:"
        );
        for ((value, _), tiers) in all.iter().zip(&engine) {
            let tier = tiers[step];
            if tier != Tier::None {
                let labels = labels(value);
                let _ = writeln!(
                    text,
                    "    - {{labels: 'weir:tier{{{labels}}}', value: {}}}",
                    tier as u8
                );
            }
        }
    }
    text
}

#[test]
fn the_engine_and_prometheus_reach_the_same_tier_at_every_step() {
    let test = "the_engine_and_prometheus_reach_the_same_tier_at_every_step";
    let Some(promtool) = process::tool("promtool") else {
        return node::skip(test, "promtool is missing, see build/setup.sh");
    };
    let loaded = config::parse(CONFIG, Path::new("weir.yaml"), &|_| None).expect("a configuration");
    let rendered = rules::render(&loaded.config.alerts).expect("rules");
    // The instance of an alert is that of Prometheus: all replicas would share an alert.
    let labels = r#"labels: {severity: critical, team: "it's: 'x', \"y\" #"}"#;
    assert!(rendered.contains(labels), "{rendered}");
    assert!(!rendered.contains("mine"));
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    std::fs::write(directory.path().join("rules.yaml"), rendered).expect("rules are written");
    let mut text = String::from("rule_files: [rules.yaml]\nevaluation_interval: 15s\ntests:\n");
    let mut received: BTreeMap<Tier, usize> = BTreeMap::new();
    for (rule, seed) in loaded.config.alerts.rules.iter().zip(1_u64..) {
        let mut random = SmallRng::seed_from_u64(seed);
        let values = if rule.per.is_some() { 3 } else { 1 };
        // Two replicas with independent tiers.
        let all: Vec<_> = ["a:8081", "b:8081"]
            .into_iter()
            .flat_map(|instance| (0..values).map(move |value| (instance, value)))
            .map(|(instance, value)| {
                let whose = (instance.to_owned(), format!("value-{value}"));
                (whose, series(rule, &mut random))
            })
            .collect();
        for (_, series) in &all {
            for tier in tiers(rule, series) {
                *received.entry(tier).or_default() += 1;
            }
        }
        text.push_str(&unit_test(rule, &all));
    }
    assert!(
        received.len() == 3 && received.values().all(|count| *count > 500),
        "{received:?}"
    );
    std::fs::write(directory.path().join("test.yaml"), text).expect("a test is written");
    let output = Command::new(promtool)
        .args(["test", "rules", "test.yaml"])
        .current_dir(directory.path())
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let said: String = said.chars().take(4000).collect();
    assert!(output.status.success(), "{said}");
}

#[test]
fn rules_that_prometheus_cannot_express_are_rejected_by_name() {
    let text = "
backends: [{name: a, endpoints: ['http://127.0.0.1:1']}]
routes: [{name: r, path: '/*', backend: a}]
alerts:
  rules:
    - {name: OffTheEdge, signal: response_time_p99, warning: 400ms, critical: 1s, recovery: 300ms}
    - {name: MeanIsFine, signal: response_time_mean, warning: 400ms, critical: 1s, recovery: 300ms}
    - {name: PerModel, signal: error_rate, per: model, warning: 1%, critical: 3%, recovery: 1%}
    - {name: Fine, signal: first_token_p99, per: model, warning: 500ms, critical: 1s, recovery: 300ms}
    - {name: PerBackend, signal: response_time_p50, per: backend, warning: 500ms, critical: 1s, recovery: 300ms}
";
    let loaded = config::parse(text, Path::new("weir.yaml"), &|_| None).expect("a configuration");
    let refused = rules::render(&loaded.config.alerts).expect_err("some are rejected");
    let refused: Vec<String> = refused.iter().map(ToString::to_string).collect();
    assert_eq!(
        refused,
        [
            "rule `OffTheEdge`: Prometheus cannot express it: `warning` of 400 ms is no edge of its histogram's buckets; the nearest is 500 ms",
            "rule `PerModel`: Prometheus cannot express it: `per: model`, but `weir_failed_requests_total` has only the labels route, platform",
            "rule `PerBackend`: Prometheus cannot express it: `per: backend`, but `weir_request_duration_seconds` has only the labels route, platform",
        ]
    );
}

#[test]
fn the_command_rejects_rules_that_prometheus_cannot_express() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let file = directory.path().join("weir.yaml");
    let rules = |rule: &str| {
        let text = format!(
            "backends: [{{name: a, endpoints: ['http://127.0.0.1:1']}}]\n\
             routes: [{{name: r, path: '/*', backend: a}}]\nalerts: {{rules: [{rule}]}}\n"
        );
        std::fs::write(&file, text).expect("weir.yaml is written");
        Command::new(process::weir())
            .args(["rules", "--config"])
            .arg(&file)
            .output()
            .expect("weir runs")
    };
    let refused = rules(
        "{name: Slow, signal: response_time_p99, warning: 400ms, critical: 1s, recovery: 300ms}",
    );
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stdout.is_empty());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(
        said.contains("rule `Slow`: Prometheus cannot express it"),
        "{said}"
    );
    let taken = rules(
        "{name: Slow, signal: response_time_p99, warning: 500ms, critical: 1s, recovery: 300ms}",
    );
    assert_eq!(taken.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&taken.stdout).contains("weir:tier"));
}
