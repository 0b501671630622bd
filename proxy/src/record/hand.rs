//! What the writer of lines has in hand, and where lines go.

use std::io;
use std::time::Duration;

use prometheus::IntCounter;

use super::batch::{Batch, Lines};
use crate::clock;
use crate::log_throttle::{LogThrottle, Telling};
use crate::ship::ledger::Ledger;

/// A sink that goes on failing is logged at most this often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// Where lines go in the end.
pub(super) trait Sink: Send {
    /// Writes all lines it can. `now` is the time since the Unix epoch.
    fn write(&mut self, lines: Lines<'_>, now: Duration) -> Written;

    /// Makes sure that what was written outlives the machine.
    fn sync(&mut self) {}

    /// How many lines of a write that panicked are known to be written; they are given up now.
    fn kept(&mut self) -> usize {
        0
    }
}

/// What became of some lines.
#[derive(Debug)]
pub(super) struct Written {
    /// How many lines are written whole.
    pub(super) lines: usize,
    /// Why the rest is not.
    pub(super) error: Option<io::Error>,
}

/// Where it is written down what became of lines. Of several sinks one counts.
#[derive(Clone, Debug)]
pub(super) enum Books {
    Counters(Tally),
    /// The spool books what it takes by itself.
    Ledger(Ledger),
    None,
}

/// Counts lines.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    pub(super) recorded: IntCounter,
    pub(super) dropped: IntCounter,
}

/// What the writer has taken and not settled yet; it outlives a panic.
#[derive(Debug)]
pub(super) struct Hand {
    pub(super) batch: Batch,
    pub(super) attempts: u32,
    complaint: LogThrottle,
    /// Lines that are lost, and not told of yet.
    untold: usize,
}

impl Hand {
    pub(super) fn new() -> Self {
        Hand {
            batch: Batch::default(),
            attempts: 0,
            complaint: LogThrottle::every(COMPLAINT_INTERVAL),
            untold: 0,
        }
    }

    pub(super) fn settle(&mut self) {
        self.batch.clear();
        self.attempts = 0;
    }

    pub(super) fn tell_lost(&mut self, lost: usize, why: &io::Error) {
        self.untold += lost;
        if self.complaint.note(clock::now()) == Telling::Due {
            log::error!("{} events were not written: {why}", self.untold);
            self.untold = 0;
        }
    }
}
