//! The scheduling lag of a runtime: the first sign of code that blocks it, or of too few processors.

use std::time::Duration;

use prometheus::{Histogram, Result};

use crate::clock;
use crate::metrics::Metrics;
use crate::metrics::catalog::{LAG_EDGES_S, RUNTIME_LAG};

/// The interval between measurements.
const INTERVAL: Duration = Duration::from_secs(1);

/// Registers the histogram of the lag.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name.
pub fn register(metrics: &Metrics) -> Result<Histogram> {
    metrics.histogram(RUNTIME_LAG, &LAG_EDGES_S)?.series(&[])
}

/// Observes the delay with which a timer of this runtime fires, until it is cancelled. Timers have a
/// resolution of one millisecond: a smaller delay is no lag.
pub async fn measure(lag: Histogram) {
    loop {
        let due = clock::now() + INTERVAL;
        tokio::time::sleep_until(due.into()).await;
        let delay = clock::now().saturating_duration_since(due);
        lag.observe(delay.as_secs_f64());
    }
}
