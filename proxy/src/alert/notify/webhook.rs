//! Any other service, in the format of Alertmanager's webhooks, version 4
//! (Prometheus' documentation, "Alerting", "Configuration", `webhook_config`).
//!
//! One message holds all changes. An alert whose severity changes is in it twice: the old severity as resolved,
//! the new one as firing.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kind::{DeclaredSettings, Destination, NotifierKind, RawSettings, bearer};
use super::post::PostTarget;
use super::{Channel, ConsoleLinks, NotifyFailure, RETRY_MAX, summary};
use crate::alert::store::{Change, timestamp};
use crate::alert::tier::Tier;
use crate::settings::declare::settings;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::url::ServiceUrl;
use crate::settings::values::SecretText;

/// Services reject larger messages.
const CHANGES_MAX: usize = 200;
/// What Alertmanager writes as `endsAt` of a firing alert.
const NO_END: &str = "0001-01-01T00:00:00Z";

pub const KIND: NotifierKind = NotifierKind {
    key: "webhook",
    left_out: "Left out: no other service is notified.",
    example: "url: 'https://alerts.example.com/hook', token: change-me",
    settings: DeclaredSettings::of::<Webhook>(),
    retry_max: RETRY_MAX,
    start: |destination, links, context| {
        let target = PostTarget::new(&destination.url, destination.authorization.clone());
        super::start(WebhookClient { target, links }, context)
    },
};

settings! {
    /// Any service that takes Alertmanager's webhooks, version 4.
    struct Webhook {
        /// Its address; without it nobody is notified.
        url: ServiceUrl [optional] restart,
        /// A bearer token.
        token: SecretText [optional] restart,
    }
}

impl RawSettings for Webhook {
    fn check(&self, diagnostics: &mut Diagnostics) -> Option<Vec<Destination>> {
        let authorization = bearer(&self.token, diagnostics)?;
        match self.url.value() {
            Some(url) => Some(vec![Destination::new(&url.0, authorization)]),
            None if authorization.is_some() => {
                let wrong = "`token` is for `url`, which is missing";
                diagnostics.error(self.token.place, wrong);
                None
            }
            None => Some(Vec::new()),
        }
    }
}

pub struct WebhookClient {
    pub target: PostTarget,
    pub links: ConsoleLinks,
}

impl Channel for WebhookClient {
    fn send(&mut self, changes: &[Change], now: Duration) -> Result<(), NotifyFailure> {
        let body = serde_json::to_vec(&body(changes, &self.links, now));
        let body = body.map_err(|error| NotifyFailure::Permanent(error.to_string()))?;
        self.target.post(body).map(drop)
    }

    fn changes_max(&self) -> usize {
        CHANGES_MAX
    }
}

/// The message for these changes.
pub(super) fn body(changes: &[Change], links: &ConsoleLinks, now: Duration) -> Value {
    let alerts: Vec<Value> = changes
        .iter()
        .flat_map(|change| alerts(change, links, timestamp(now)))
        .collect();
    let is_firing = alerts.iter().any(|alert| alert["status"] == "firing");
    json!({
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": 0,
        "status": if is_firing { "firing" } else { "resolved" },
        "receiver": "weir",
        "groupLabels": {},
        "commonLabels": common(&alerts, "labels"),
        "commonAnnotations": common(&alerts, "annotations"),
        "externalURL": &*links.console,
        "alerts": alerts,
    })
}

fn alerts(change: &Change, links: &ConsoleLinks, now: Timestamp) -> Vec<Value> {
    let state = &change.state;
    let mut alerts = Vec::new();
    if change.notified != Tier::None {
        let ended = state.ended_at.map_or(now, timestamp);
        alerts.push(alert(change, change.notified, links, Some(ended)));
    }
    if state.tier != Tier::None {
        alerts.push(alert(change, state.tier, links, None));
    }
    alerts
}

fn alert(change: &Change, tier: Tier, links: &ConsoleLinks, ended: Option<Timestamp>) -> Value {
    let state = &change.state;
    let mut labels: Vec<(&str, &str)> = state.labels();
    labels.push(("severity", tier.as_str()));
    labels.sort_unstable();
    let started_at = match tier {
        Tier::Critical => state.critical_at,
        _ => state.raised_at,
    };
    let plain = labels
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value)));
    json!({
        "status": if ended.is_some() { "resolved" } else { "firing" },
        "labels": plain.collect::<Map<_, _>>(),
        "annotations": {
            "summary": summary(change),
            "runbook_url": links.runbook(change),
        },
        "startsAt": timestamp(started_at.unwrap_or(state.since)),
        "endsAt": ended.map_or_else(|| NO_END.to_owned(), |ended| ended.to_string()),
        "generatorURL": format!("{}/api/alerts", links.console),
        "fingerprint": fingerprint(&labels),
    })
}

/// What all alerts have in common.
fn common(alerts: &[Value], part: &str) -> Map<String, Value> {
    let mut all = alerts.iter().filter_map(|alert| alert[part].as_object());
    let mut common = all.next().cloned().unwrap_or_default();
    for other in all {
        common.retain(|name, value| other.get(name) == Some(value));
    }
    common
}

/// Prometheus' `model.LabelSet.Fingerprint`: 64-bit FNV-1a over names and values in order, each followed by the
/// byte 255.
fn fingerprint(labels: &[(&str, &str)]) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut take = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for (name, value) in labels {
        take(name.as_bytes());
        take(value.as_bytes());
    }
    format!("{hash:016x}")
}
