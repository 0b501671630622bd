//! A change of a tier as an event: what is shipped to the data stream of alerts.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};
use ulid::Ulid;

use super::board::{Change, timestamp};
use super::notify::summary;
use super::standing::Transition;
use super::tier::Tier;
use crate::ecs;
use crate::ship::Ship;
use crate::ship::spool::ID_BYTES;

/// The way of these events to their index.
pub(super) struct Events {
    pub(super) ship: Arc<Ship>,
    /// `service.environment`.
    pub(super) environment: String,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Events")
    }
}

impl Events {
    /// Puts one into the spool, and makes sure that the disk has it.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub(super) fn record(&self, transition: &Transition) -> io::Result<()> {
        let id = Ulid::generate().to_string();
        let line = line(transition, &id, &self.environment).to_string();
        let Some(id) = id.as_bytes().first_chunk::<ID_BYTES>() else {
            return Err(io::Error::other("its id is too short"));
        };
        self.ship.ledger.record();
        let event = std::iter::once((id, line.as_bytes()));
        let (taken, outcome) = self.ship.spool.append(event);
        if taken == 0 {
            self.ship.ledger.drop_from_channel(1);
        }
        outcome.and_then(|()| self.ship.spool.sync())
    }
}

/// The document of one transition.
#[must_use]
pub(super) fn line(transition: &Transition, id: &str, environment: &str) -> Value {
    let standing = &transition.standing;
    let kind = match (transition.from, standing.tier) {
        (_, Tier::None) => "end",
        (Tier::None, _) => "start",
        _ => "change",
    };
    let level = match standing.tier {
        Tier::None => "info",
        Tier::Warning => "warn",
        Tier::Critical => "error",
    };
    let change = Change {
        told: transition.from,
        standing: standing.clone(),
    };
    let mut alert = json!({
        "tier": standing.tier.as_str(),
        "tier_before": transition.from.as_str(),
        "figure": standing.figure,
    });
    if let Some(rule) = &standing.rule {
        let lines = &rule.lines;
        alert["signal"] = json!(rule.signal.name);
        alert["warning"] = json!(lines.warning);
        alert["critical"] = json!(lines.critical);
        alert["recovery"] = json!(lines.recovery);
    }
    if let Some(about) = &standing.about {
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
        "rule": {"name": &*standing.key.rule},
        "service": {"name": "weir", "version": env!("CARGO_PKG_VERSION"), "environment": environment},
        "weir": {"alert": alert},
    });
    let labels = standing.identity.labels();
    let labels: Map<String, Value> = labels
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .collect();
    event["labels"] = Value::Object(labels);
    if let Some(instance) = standing.identity.instance() {
        event["service"]["node"] = json!({"name": instance});
    }
    if let Some((name, value)) = &standing.key.label {
        event[*name] = json!(&**value);
    }
    event
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
