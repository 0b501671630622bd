//! A guard that keeps a gauge of what is in use.

use prometheus::IntGauge;

/// Increments the gauge while it exists.
#[derive(Debug)]
pub(crate) struct InUse(IntGauge);

impl InUse {
    #[must_use]
    pub(crate) fn count(gauge: &IntGauge) -> Self {
        gauge.inc();
        InUse(gauge.clone())
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.dec();
    }
}
