//! The metric that shows when the certificates of the listeners expire.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::Result;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use crate::metrics::catalog::CERTIFICATE_NOT_AFTER;
use crate::metrics::{Metrics, snapshot};

/// The exposed expiry times. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct CertificateExpiry {
    /// The address of a listener, and seconds since the Unix epoch.
    not_after: Arc<Mutex<Vec<(String, i64)>>>,
}

impl CertificateExpiry {
    /// # Errors
    /// When the metric is registered already.
    pub(crate) fn register(metrics: &Metrics) -> Result<Self> {
        let expiry = CertificateExpiry::default();
        metrics.collect(ExpiryCollector {
            descs: snapshot::descs(&[CERTIFICATE_NOT_AFTER])?,
            expiry: expiry.clone(),
        })?;
        Ok(expiry)
    }

    /// Replaces what is exposed.
    pub(crate) fn set(&self, not_after: &[(String, i64)]) {
        *self.not_after.lock() = not_after.to_vec();
    }
}

struct ExpiryCollector {
    descs: Vec<Desc>,
    expiry: CertificateExpiry,
}

impl Collector for ExpiryCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let not_after = self.expiry.not_after.lock().clone();
        let labels: Vec<[&str; 1]> = not_after.iter().map(|(address, _)| [&**address]).collect();
        let values = labels.iter().zip(&not_after);
        let values: Vec<(&[&str], f64)> = values
            .map(|(labels, (_, at))| (&labels[..], *at as f64))
            .collect();
        vec![snapshot::family(&CERTIFICATE_NOT_AFTER, &values)]
    }
}
