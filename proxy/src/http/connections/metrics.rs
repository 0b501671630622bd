//! The metrics of client connections.

use prometheus::{IntCounter, IntGauge, Result};

use crate::metrics::{Metrics, catalog};

/// Counters of connections. Clones share their state.
#[derive(Clone, Debug)]
pub struct ConnectionCounts {
    pub open: IntGauge,
    /// Connections that continue reading after an early response.
    pub lingering: IntGauge,
    /// Beyond the limit, and closed after a response.
    pub refused_answered: IntCounter,
    /// Beyond the limit, and closed without a response.
    pub refused_closed: IntCounter,
    /// Closed because of a flood of HTTP/2 frames.
    pub flooded: IntCounter,
}

impl ConnectionCounts {
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub fn register(metrics: &Metrics) -> Result<Self> {
        let refused = metrics.counter(catalog::CONNECTIONS_REFUSED)?;
        Ok(ConnectionCounts {
            open: metrics.gauge(catalog::CONNECTIONS)?.series(&[])?,
            lingering: metrics.gauge(catalog::CONNECTIONS_LINGERING)?.series(&[])?,
            refused_answered: refused.series(&["answered"])?,
            refused_closed: refused.series(&["closed"])?,
            flooded: metrics.counter(catalog::HTTP2_FLOODS)?.series(&[])?,
        })
    }

    /// Counters that nothing exposes.
    #[cfg(test)]
    pub(crate) fn unexposed() -> Self {
        let metrics = Metrics::new().expect("metrics");
        ConnectionCounts::register(&metrics).expect("the catalog names them")
    }
}
