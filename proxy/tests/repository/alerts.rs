//! Alert rules, runbooks and documentation match what is built into weir.

use std::collections::BTreeSet;
use std::path::Path;

use weir::alert::notify;
use weir::alert::signal::{self, Signal};
use weir::alert::tier::Worse;
use weir::alert::unit::Unit;
use weir::alert::{rules, runbook};
use weir::config;

use crate::files::{expect_none, files, read};

#[test]
fn the_rules_file_is_what_weir_renders_from_the_defaults() {
    let defaults = config::defaults().expect("the defaults are valid");
    let rendered = rules::render(&defaults.config.alerts).expect("Prometheus can express them");
    assert_eq!(
        read("alerts/rules/weir.yaml"),
        rendered,
        "regenerate it: weir rules > alerts/rules/weir.yaml"
    );
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() {
    let mut findings = Vec::new();
    let mut alerts = BTreeSet::new();
    for path in files("alerts/rules", &["yaml"]) {
        let mut alert = String::new();
        for line in read(&path).lines() {
            if let Some(name) = line.trim().strip_prefix("- alert: ") {
                alert = name.to_owned();
                alerts.insert(alert.clone());
            }
            if let Some((_, url)) = line.split_once("runbook_url: ") {
                let url = url.trim_matches(['\'', '"', ' ', '}', ',']);
                if !url.ends_with(&format!("/runbooks/{alert}")) {
                    findings.push(format!("{path}: {alert} links to {url}"));
                }
            }
        }
    }
    let pages: BTreeSet<String> = files("alerts/runbooks", &["md"])
        .iter()
        .filter_map(|path| Some(Path::new(path).file_stem()?.to_string_lossy().into_owned()))
        .collect();
    for signal in signal::ALL {
        alerts.insert(signal.runbook.name.to_owned());
    }
    let built_in: BTreeSet<String> = runbook::pages().map(|page| page.name.to_owned()).collect();
    for (what, one, other) in [
        ("an alert without a runbook", &alerts, &pages),
        ("a runbook without an alert", &pages, &alerts),
        ("a runbook that is not built into weir", &pages, &built_in),
    ] {
        let missing = one.difference(other);
        findings.extend(missing.map(|name| format!("{what}: {name}")));
    }
    expect_none(&findings);
}

/// A configuration with one rule over a signal, in its unit and direction.
fn config_over(signal: &Signal) -> String {
    let [warning, critical, recovery] = match (signal.unit, signal.worse) {
        (Unit::Share, Worse::Up) => ["1%", "3%", "0.5%"],
        (Unit::Share, Worse::Down) => ["30%", "10%", "40%"],
        (Unit::Seconds, _) => ["500ms", "1s", "300ms"],
        (Unit::Count, _) => ["1", "3", "0"],
    };
    let name = signal.name;
    format!(
        "backends: [{{name: a, endpoints: ['http://127.0.0.1:1']}}]\n\
         routes: [{{name: r, path: '/*', backend: a}}]\n\
         alerts: {{rules: [{{name: R, signal: {name}, warning: {warning}, critical: {critical}, recovery: {recovery}}}]}}\n"
    )
}

#[test]
fn every_signal_has_a_runbook_documentation_a_schema_entry_and_rules() {
    let documentation = read("alerts/README.md");
    let schema = config::schema()["$defs"]["Rule"]["properties"]["signal"].to_string();
    let mut findings = Vec::new();
    for signal in signal::ALL {
        let name = signal.name;
        if runbook::page(signal.runbook.name).is_none_or(str::is_empty) {
            findings.push(format!("{name}: no runbook"));
        }
        if !documentation.contains(&format!("`{name}`")) {
            findings.push(format!("{name}: not in alerts/README.md"));
        }
        if !schema.contains(&format!("\"{name}\"")) {
            findings.push(format!("{name}: not in the schema"));
        }
        let loaded = config::parse(&config_over(signal), Path::new("weir.yaml"), &|_| None);
        let (is_rejected, output) = match loaded {
            Ok(loaded) => match rules::render(&loaded.config.alerts) {
                Ok(rules) => (false, rules),
                Err(error) => (true, format!("{error:?}")),
            },
            Err(diagnostics) => (true, diagnostics.to_string()),
        };
        if is_rejected || !output.contains(name) {
            findings.push(format!("{name}: {output}"));
        }
    }
    expect_none(&findings);
}

#[test]
fn every_notifier_has_documentation_and_a_schema_entry_and_can_be_configured() {
    let documentation = read("alerts/README.md");
    let schema = config::schema();
    let mut findings = Vec::new();
    for kind in notify::ALL {
        let key = kind.key;
        if !documentation.contains(&format!("`{key}`")) {
            findings.push(format!("{key}: not in alerts/README.md"));
        }
        let keys = &schema["$defs"]["Alerts"]["properties"];
        if keys[key].is_null() {
            findings.push(format!("{key}: not in the schema"));
        }
        let text = format!(
            "backends: [{{name: a, endpoints: ['http://127.0.0.1:1']}}]\n\
             routes: [{{name: r, path: '/*', backend: a}}]\n\
             alerts: {{{key}: {{{}}}}}\n",
            kind.example
        );
        match config::parse(&text, Path::new("weir.yaml"), &|_| None) {
            Ok(loaded) => {
                let notifiers = loaded.config.alerts.notifiers;
                let names: Vec<_> = notifiers.iter().map(|notifier| &notifier.name).collect();
                assert_eq!(names, [key]);
            }
            Err(diagnostics) => findings.push(format!("{key}: {diagnostics}")),
        }
    }
    expect_none(&findings);
}
