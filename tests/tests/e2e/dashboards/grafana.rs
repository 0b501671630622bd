//! The form of the Grafana dashboards, and the names in their queries.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use weir::metrics::catalog::{self, Definition};

use super::{dashboards, panels, panels_without_data};

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// Labels that Prometheus adds, and the label of histogram buckets.
const LABELS_OF_ALL: [&str; 3] = ["job", "instance", "le"];

/// The only metric of Prometheus itself.
const UP: Definition = Definition {
    name: "up",
    help: "",
    labels: &[],
};

/// A vector selector: a name and its label matchers.
struct Selector<'e> {
    name: &'e str,
    matchers: Vec<(&'e str, &'e str)>,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// The selectors of a query: every `name{...}`.
fn selectors(expression: &str) -> Vec<Selector<'_>> {
    let mut found = Vec::new();
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once('{') {
        let start = before
            .bytes()
            .rposition(|byte| !is_word(byte))
            .map_or(0, |at| at + 1);
        // No label value in the dashboards contains a brace or a comma.
        let (inside, behind) = after.split_once('}').expect("a selector is closed");
        let matchers = inside.split(',').map(|matcher| {
            let at = matcher
                .bytes()
                .position(|byte| !is_word(byte))
                .expect("an operator");
            matcher.split_at(at)
        });
        found.push(Selector {
            name: &before[start..],
            matchers: matchers.collect(),
        });
        rest = behind;
    }
    found
}

/// The labels in each `by (...)`.
fn grouped_by(expression: &str) -> Vec<&str> {
    let groups = expression.split(" by (").skip(1);
    groups
        .filter_map(|group| group.split_once(')'))
        .flat_map(|(labels, _)| labels.split(','))
        .map(str::trim)
        .collect()
}

/// The metric of a name in a query.
fn definition(name: &str) -> Option<Definition> {
    let base = ["_bucket", "_sum", "_count"]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .unwrap_or(name);
    let all = catalog::ALL.into_iter().chain([UP]);
    all.into_iter()
        .find(|metric| metric.name == name || metric.name == base)
}

/// Errors of a query that should have data.
fn data_errors(expression: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut labels: BTreeSet<&str> = LABELS_OF_ALL.into();
    let selectors = selectors(expression);
    for selector in &selectors {
        let Some(metric) = definition(selector.name) else {
            findings.push(format!("there is no metric {}", selector.name));
            continue;
        };
        labels.extend(metric.labels);
        for (label, _) in &selector.matchers {
            if !metric.labels.contains(label) && !LABELS_OF_ALL.contains(label) {
                findings.push(format!("{} has no label {label}", selector.name));
            }
        }
    }
    for label in grouped_by(expression) {
        if !labels.contains(label) {
            findings.push(format!("groups by {label}, which no metric of it has"));
        }
    }
    findings
}

/// Errors of a query, by the rules of Grafana's dashboard-linter.
fn form_errors(expression: &str) -> Vec<String> {
    let mut findings = Vec::new();
    for selector in selectors(expression) {
        for (label, matcher) in [("job", "=~\"$job\""), ("instance", "=~\"$instance\"")] {
            if !selector.matchers.contains(&(label, matcher)) {
                findings.push(format!("{} is not narrowed by {label}", selector.name));
            }
        }
    }
    let ranges = expression.split('[').skip(1);
    for range in ranges.filter_map(|range| range.split_once(']')) {
        if !["$__rate_interval", "$__range"].contains(&range.0) {
            findings.push(format!(
                "the range [{}] does not follow the picture's",
                range.0
            ));
        }
    }
    let bare = ["weir_", "process_"].iter();
    let named = bare
        .map(|prefix| expression.matches(prefix).count())
        .sum::<usize>();
    let selected = selectors(expression)
        .iter()
        .filter(|one| one.name != "up")
        .count();
    if named != selected {
        findings.push("a metric is named without a selector".to_owned());
    }
    findings
}

#[test]
fn every_query_uses_metrics_and_labels_of_the_catalog() {
    let mut findings = Vec::new();
    let mut received = BTreeSet::new();
    for (file, dashboard) in dashboards() {
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().expect("a title");
            let place = format!("{file}: {title}");
            let description = panel["description"].as_str().expect("a description");
            for target in panel["targets"].as_array().expect("targets") {
                let expression = target["expr"].as_str().expect("a query");
                let mut found = form_errors(expression);
                if !panels_without_data().contains(&*place) {
                    found.extend(data_errors(expression));
                }
                for selector in selectors(expression) {
                    let name = definition(selector.name).map_or(selector.name, |one| one.name);
                    let base = name.strip_suffix("_bucket").unwrap_or(name);
                    if !description.contains(base) && !found_in_share(expression, base) {
                        found.push(format!("the description does not name {base}"));
                    }
                    received.insert(base.to_owned());
                }
                findings.extend(found.into_iter().map(|one| format!("{place}: {one}")));
            }
            received.insert(place);
        }
    }
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    for panel in panels_without_data() {
        assert!(
            received.contains(panel),
            "{panel} is listed as having no data, but is in no dashboard"
        );
    }
    let unseen: Vec<_> = catalog::ALL
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !received.contains(*name) && *name != "process_virtual_memory_bytes")
        .collect();
    assert!(unseen.is_empty(), "no dashboard shows {unseen:?}");
}

/// Whether a metric is only the denominator of a share.
fn found_in_share(expression: &str, name: &str) -> bool {
    expression
        .split_once(" / ")
        .is_some_and(|(share, of)| !share.contains(name) && of.contains(name))
}

