//! A gauge of what is in use now.

use prometheus::IntGauge;

/// Counts one more for as long as it lives.
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
