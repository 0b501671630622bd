//! The scheduling lag of a runtime: the first sign of blocking calls or of too few processors.

use std::time::Duration;

use prometheus::{Histogram, Result};

use crate::clock;
use crate::metrics::Metrics;
use crate::metrics::catalog::{LAG_EDGES_S, RUNTIME_LAG};

/// How often the lag is measured.
const INTERVAL: Duration = Duration::from_secs(1);

/// Registers the lag histogram.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name.
pub fn register(metrics: &Metrics) -> Result<Histogram> {
    metrics.histogram(RUNTIME_LAG, &LAG_EDGES_S)?.series(&[])
}

/// Observes forever how late a timer of this runtime fires. Up to a millisecond is timer resolution, not lag.
pub async fn watch(lag: Histogram) {
    loop {
        let due = clock::now() + INTERVAL;
        tokio::time::sleep_until(due.into()).await;
        let late = clock::now().saturating_duration_since(due);
        lag.observe(late.as_secs_f64());
    }
}
