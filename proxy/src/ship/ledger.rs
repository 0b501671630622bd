//! What became of every event, in one place, so that the books balance at every moment.
//!
//! recorded + recovered = indexed + failure store + duplicate + dead letter + dropped + spooled + in the channel.

use std::sync::Arc;

use parking_lot::Mutex;

/// How many events there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Handed over by requests of this process.
    pub recorded: u64,
    /// Found in the spool at a start.
    pub recovered: u64,
    pub indexed: u64,
    /// Kept by the index in its failure store: it could not map them.
    pub failure_store: u64,
    /// In the index already: sent again because its first answer was lost.
    pub duplicate: u64,
    /// Refused by the index for good, and written to the dead-letter file.
    pub dead_letter: u64,
    pub dropped: u64,
    /// Now in the spool, and not known to be in the index.
    pub spooled: u64,
    /// Now between a request and the spool.
    pub in_channel: u64,
}

impl Counts {
    /// Whether what came in is what went out and what is there.
    #[must_use]
    pub fn balance(&self) -> bool {
        let came = self.recorded + self.recovered;
        let went =
            self.indexed + self.failure_store + self.duplicate + self.dead_letter + self.dropped;
        came == went + self.spooled + self.in_channel
    }
}

/// How an event left the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Indexed,
    FailureStore,
    Duplicate,
    DeadLetter,
    /// Its segment can no longer be read.
    Lost,
}

/// The books. A clone is the same books.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Counts>>);

impl Ledger {
    /// An event was handed to the channel.
    pub fn record(&self) {
        let mut counts = self.0.lock();
        counts.recorded += 1;
        counts.in_channel += 1;
    }

    /// Events of the channel were dropped.
    pub fn drop_from_channel(&self, events: u64) {
        let mut counts = self.0.lock();
        counts.in_channel = counts.in_channel.saturating_sub(events);
        counts.dropped += events;
    }

    /// Events of the channel are in the spool.
    pub fn spool(&self, events: u64) {
        let mut counts = self.0.lock();
        counts.in_channel = counts.in_channel.saturating_sub(events);
        counts.spooled += events;
    }

    /// Events were found in the spool.
    pub fn recover(&self, events: u64) {
        let mut counts = self.0.lock();
        counts.recovered += events;
        counts.spooled += events;
    }

    /// Events left the spool.
    pub fn settle(&self, how: Settled, events: u64) {
        let mut counts = self.0.lock();
        counts.spooled = counts.spooled.saturating_sub(events);
        *match how {
            Settled::Indexed => &mut counts.indexed,
            Settled::FailureStore => &mut counts.failure_store,
            Settled::Duplicate => &mut counts.duplicate,
            Settled::DeadLetter => &mut counts.dead_letter,
            Settled::Lost => &mut counts.dropped,
        } += events;
    }

    /// All of it at one moment.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_balance_after_every_step() {
        let ledger = Ledger::default();
        let steps: [&dyn Fn(); 9] = [
            &|| ledger.recover(7),
            &|| (0..20).for_each(|_| ledger.record()),
            &|| ledger.drop_from_channel(2),
            &|| ledger.spool(15),
            &|| ledger.settle(Settled::Indexed, 10),
            &|| ledger.settle(Settled::FailureStore, 1),
            &|| ledger.settle(Settled::Duplicate, 2),
            &|| ledger.settle(Settled::DeadLetter, 1),
            &|| ledger.settle(Settled::Lost, 2),
        ];
        for step in steps {
            step();
            assert!(ledger.counts().balance(), "{:?}", ledger.counts());
        }
        let counts = ledger.counts();
        assert_eq!(
            (counts.spooled, counts.in_channel, counts.dropped),
            (6, 3, 4)
        );
    }
}
