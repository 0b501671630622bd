//! Alert signals: each is one file with one descriptor, and one line in [`ALL`].
//!
//! The descriptor is everything that weir knows about a signal. The configuration takes its name, its unit and what
//! it can be split by; the engine its value; `weir rules` its query; alerts their runbook.

use super::counts::Counts;
use super::page::Page;
use super::per::Per;
use super::promql::{Inexpressible, Promql};
use super::tier::Worse;
use super::unit::Unit;
use super::window::Window;
use crate::alert::snapshot::Snapshot;

pub mod cache_hit_ratio;
pub mod circuit_open;
pub mod cpu_usage;
pub mod dependency_down;
pub mod disk_usage;
pub mod error_rate;
pub mod events_dropped;
pub mod first_token;
pub mod memory_usage;
pub mod rate_limited_share;
pub mod response_time;
pub mod signature_failure_share;
pub mod spool_oldest;

/// Every signal, in the order of the schema.
pub const ALL: &[&Signal] = &[
    &error_rate::SIGNAL,
    &response_time::P50,
    &response_time::P95,
    &response_time::P99,
    &response_time::MEAN,
    &first_token::P99,
    &disk_usage::SIGNAL,
    &cpu_usage::SIGNAL,
    &memory_usage::SIGNAL,
    &rate_limited_share::SIGNAL,
    &signature_failure_share::SIGNAL,
    &cache_hit_ratio::SIGNAL,
    &spool_oldest::SIGNAL,
    &events_dropped::SIGNAL,
    &circuit_open::SIGNAL,
    &dependency_down::SIGNAL,
];

/// The descriptor of a signal.
pub struct Signal {
    /// As the configuration names it.
    pub name: &'static str,
    pub unit: Unit,
    pub worse: Worse,
    /// The labels that a rule can split it by; empty when there is one value for the whole process.
    pub per: &'static [Per],
    pub source: ValueSource,
    /// What must be configured for it to have a value.
    pub requires: Option<Requirement>,
    /// The same value as a query of Prometheus.
    pub query: fn(&Promql<'_>) -> Result<String, Inexpressible>,
    /// The default rule over it, if there is one.
    pub default_rule: Option<DefaultRule>,
    pub runbook: Page,
}

/// Where a value comes from.
#[derive(Clone, Copy)]
pub enum ValueSource {
    /// The requests of a window; `None` of fewer than the minimum number of requests, or none.
    Requests(fn(&Window, u64) -> Option<f64>),
    /// What the process itself counted within the window.
    Process(fn(&Counts) -> f64),
    /// The snapshot of the evaluation; `None` while there is no reading.
    Snapshot(fn(&Snapshot) -> Option<Measurement>),
}

/// A value, with what it is about.
#[derive(Clone, Debug, PartialEq)]
pub struct Measurement {
    pub value: f64,
    /// What the value is about: a mount, names of services.
    pub about: Option<String>,
}

impl From<f64> for Measurement {
    fn from(value: f64) -> Self {
        Measurement { value, about: None }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// Events are shipped to an index.
    Shipping,
}

/// Thresholds as the configuration writes them.
#[derive(Clone, Copy, Debug)]
pub struct DefaultRule {
    pub name: &'static str,
    pub warning: &'static str,
    pub critical: &'static str,
    pub recovery: &'static str,
}

impl Signal {
    /// The signal of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Signal> {
        ALL.iter().copied().find(|signal| signal.name == name)
    }

    /// Whether it is counted on requests.
    #[must_use]
    pub const fn is_of_requests(&self) -> bool {
        matches!(self.source, ValueSource::Requests(_))
    }

    /// Its value; `window` is that of the traffic of the rule, if there was any.
    #[must_use]
    pub fn measure(
        &self,
        window: Option<&Window>,
        minimum_requests: u64,
        snapshot: &Snapshot,
    ) -> Option<Measurement> {
        match self.source {
            ValueSource::Requests(value) => value(window?, minimum_requests).map(Measurement::from),
            ValueSource::Process(value) => Some(value(window?.counts()).into()),
            ValueSource::Snapshot(value) => value(snapshot),
        }
    }
}

impl PartialEq for Signal {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Signal {}

impl std::fmt::Debug for Signal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.name)
    }
}

/// `part` of `all`, where those are enough.
fn share(part: u64, all: u64, minimum: u64) -> Option<f64> {
    (all > 0 && all >= minimum).then(|| part.min(all) as f64 / all as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_gives_the_worst_value_and_what_it_is_about() {
        use crate::system::{Disk, SystemSample};
        let disk = |mount: &str, used_ratio| Disk {
            mount: mount.to_owned(),
            used_ratio,
        };
        let snapshot = Snapshot {
            system: SystemSample {
                disks: vec![disk("/", 0.2), disk("/data", 0.9), disk("/b", 0.5)],
                ..SystemSample::example()
            },
            dependencies_down: vec!["otlp".to_owned()],
            ..Snapshot::default()
        };
        let of = |signal: &Signal| {
            let measured = signal.measure(None, 0, &snapshot);
            measured.map(|measured| (measured.value, measured.about))
        };
        assert_eq!(
            of(&disk_usage::SIGNAL),
            Some((0.9, Some("/data".to_owned())))
        );
        let otlp = Some("otlp".to_owned());
        assert_eq!(of(&dependency_down::SIGNAL), Some((1.0, otlp)));
        assert_eq!(of(&circuit_open::SIGNAL), Some((0.0, None)));
        let open = Snapshot {
            open_circuits: vec![("a".into(), 2), ("b".into(), 1)],
            ..Snapshot::default()
        };
        let measured = circuit_open::SIGNAL
            .measure(None, 0, &open)
            .expect("a value");
        assert_eq!(
            (measured.value, measured.about),
            (3.0, Some("a, b".to_owned()))
        );
        assert_eq!(of(&cpu_usage::SIGNAL), Some((0.25, None)));
        assert_eq!(of(&spool_oldest::SIGNAL), None);
        assert_eq!(of(&error_rate::SIGNAL), None);
    }

    #[test]
    fn signals_are_found_by_their_unique_names() {
        for (place, signal) in ALL.iter().enumerate() {
            assert_eq!(Signal::named(signal.name), Some(*signal));
            assert!(ALL[..place].iter().all(|other| other.name != signal.name));
            assert!(signal.per.is_empty() || signal.is_of_requests());
        }
        assert_eq!(Signal::named("errors"), None);
    }
}
