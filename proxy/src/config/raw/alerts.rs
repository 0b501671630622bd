//! `alerts`.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::notifiers::Notifiers;
use crate::alert::per::Per;
use crate::alert::signal::{self, Signal};
use crate::config::labels::{LabelName, LabelValue};
use crate::settings::declare::{one_of, settings, unknown};
use crate::settings::decode::{Invalid, Scalar};
use crate::settings::lists::{Entries, List};
use crate::settings::url::ServiceUrl;
use crate::settings::values::{Count, MaybeEmptyText, RuleName, Threshold, Time};

settings! {
    /// What is monitored, and who is notified.
    struct Alerts {
        /// Of every alert, beside alertname, severity, instance and the rule's own. `instance` is the host's name and the first listener's port unless it stands here.
        labels: Entries<LabelName, LabelValue> [default "{}"] restart,
        /// How often the rules are evaluated.
        evaluate_every: Time [default "15s"] reload,
        /// How far back they look.
        window: Time [default "5m"] reload,
        /// In the window; below it a tier stays as it is, and says so.
        minimum_requests: Count<0> [default "20"] reload,
        /// Up above warning or critical, down at or below recovery.
        rules: List<Rule> [default DEFAULT_RULES.as_str()] reload,
        /// The file in which alerts in force and silences outlive a restart; "" for none.
        state: MaybeEmptyText [default "data/alerts.json"] restart,
        /// Where the admin side is reached from outside, for links; its own address by default.
        console_url: ServiceUrl [optional] restart,
        ..notifiers: Notifiers
    }
}

settings! {
    /// When a tier goes up and down.
    struct Rule {
        /// What the alert is called.
        name: RuleName [required] reload,
        /// What is measured.
        signal: &'static Signal [required] reload,
        /// What has a tier of its own; left out: all traffic together.
        per: Per [optional] reload,
        /// Beyond it: warning.
        warning: Threshold [required] reload,
        /// Beyond it: critical.
        critical: Threshold [required] reload,
        /// At it or better: well again.
        recovery: Threshold [required] reload,
        /// For how long.
        r#for: Time<0> [default "30s"] reload,
        /// A page of your own for those who get the alert.
        runbook: ServiceUrl [optional] reload,
    }
}

/// The rules of a file that has none: those that signals bring along.
static DEFAULT_RULES: LazyLock<String> = LazyLock::new(|| {
    let rules = signal::ALL.iter().filter_map(|signal| {
        let (name, rule) = (signal.name, signal.default_rule?);
        Some(format!(
            "{{name: {}, signal: {name}, warning: {}, critical: {}, recovery: {}, for: 30s}}",
            rule.name, rule.warning, rule.critical, rule.recovery
        ))
    });
    format!("[{}]", rules.collect::<Vec<_>>().join(", "))
});

impl Scalar for &'static Signal {
    fn expected() -> String {
        one_of(&signal_names())
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        Signal::named(text).ok_or_else(|| unknown(text, &signal_names()))
    }

    fn schema() -> Value {
        json!({"type": "string", "enum": signal_names()})
    }
}

fn signal_names() -> Vec<&'static str> {
    signal::ALL.iter().map(|signal| signal.name).collect()
}

impl Scalar for Per {
    fn expected() -> String {
        one_of(&labels())
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        Per::of_label(text).ok_or_else(|| unknown(text, &labels()))
    }

    fn schema() -> Value {
        json!({"type": "string", "enum": labels()})
    }
}

fn labels() -> Vec<&'static str> {
    Per::ALL.iter().map(|per| per.label()).collect()
}
