//! A transition as an event of the data stream of alerts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use ulid::Ulid;

use super::notify::summary;
use super::state::Transition;
use super::store::{Change, timestamp};
use super::tier::Tier;
use crate::ecs;
use crate::ship::Ship;
use crate::ship::spool::ID_BYTES;

/// Ships these events to their index.
pub(super) struct TransitionEvents {
    pub(super) ship: Arc<Ship>,
    /// `service.environment`.
    pub(super) environment: String,
}

impl std::fmt::Debug for TransitionEvents {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TransitionEvents")
    }
}

impl TransitionEvents {
    /// Appends a transition to the spool, and syncs it to disk.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn record(&self, transition: &Transition) -> io::Result<()> {
        let id = Ulid::generate().to_string();
        let line = line(transition, &id, &self.environment).to_string();
        let Some(id) = id.as_bytes().first_chunk::<ID_BYTES>() else {
            return Err(io::Error::other("its id is too short"));
        };
        self.ship.append_transition(id, line.as_bytes())
    }
}

/// The document of one transition.
#[must_use]
pub(super) fn line(transition: &Transition, id: &str, environment: &str) -> Value {
    let state = &transition.state;
    let kind = match (transition.from, state.tier) {
        (_, Tier::None) => "end",
        (Tier::None, _) => "start",
        _ => "change",
    };
    let level = match state.tier {
        Tier::None => "info",
        Tier::Warning => "warn",
        Tier::Critical => "error",
    };
    let change = Change {
        notified: transition.from,
        state: state.clone(),
    };
    let mut alert = json!({
        "tier": state.tier.as_str(),
        "tier_before": transition.from.as_str(),
        "figure": state.value,
    });
    if let Some(rule) = &state.rule {
        let thresholds = &rule.thresholds;
        alert["signal"] = json!(rule.signal.name);
        alert["warning"] = json!(thresholds.warning);
        alert["critical"] = json!(thresholds.critical);
        alert["recovery"] = json!(thresholds.recovery);
    }
    if let Some(about) = &state.about {
        alert["about"] = json!(about);
    }
    let mut event = json!({
        "@timestamp": timestamp(transition.at),
        "ecs": {"version": ecs::VERSION},
        "event": {
            "id": id,
            "dataset": "weir.alert",
            "kind": "alert",
            "category": ["web"],
            "type": [kind],
            "duration": nanoseconds(transition.after),
        },
        "log": {"level": level},
        "message": summary(&change),
        "rule": {"name": &*state.key.rule},
        "service": {"name": "weir", "version": env!("CARGO_PKG_VERSION"), "environment": environment},
        "weir": {"alert": alert},
    });
    let labels = state.identity.labels();
    let labels: Map<String, Value> = labels
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    event["labels"] = Value::Object(labels);
    if let Some(instance) = state.identity.instance() {
        event["service"]["node"] = json!({"name": instance});
    }
    if let Some((name, value)) = &state.key.label {
        event[*name] = json!(&**value);
    }
    event
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
