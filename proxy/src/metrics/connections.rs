//! What is counted of connections of clients.

use prometheus::{IntCounter, IntGauge, Registry, Result};

use super::catalog;
use super::family::Family;

/// Counts of connections; a clone is the same counts.
#[derive(Clone, Debug)]
pub struct ConnectionCounts {
    pub open: IntGauge,
    /// Those that read on after an early answer.
    pub lingering: IntGauge,
    /// One too many, and told so.
    pub refused_answered: IntCounter,
    /// One too many, and closed without a word.
    pub refused_closed: IntCounter,
    /// Closed for a flood of HTTP/2 frames.
    pub flooded: IntCounter,
}

impl ConnectionCounts {
    /// Shows them in `registry`.
    ///
    /// # Errors
    /// Only when the catalog names a metric wrongly.
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        let gauge = |definition| -> Result<IntGauge> {
            Family::register(registry, definition, &[])?.series(&[])
        };
        let refused: Family<IntCounter> =
            Family::register(registry, catalog::CONNECTIONS_REFUSED, &[])?;
        let flooded: Family<IntCounter> = Family::register(registry, catalog::HTTP2_FLOODS, &[])?;
        Ok(ConnectionCounts {
            open: gauge(catalog::CONNECTIONS)?,
            lingering: gauge(catalog::CONNECTIONS_LINGERING)?,
            refused_answered: refused.series(&["answered"])?,
            refused_closed: refused.series(&["closed"])?,
            flooded: flooded.series(&[])?,
        })
    }

    /// Counts that are shown nowhere.
    #[cfg(test)]
    pub(crate) fn unshown() -> Self {
        ConnectionCounts::register(&Registry::new()).expect("the catalog names them")
    }
}
