//! The output that `record` writes to: appends request events to the spool, from which the shipper reads them.

use std::sync::Arc;
use std::time::Duration;

use super::dataset::Dataset;
use super::ledger::Ledger;
use super::spool::Spool;
use crate::record::batch::BatchLines;
use crate::record::sink::{Accounting, LineSink, WriteOutcome};

/// The sink that appends to the spool.
pub(super) struct SpoolSink {
    spool: Arc<Spool>,
    /// How many events had been appended before the write that is in progress or panicked.
    begun: Option<u64>,
}

impl SpoolSink {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        SpoolSink { spool, begun: None }
    }
}

impl LineSink for SpoolSink {
    fn write(&mut self, lines: BatchLines<'_>, _now: Duration) -> WriteOutcome {
        // Nothing else appends request events: those added since are these lines, from a write that panicked.
        let appended = || self.spool.appended(Dataset::Access);
        let begun = *self.begun.get_or_insert_with(appended);
        let before = appended_since(&self.spool, begun);
        let events = lines
            .last(lines.count().saturating_sub(before))
            .map(|line| (line.id.as_bytes(), line.bytes));
        let (appended, outcome) = self.spool.append(Dataset::Access, events);
        self.begun = None;
        WriteOutcome {
            lines: before + appended,
            error: outcome.err(),
        }
    }

    fn abandon(&mut self) -> usize {
        let begun = self.begun.take();
        begun.map_or(0, |begun| appended_since(&self.spool, begun))
    }

    fn sync(&mut self) {
        if let Err(error) = self.spool.sync() {
            log::error!("spool: cannot sync to disk: {error}");
        }
    }
}

fn appended_since(spool: &Spool, begun: u64) -> usize {
    let appended = spool.appended(Dataset::Access);
    usize::try_from(appended.saturating_sub(begun)).unwrap_or(usize::MAX)
}

impl Accounting for Ledger {
    fn accept(&self) {
        self.record();
    }

    /// The spool itself accounts for the lines that it accepts.
    fn settle(&self, _written: u64, dropped: u64) {
        if dropped > 0 {
            self.drop_from_channel(dropped);
        }
    }
}

#[cfg(test)]
#[path = "sink_tests.rs"]
mod tests;
