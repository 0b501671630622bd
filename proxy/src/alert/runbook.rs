//! The pages of advice that weir brings along, one for each alert of its defaults and of the rules in
//! `alerts/`. The admin side shows them under `/runbooks/NAME`.

macro_rules! pages {
    ($($name:literal),+ $(,)?) => {
        /// Name and text of each, in Markdown.
        pub const PAGES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../../../alerts/runbooks/", $name, ".md")))),+
        ];
    };
}

pages![
    "DiskUsage",
    "ErrorBudgetBurn",
    "ErrorRate",
    "LatencyBudgetBurn",
    "ResponseTime",
    "Watchdog",
    "WeirCertificateExpiring",
    "WeirCircuitOpen",
    "WeirDependencyDown",
    "WeirDown",
    "WeirEventsDeadLettered",
    "WeirEventsDropped",
    "WeirLimitsDegraded",
    "WeirNotificationsFailing",
    "WeirReloadFailed",
    "WeirSpoolGrowing",
];

/// The page of an alert.
#[must_use]
pub fn page(name: &str) -> Option<&'static str> {
    let found = PAGES.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text)
}
