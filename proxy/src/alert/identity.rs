//! The labels that all alerts of one weir have, so that replicas with the same rules do not resolve each other's
//! alerts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The label that distinguishes replicas.
pub const INSTANCE: &str = "instance";

/// Labels that weir sets itself: `alerts.labels` must not contain them.
pub const RESERVED: [&str; 7] = [
    "alertname",
    "severity",
    "rule",
    "route",
    "platform",
    "model",
    "backend",
];

/// `instance` and `alerts.labels`, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AlertIdentity(BTreeMap<String, String>);

impl AlertIdentity {
    /// The configured labels, with this instance unless they contain one.
    #[must_use]
    pub fn new(labels: &BTreeMap<String, String>, instance: &str) -> Self {
        let mut labels = labels.clone();
        labels
            .entry(INSTANCE.to_owned())
            .or_insert_with(|| instance.to_owned());
        AlertIdentity(labels)
    }

    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    #[must_use]
    pub fn instance(&self) -> Option<&str> {
        self.0.get(INSTANCE).map(String::as_str)
    }
}

impl std::fmt::Display for AlertIdentity {
    /// The instance and the other labels: `host:8080 (team=search)`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.instance().unwrap_or_default())?;
        let others = self.labels().filter(|(name, _)| *name != INSTANCE);
        let others: Vec<String> = others
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        match others.is_empty() {
            true => Ok(()),
            false => write!(formatter, " ({})", others.join(", ")),
        }
    }
}

/// The name of this host or container with a port of weir: the port distinguishes two processes on one host.
#[must_use]
pub fn instance(port: u16) -> String {
    let host = sysinfo::System::host_name()
        .ok()
        .filter(|name| !name.is_empty());
    format!("{}:{port}", host.as_deref().unwrap_or("localhost"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configured_instance_replaces_that_of_the_host() {
        let none = BTreeMap::new();
        assert_eq!(AlertIdentity::new(&none, "a:1").instance(), Some("a:1"));
        assert_eq!(AlertIdentity::new(&none, "a:1").to_string(), "a:1");
        let own = [("instance", "blue"), ("team", "x")];
        let own = own.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let identity = AlertIdentity::new(&own.into(), "a:1");
        assert_eq!(identity.to_string(), "blue (team=x)");
        let labels: Vec<_> = identity.labels().collect();
        assert_eq!(labels, [("instance", "blue"), ("team", "x")]);
        assert!(instance(8080).ends_with(":8080"));
    }
}
