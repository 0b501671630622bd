//! The metrics of alerts: tiers, notifications, and writes to disk.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Gauge, LabelPair, Metric, MetricFamily, MetricType};
use prometheus::{IntCounter, IntGauge, Result};

use super::state::AlertState;
use crate::metrics::family::Family;
use crate::metrics::{Metrics, catalog, snapshot};

/// The families of alerts.
#[derive(Debug)]
pub struct AlertMetrics<'m> {
    metrics: &'m Metrics,
    notifications: Family<IntCounter>,
    writes: Family<IntCounter>,
}

/// The series of one notifier. Clones share them.
#[derive(Clone, Debug)]
pub struct NotifierCounts {
    pub sent: IntCounter,
    pub failed: IntCounter,
    /// Whether it took the last message.
    pub up: IntGauge,
}

/// The series of writes to one target. Clones share them.
#[derive(Clone, Debug)]
pub struct AlertWrites {
    pub written: IntCounter,
    pub failed: IntCounter,
    /// Too slow; their outcome is counted as well, once it is known.
    pub late: IntCounter,
    /// Dropped because too many were waiting.
    pub dropped: IntCounter,
}

impl<'m> AlertMetrics<'m> {
    /// Registers all of them but the tiers.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub fn register(metrics: &'m Metrics) -> Result<Self> {
        Ok(AlertMetrics {
            metrics,
            notifications: metrics.counter(catalog::ALERT_NOTIFICATIONS)?,
            writes: metrics.counter(catalog::ALERT_WRITES)?,
        })
    }

    /// The series of a notifier, exposed from its start on.
    ///
    /// # Errors
    /// Only when the catalog has an invalid name.
    pub fn notifier(&self, name: &str) -> Result<NotifierCounts> {
        let up = self.metrics.dependency(name)?;
        Ok(NotifierCounts {
            sent: self.notifications.series(&[name, "sent"])?,
            failed: self.notifications.series(&[name, "failed"])?,
            up,
        })
    }

    /// The series of writes to one target, exposed from now on.
    ///
    /// # Errors
    /// Only when the catalog has an invalid name.
    pub fn writes(&self, target: &str) -> Result<AlertWrites> {
        let series = |outcome| self.writes.series(&[target, outcome]);
        Ok(AlertWrites {
            written: series("written")?,
            failed: series("failed")?,
            late: series("late")?,
            dropped: series("dropped")?,
        })
    }
}

/// The exposed tiers. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct AlertTiers(Arc<Mutex<Vec<ShownTier>>>);

#[derive(Clone, Debug, PartialEq)]
struct ShownTier {
    labels: Vec<(&'static str, String)>,
    tier: f64,
}

impl AlertTiers {
    /// Registers their metric.
    ///
    /// # Errors
    /// When it is registered already.
    pub fn register(metrics: &Metrics) -> Result<Self> {
        let tiers = AlertTiers::default();
        metrics.collect(Tiers {
            descs: snapshot::descs(&[catalog::ALERT_TIER])?,
            tiers: tiers.clone(),
        })?;
        Ok(tiers)
    }

    /// Replaces the exposed tiers.
    pub fn show(&self, alerts: &[AlertState]) {
        let configured = alerts.iter().filter(|state| state.rule.is_some());
        let shown = configured.map(|state| {
            let rule = ("rule", state.key.rule.to_string());
            let label = state.key.label.iter();
            let label = label.map(|(name, value)| (*name, value.to_string()));
            ShownTier {
                labels: std::iter::once(rule).chain(label).collect(),
                tier: f64::from(state.tier as u8),
            }
        });
        *self.0.lock() = shown.collect();
    }
}

struct Tiers {
    descs: Vec<Desc>,
    tiers: AlertTiers,
}

impl Collector for Tiers {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let shown = self.tiers.0.lock().clone();
        let metrics = shown.into_iter().map(|shown| {
            let labels = shown.labels.into_iter().map(|(name, value)| {
                let mut label = LabelPair::default();
                label.set_name(name.to_owned());
                label.set_value(value);
                label
            });
            let mut gauge = Gauge::default();
            gauge.set_value(shown.tier);
            let mut metric = Metric::default();
            metric.set_label(labels.collect());
            metric.set_gauge(gauge);
            metric
        });
        let mut family = MetricFamily::default();
        family.set_name(catalog::ALERT_TIER.name.to_owned());
        family.set_help(catalog::ALERT_TIER.help.to_owned());
        family.set_field_type(MetricType::GAUGE);
        family.set_metric(metrics.collect());
        vec![family]
    }
}
