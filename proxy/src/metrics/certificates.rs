//! When the certificates of the listeners end.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Registry, Result};

use super::catalog::CERTIFICATE_NOT_AFTER;
use super::read;

/// The ends as they are shown; a clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Certificates {
    /// The address of a listener, and seconds since the Unix epoch.
    ends: Arc<Mutex<Vec<(String, i64)>>>,
}

impl Certificates {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let certificates = Certificates::default();
        registry.register(Box::new(Shown {
            descs: read::descs(&[CERTIFICATE_NOT_AFTER])?,
            certificates: certificates.clone(),
        }))?;
        Ok(certificates)
    }

    /// Shows these instead of those before.
    pub fn show(&self, ends: &[(String, i64)]) {
        *self.ends.lock() = ends.to_vec();
    }
}

struct Shown {
    descs: Vec<Desc>,
    certificates: Certificates,
}

impl Collector for Shown {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let ends = self.certificates.ends.lock().clone();
        // A family without series is not told: promtool takes it for a mistake.
        if ends.is_empty() {
            return Vec::new();
        }
        let labels: Vec<[&str; 1]> = ends.iter().map(|(address, _)| [&**address]).collect();
        let values = labels.iter().zip(&ends);
        let values: Vec<(&[&str], f64)> = values
            .map(|(labels, (_, end))| (&labels[..], *end as f64))
            .collect();
        vec![read::family(&CERTIFICATE_NOT_AFTER, &values)]
    }
}
