//! What goes up and down with the requests in work.

use prometheus::IntGauge;

/// What goes up and down; a clone is the same gauge.
#[derive(Clone, Debug)]
pub struct Gauges {
    pub in_flight: IntGauge,
}

/// One more for as long as this lives.
#[derive(Debug)]
pub struct Counted(IntGauge);

impl Counted {
    #[must_use]
    pub fn on(gauge: &IntGauge) -> Self {
        gauge.inc();
        Counted(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
