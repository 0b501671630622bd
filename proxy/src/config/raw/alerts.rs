//! `alerts`.

use crate::config::declare::{choice, settings};
use crate::config::lists::List;
use crate::config::url::ServiceUrl;
use crate::config::values::{Count, RuleName, Secret, Threshold, Time};

settings! {
    /// What is watched, and who is told.
    struct Alerts {
        /// How often the rules are looked at.
        evaluate_every: Time [default "15s"],
        /// How far back they look.
        window: Time [default "5m"],
        /// In the window; below it a tier stays as it is, and says so.
        minimum_requests: Count<0> [default "20"],
        /// Up above warning or critical, down at or below recovery.
        rules: List<Rule> [default "[{name: ErrorRate, signal: error_rate, warning: 1%, critical: 3%, recovery: 0.5%, for: 30s}, {name: ResponseTime, signal: response_time_p99, warning: 500ms, critical: 1s, recovery: 300ms, for: 30s}, {name: DiskUsage, signal: disk_usage, warning: 70%, critical: 85%, recovery: 60%, for: 30s}]"],
        /// Left out: Alertmanager is not told.
        alertmanager: Alertmanager [optional],
        /// Left out: no Feishu group is told.
        feishu: FeishuBot [optional],
    }
}

settings! {
    /// When a tier goes up and down.
    struct Rule {
        /// What the alert is called.
        name: RuleName [required],
        /// What is measured.
        signal: Signal [required],
        /// Above it: warning.
        warning: Threshold [required],
        /// Above it: critical.
        critical: Threshold [required],
        /// At or below it: well again.
        recovery: Threshold [required],
        /// For how long.
        r#for: Time<0> [default "30s"],
    }
}

settings! {
    /// Prometheus Alertmanager.
    struct Alertmanager {
        /// Its replicas; each is told.
        urls: List<ServiceUrl, 1> [required],
    }
}

settings! {
    /// The bot of a Feishu group.
    struct FeishuBot {
        /// The address of the bot; without it nobody is told.
        webhook: ServiceUrl [optional],
        /// What messages to it are signed with.
        secret: Secret [optional],
    }
}

choice! {
    /// What is measured.
    enum Signal {
        ErrorRate = "error_rate",
        ResponseTimeP99 = "response_time_p99",
        DiskUsage = "disk_usage",
    }
}
