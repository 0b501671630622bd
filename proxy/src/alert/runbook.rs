//! The pages of advice that weir brings along, for the alerts of its defaults, for those of the rules in
//! `alerts/`, and for each signal. The admin side shows them under `/runbooks/NAME`, to anybody: nothing
//! in them is a secret, and whoever gets an alert may have no token.

use super::rule::Rule;
use super::signal::Signal;

macro_rules! pages {
    ($($name:literal),+ $(,)?) => {
        /// Name and text of each, in Markdown.
        pub const PAGES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../alerts/runbooks/", $name, ".md")))),+
        ];
    };
}

pages![
    "CacheHitRatio",
    "CpuUsage",
    "DiskUsage",
    "ErrorBudgetBurn",
    "ErrorRate",
    "LatencyBudgetBurn",
    "MemoryUsage",
    "RateLimitedShare",
    "ResponseTime",
    "SignatureFailures",
    "Watchdog",
    "WeirAlertsNotKept",
    "WeirCertificateExpiring",
    "WeirCircuitOpen",
    "WeirDependencyDown",
    "WeirDown",
    "WeirEventsDeadLettered",
    "WeirEventsDropped",
    "WeirEventsInFailureStore",
    "WeirLimitsDegraded",
    "WeirNotificationsFailing",
    "WeirReloadFailed",
    "WeirReplayDropped",
    "WeirSpoolGrowing",
    "WeirWorkerFailing",
];

/// The page of this name.
#[must_use]
pub fn page(name: &str) -> Option<&'static str> {
    let found = PAGES.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}

/// Where the advice for a rule's alerts is: its own page, else the one of its name, else that of its
/// signal. `console` is where the admin side is reached.
#[must_use]
pub fn url(rule: &Rule, console: &str) -> String {
    if let Some(own) = &rule.runbook {
        return own.clone();
    }
    let name = match page(&rule.name) {
        Some(_) => &*rule.name,
        None => of_signal(rule.signal),
    };
    format!("{console}/runbooks/{name}")
}

/// The name of a signal's page.
#[must_use]
pub const fn of_signal(signal: Signal) -> &'static str {
    match signal {
        Signal::ErrorRate => "ErrorRate",
        Signal::ResponseTime(_) | Signal::FirstTokenP99 => "ResponseTime",
        Signal::DiskUsage => "DiskUsage",
        Signal::CpuUsage => "CpuUsage",
        Signal::MemoryUsage => "MemoryUsage",
        Signal::RateLimitedShare => "RateLimitedShare",
        Signal::SignatureFailureShare => "SignatureFailures",
        Signal::CacheHitRatio => "CacheHitRatio",
        Signal::SpoolOldest => "WeirSpoolGrowing",
        Signal::EventsDropped => "WeirEventsDropped",
        Signal::DependencyDown => "WeirDependencyDown",
    }
}
