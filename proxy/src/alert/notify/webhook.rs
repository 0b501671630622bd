//! Any other service, in the format of Alertmanager's webhooks, version 4
//! (Prometheus' documentation, "Alerting", "Configuration", `webhook_config`).
//!
//! One message holds everything that changed. Of an alert whose severity changes it holds both: the old
//! one as resolved, the new one as firing, so that what was opened is closed.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::kind::{Endpoint, Invalid, Kind, Setting, Settings, ValueKind};
use super::post::Target;
use super::{Channel, Failure, Links, RETRY_MAX, summary};
use crate::alert::board::{Change, timestamp};
use crate::alert::tier::Tier;

/// A message of more is larger than what services take.
const CHANGES_MAX: usize = 200;
/// What Alertmanager writes as the end of an alert that has none.
const NO_END: &str = "0001-01-01T00:00:00Z";

pub const KIND: Kind = Kind {
    key: "webhook",
    left_out: "Left out: no other service is told.",
    definition: "Webhook",
    about: "Any service that takes Alertmanager's webhooks, version 4.",
    settings: &[
        Setting::optional(
            "url",
            ValueKind::Url,
            "Its address; without it nobody is told.",
        ),
        Setting::optional("token", ValueKind::Secret, "A bearer token."),
    ],
    check,
    retry_max: RETRY_MAX,
    start: |endpoint, links, context| {
        let target = Target::new(&endpoint.url, endpoint.authorization.clone());
        super::start(Webhook { target, links }, context)
    },
};

fn check(settings: &Settings) -> Result<Vec<Endpoint>, Invalid> {
    let authorization = settings.bearer("token")?;
    match settings.text("url") {
        Some(url) => Ok(vec![Endpoint::new(url, authorization)]),
        None if authorization.is_some() => {
            let why = "`token` is for `url`, which is missing";
            Err(Invalid::key("token", why))
        }
        None => Ok(Vec::new()),
    }
}

pub struct Webhook {
    pub target: Target,
    pub links: Links,
}

impl Channel for Webhook {
    fn tell(&mut self, changes: &[Change], now: Duration) -> Result<(), Failure> {
        let body = serde_json::to_vec(&body(changes, &self.links, now));
        let body = body.map_err(|error| Failure::Refused(error.to_string()))?;
        self.target.post(body).map(drop)
    }

    fn changes_max(&self) -> usize {
        CHANGES_MAX
    }
}

/// The message of these changes.
pub(super) fn body(changes: &[Change], links: &Links, now: Duration) -> Value {
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

fn alerts(change: &Change, links: &Links, now: Timestamp) -> Vec<Value> {
    let standing = &change.standing;
    let mut alerts = Vec::new();
    if change.told != Tier::None {
        let ended = standing.ended_at.map_or(now, timestamp);
        alerts.push(alert(change, change.told, links, Some(ended)));
    }
    if standing.tier != Tier::None {
        alerts.push(alert(change, standing.tier, links, None));
    }
    alerts
}

fn alert(change: &Change, tier: Tier, links: &Links, ended: Option<Timestamp>) -> Value {
    let standing = &change.standing;
    let mut labels: Vec<(&str, &str)> = standing.labels();
    labels.push(("severity", tier.as_str()));
    labels.sort_unstable();
    let begun = match tier {
        Tier::Critical => standing.critical_at,
        _ => standing.raised_at,
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
        "startsAt": timestamp(begun.unwrap_or(standing.since)),
        "endsAt": ended.map_or_else(|| NO_END.to_owned(), |ended| ended.to_string()),
        "generatorURL": format!("{}/api/alerts", links.console),
        "fingerprint": fingerprint(&labels),
    })
}

/// What is the same in all alerts.
fn common(alerts: &[Value], part: &str) -> Map<String, Value> {
    let mut all = alerts.iter().filter_map(|alert| alert[part].as_object());
    let mut common = all.next().cloned().unwrap_or_default();
    for other in all {
        common.retain(|name, value| other.get(name) == Some(value));
    }
    common
}

/// As Prometheus' `model.LabelSet.Fingerprint`: FNV-1a of 64 bits over names and values in their order,
/// each followed by the byte 255.
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
