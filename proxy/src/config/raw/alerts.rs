//! `alerts`.

use std::sync::LazyLock;

use serde_json::{Value, json};

use super::notifiers::Notifiers;
use crate::alert::per::Per;
use crate::alert::signal::{self, Signal};
use crate::config::labels::{LabelName, LabelValue};
use crate::settings::declare::{one_of, settings, unknown};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::lists::{List, NamedValues};
use crate::settings::url::ServiceUrl;
use crate::settings::values::{Count, MaybeEmptyText, RuleName, Threshold, TimeSpan};

settings! {
    /// What is monitored, and who is notified.
    struct Alerts {
        /// Labels of every alert, in addition to alertname, severity, instance and those of the rule. `instance` is the host's name and the first listener's port unless it is set here.
        labels: NamedValues<LabelName, LabelValue> [default "{}"] restart,
        /// How often the rules are evaluated.
        evaluate_every: TimeSpan [default "15s"] reload,
        /// The period that rules evaluate.
        window: TimeSpan [default "5m"] reload,
        /// Requests in the window; with fewer, the tier is held and shown as held, or as no_data if there has been no value yet.
        minimum_requests: Count<0> [default "20"] reload,
        /// A tier is raised above warning or critical, and lowered at or below recovery.
        rules: List<Rule> [default DEFAULT_RULES.as_str()] reload,
        /// The file that keeps active alerts and silences over a restart; "" for none.
        state: MaybeEmptyText [default "data/alerts.json"] restart,
        /// The external address of the admin API, for links; its own address by default.
        console_url: ServiceUrl [optional] restart,
        ..notifiers: Notifiers
    }
}

settings! {
    /// When the tier of an alert is raised and lowered.
    struct Rule {
        /// The name of the alert.
        name: RuleName [required] reload,
        /// The measured signal.
        signal: &'static Signal [required] reload,
        /// The label whose values are evaluated separately; left out: all traffic together.
        per: Per [optional] reload,
        /// The threshold of a warning.
        warning: Threshold [required] reload,
        /// The threshold of a critical alert.
        critical: Threshold [required] reload,
        /// The threshold of recovery.
        recovery: Threshold [required] reload,
        /// How long a threshold must be exceeded, or recovery last, before the tier changes.
        r#for: TimeSpan<0> [default "30s"] reload,
        /// The address of your own runbook for the alert.
        runbook: ServiceUrl [optional] reload,
    }
}

/// The rules of a file that has none: the default rules of the signals.
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

impl FromScalar for &'static Signal {
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

impl FromScalar for Per {
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
