//! `alerts`.

use crate::config::declare::{choice, settings};
use crate::config::labels::{LabelName, LabelValue};
use crate::config::lists::{Entries, List};
use crate::config::url::ServiceUrl;
use crate::config::values::{Count, MaybeEmptyText, RuleName, Secret, Text, Threshold, Time};

settings! {
    /// What is watched, and who is told.
    struct Alerts {
        /// Of every alert, beside alertname, severity, instance and the rule's own. `instance` is the host's name and the first listener's port unless it stands here.
        labels: Entries<LabelName, LabelValue> [default "{}"],
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
        /// Left out: no other service is told.
        webhook: Webhook [optional],
        /// The file in which alerts in force and silences outlive a restart; "" for none.
        state: MaybeEmptyText [default "data/alerts.json"],
        /// Where the admin side is reached from outside, for links; its own address by default.
        console_url: ServiceUrl [optional],
    }
}

settings! {
    /// When a tier goes up and down.
    struct Rule {
        /// What the alert is called.
        name: RuleName [required],
        /// What is measured.
        signal: Signal [required],
        /// What has a tier of its own; left out: all traffic together.
        per: Per [optional],
        /// Beyond it: warning.
        warning: Threshold [required],
        /// Beyond it: critical.
        critical: Threshold [required],
        /// At it or better: well again.
        recovery: Threshold [required],
        /// For how long.
        r#for: Time<0> [default "30s"],
        /// A page of your own for those who get the alert.
        runbook: ServiceUrl [optional],
    }
}

settings! {
    /// Prometheus Alertmanager.
    struct Alertmanager {
        /// Its replicas; each is told.
        urls: List<ServiceUrl, 1> [required],
        /// Left out: nobody has to say who they are.
        username: Text [optional],
        /// Of the user.
        password: Secret [optional],
        /// A bearer token, instead of a user.
        token: Secret [optional],
    }
}

settings! {
    /// Any service that takes Alertmanager's webhooks, version 4.
    struct Webhook {
        /// Its address; without it nobody is told.
        url: ServiceUrl [optional],
        /// A bearer token.
        token: Secret [optional],
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
        ResponseTimeP50 = "response_time_p50",
        ResponseTimeP95 = "response_time_p95",
        ResponseTimeP99 = "response_time_p99",
        ResponseTimeMean = "response_time_mean",
        FirstTokenP99 = "first_token_p99",
        DiskUsage = "disk_usage",
        CpuUsage = "cpu_usage",
        MemoryUsage = "memory_usage",
        RateLimitedShare = "rate_limited_share",
        SignatureFailureShare = "signature_failure_share",
        CacheHitRatio = "cache_hit_ratio",
        SpoolOldest = "spool_oldest",
        EventsDropped = "events_dropped",
        CircuitOpen = "circuit_open",
        DependencyDown = "dependency_down",
    }
}

choice! {
    /// What has a tier of its own.
    enum Per {
        Route = "route",
        Platform = "platform",
        Model = "model",
        Backend = "backend",
    }
}
