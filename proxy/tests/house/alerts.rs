//! The rules, the pages of advice and what is built into weir say the same.

use std::collections::BTreeSet;
use std::path::Path;

use weir::alert::signal::{Signal, Statistic};
use weir::alert::{rules, runbook};
use weir::config;

use crate::repository::{expect_none, files, read};

/// What an alert of a rule with another name leads to.
const EVERY_SIGNAL: [Signal; 12] = [
    Signal::ErrorRate,
    Signal::ResponseTime(Statistic::P99),
    Signal::FirstTokenP99,
    Signal::DiskUsage,
    Signal::CpuUsage,
    Signal::MemoryUsage,
    Signal::RateLimitedShare,
    Signal::SignatureFailureShare,
    Signal::CacheHitRatio,
    Signal::SpoolOldest,
    Signal::EventsDropped,
    Signal::DependencyDown,
];

#[test]
fn the_rules_of_the_defaults_are_those_that_weir_renders() {
    let defaults = config::defaults().expect("the defaults are right");
    let rendered = rules::render(&defaults.config.alerts).expect("Prometheus can express them");
    assert_eq!(
        read("alerts/rules/weir.yaml"),
        rendered,
        "make it anew: weir rules > alerts/rules/weir.yaml"
    );
}

#[test]
fn every_alert_has_a_page_and_every_page_an_alert() {
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
                    findings.push(format!("{path}: {alert} leads to {url}"));
                }
            }
        }
    }
    let pages: BTreeSet<String> = files("alerts/runbooks", &["md"])
        .iter()
        .filter_map(|path| Some(Path::new(path).file_stem()?.to_string_lossy().into_owned()))
        .collect();
    for signal in EVERY_SIGNAL {
        alerts.insert(runbook::of_signal(signal).to_owned());
    }
    let built_in: BTreeSet<String> = runbook::PAGES
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    for (what, one, other) in [
        ("an alert without a page", &alerts, &pages),
        ("a page without an alert", &pages, &alerts),
        ("a page that weir does not show", &pages, &built_in),
    ] {
        let missing = one.difference(other);
        findings.extend(missing.map(|name| format!("{what}: {name}")));
    }
    expect_none(&findings);
}