#[test]
fn every_dashboard_can_be_provisioned_and_filtered() {
    let mut uids = BTreeSet::new();
    let dashboards = dashboards();
    assert_eq!(dashboards.len(), 2);
    for (file, dashboard) in dashboards {
        let uid = dashboard["uid"].as_str().expect("a uid").to_owned();
        assert!(uids.insert(uid), "{file}: its uid is another's");
        assert_eq!(dashboard["schemaVersion"], 39, "{file}");
        assert_eq!(dashboard["id"], Value::Null, "{file}");
        assert!(
            dashboard.get("__inputs").is_none(),
            "{file}: provisioning does not fill them"
        );
        assert_eq!(dashboard["tags"], json!(["weir"]), "{file}");
        let variables = dashboard["templating"]["list"]
            .as_array()
            .expect("variables");
        let names: Vec<_> = variables
            .iter()
            .map(|variable| variable["name"].as_str().expect("a name"))
            .collect();
        assert_eq!(names[..3], ["datasource", "job", "instance"], "{file}");
        for variable in &variables[1..] {
            assert_eq!(variable["allValue"], ".+", "{file}");
            let query = variable["query"]["query"].as_str().expect("a query");
            assert!(
                query.starts_with("label_values(weir_requests_total"),
                "{file}: {query}"
            );
        }
        let text = dashboard.to_string();
        for used in text.split("=~\\\"$").skip(1) {
            let end = used
                .bytes()
                .position(|byte| !is_word(byte))
                .unwrap_or(used.len());
            assert!(
                names.contains(&&used[..end]),
                "{file}: no variable {}",
                &used[..end]
            );
        }
    }
}

#[test]
fn every_panel_has_a_description_and_a_unit() {
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    for (file, dashboard) in dashboards() {
        let mut ids = BTreeSet::new();
        let mut titles = BTreeSet::new();
        for panel in panels(&dashboard) {
            let title = panel["title"].as_str().expect("a title");
            assert!(!title.is_empty(), "{file}");
            let kind = panel["type"].as_str().expect("a type");
            assert!(
                ["stat", "timeseries", "heatmap", "table"].contains(&kind),
                "{file}: {title}"
            );
            assert!(
                ids.insert(panel["id"].as_u64().expect("an id")),
                "{file}: {title}"
            );
            assert!(
                titles.insert((title, kind)),
                "{file}: duplicate title {title}"
            );
            assert_eq!(panel["datasource"], source, "{file}: {title}");
            assert!(
                panel["fieldConfig"]["defaults"]["unit"].is_string(),
                "{file}: {title}"
            );
            for target in panel["targets"].as_array().expect("targets") {
                assert_eq!(target["datasource"], source, "{file}: {title}");
                assert!(target["legendFormat"].is_string(), "{file}: {title}");
            }
        }
    }
}

#[test]
fn thresholds_of_the_panels_match_the_alerts() {
    for (file, title, lines) in [
        ("assistant.json", "Response time", vec![0.3, 0.5, 0.8, 1.0]),
        ("weir.json", "Disk usage", vec![0.6, 0.7, 0.85]),
        ("weir.json", "CPU usage", vec![0.6, 0.7, 0.85]),
        ("weir.json", "Memory usage", vec![0.6, 0.7, 0.85]),
    ] {
        let (_, dashboard) = dashboards()
            .into_iter()
            .find(|(name, _)| name == file)
            .expect("the dashboard");
        let panels = panels(&dashboard);
        let panel = panels
            .iter()
            .find(|panel| panel["title"] == title)
            .expect(title);
        let defaults = &panel["fieldConfig"]["defaults"];
        assert_eq!(
            defaults["custom"]["thresholdsStyle"]["mode"], "dashed",
            "{title}"
        );
        let steps = defaults["thresholds"]["steps"].as_array().expect("steps");
        let values: Vec<_> = steps
            .iter()
            .filter_map(|step| step["value"].as_f64())
            .collect();
        assert_eq!(values, lines, "{file}: {title}");
    }
}

#[test]
fn panels_do_not_overlap() {
    for (file, dashboard) in dashboards() {
        let mut taken = BTreeSet::new();
        for panel in dashboard["panels"].as_array().expect("panels") {
            let side = |name: &str| panel["gridPos"][name].as_u64().expect("a place");
            let (left, top) = (side("x"), side("y"));
            assert!(left + side("w") <= COLUMNS, "{file}: {}", panel["title"]);
            for column in left..left + side("w") {
                for line in top..top + side("h") {
                    let free = taken.insert((column, line));
                    assert!(free, "{file}: {} lies over another", panel["title"]);
                }
            }
        }
    }
}

#[test]
fn invalid_queries_are_detected() {
    let good = r#"sum by (code) (rate(weir_requests_total{job=~"$job",instance=~"$instance"}[$__rate_interval]))"#;
    assert!(data_errors(good).is_empty() && form_errors(good).is_empty());
    for (from, to) in [
        ("weir_requests_total", "weir_request_total"),
        ("(code)", "(status)"),
        ("job=~", "model=~\"x\",job=~"),
    ] {
        assert!(!data_errors(&good.replace(from, to)).is_empty(), "{to}");
    }
    for (from, to) in [
        ("job=~\"$job\",", ""),
        ("$__rate_interval", "5m"),
        ("))", ")) / sum(weir_connections)"),
    ] {
        assert!(!form_errors(&good.replace(from, to)).is_empty(), "{to}");
    }
}
