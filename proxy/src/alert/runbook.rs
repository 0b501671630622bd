//! The runbooks that are built into weir: for the alerts of the default rules, for those of the rules in
//! `alerts/`, and for each signal. The admin side serves them under `/runbooks/NAME` without a token:
//! nothing in them is a secret, and whoever gets an alert may have no token.

use super::page::{Page, page};
use super::signal;

/// Runbooks of alerts that only Prometheus raises.
const OF_PROMETHEUS: [Page; 15] = [
    page!("ErrorBudgetBurn"),
    page!("LatencyBudgetBurn"),
    page!("Watchdog"),
    page!("WeirAlertsNotKept"),
    page!("WeirCertificateExpiring"),
    page!("WeirDown"),
    page!("WeirEndpointUnhealthy"),
    page!("WeirEventsDeadLettered"),
    page!("WeirEventsInFailureStore"),
    page!("WeirLimitsDegraded"),
    page!("WeirNotificationsFailing"),
    page!("WeirReloadFailed"),
    page!("WeirReplayDropped"),
    page!("WeirRetriesHigh"),
    page!("WeirWorkerFailing"),
];

/// All pages. One that several signals share comes several times.
pub fn pages() -> impl Iterator<Item = Page> {
    let of_signals = signal::ALL.iter().map(|signal| signal.runbook);
    of_signals.chain(OF_PROMETHEUS)
}

/// The page of this name.
#[must_use]
pub fn page(name: &str) -> Option<&'static str> {
    pages().find(|page| page.name == name).map(|page| page.text)
}
