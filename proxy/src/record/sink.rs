//! Where lines go in the end, and how they are accounted for.

use std::fmt;
use std::io;
use std::time::Duration;

use prometheus::{IntCounter, Result};

use super::batch::Lines;
use crate::metrics::{Metrics, catalog};

/// A destination of lines.
pub(crate) trait Sink: Send {
    /// Writes all lines it can. `now` is the time since the Unix epoch.
    fn write(&mut self, lines: Lines<'_>, now: Duration) -> Written;

    /// Makes what was written durable.
    fn sync(&mut self) {}

    /// How many lines of a write that panicked are known to be written. That write is given up.
    fn abandon(&mut self) -> usize {
        0
    }
}

/// How much of a write succeeded.
#[derive(Debug)]
pub(crate) struct Written {
    /// How many lines are written whole.
    pub(crate) lines: usize,
    /// Why the rest is not.
    pub(crate) error: Option<io::Error>,
}

/// Accounts for lines: each that is accepted is written or dropped.
pub(crate) trait Accounting: Send + Sync + fmt::Debug {
    /// A line was handed over, and is not written yet.
    fn accept(&self);

    /// So many lines that were accepted are written, and so many dropped.
    fn settle(&self, written: u64, dropped: u64);
}

/// The counters of events in `weir_events_total` that need no spool.
#[derive(Clone, Debug)]
pub(crate) struct EventCounts {
    pub(crate) recorded: IntCounter,
    pub(crate) dropped: IntCounter,
    /// Left out by `events.sample`.
    pub(crate) sampled_out: IntCounter,
}

impl EventCounts {
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub(crate) fn register(metrics: &Metrics) -> Result<Self> {
        let events = metrics.counter(catalog::EVENTS)?;
        Ok(EventCounts {
            recorded: events.series(&["recorded"])?,
            dropped: events.series(&["dropped"])?,
            sampled_out: events.series(&["sampled_out"])?,
        })
    }
}

impl Accounting for EventCounts {
    fn accept(&self) {}

    fn settle(&self, written: u64, dropped: u64) {
        self.recorded.inc_by(written);
        self.dropped.inc_by(dropped);
    }
}
