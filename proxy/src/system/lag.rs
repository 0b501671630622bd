//! The scheduling lag of a runtime: the first sign of something that blocks it, or of too few processors.

use std::time::Duration;

use prometheus::{Histogram, Result};

use crate::clock;
use crate::metrics::Metrics;
use crate::metrics::catalog::{LAG_EDGES_S, RUNTIME_LAG};

/// How often the lag is measured.
const INTERVAL: Duration = Duration::from_secs(1);

/// Registers the histogram of the lag.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name.
pub fn register(metrics: &Metrics) -> Result<Histogram> {
    metrics.histogram(RUNTIME_LAG, &LAG_EDGES_S)?.series(&[])
}

/// Observes how late a timer of this runtime fires, for ever. Timers have a resolution of one millisecond: up to
/// that is not lag.
pub async fn watch(lag: Histogram) {
    loop {
        let due = clock::now() + INTERVAL;
        tokio::time::sleep_until(due.into()).await;
        let late = clock::now().saturating_duration_since(due);
        lag.observe(late.as_secs_f64());
    }
}
