//! The destinations of lines, and the accounting for lines.

use std::fmt;
use std::io;
use std::time::Duration;

use prometheus::{IntCounter, Result};

use super::batch::BatchLines;
use crate::metrics::{Metrics, catalog};

/// A destination of lines.
pub(crate) trait LineSink: Send {
    /// Writes as many lines as possible. `now` is the time since the Unix epoch.
    fn write(&mut self, lines: BatchLines<'_>, now: Duration) -> WriteOutcome;

    /// Makes what was written durable.
    fn sync(&mut self) {}

    /// Gives up a write that panicked. Returns how many of its lines are known to be written.
    fn abandon(&mut self) -> usize {
        0
    }
}

/// The result of a write.
#[derive(Debug)]
pub(crate) struct WriteOutcome {
    /// How many lines were written completely.
    pub(crate) lines: usize,
    /// Why the rest was not written.
    pub(crate) error: Option<io::Error>,
}

/// Accounts for lines: each accepted line is either written or dropped.
pub(crate) trait Accounting: Send + Sync + fmt::Debug {
    /// A line was handed over and is not written yet.
    fn accept(&self);

    /// Accepted lines were written or dropped.
    fn settle(&self, written: u64, dropped: u64);
}

/// The counters of `weir_events_total` that need no spool.
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
