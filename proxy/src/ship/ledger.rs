//! The ledger: accounts for every event under one lock, so that it balances at any moment.
//!
//! recorded + recovered = indexed + failure store + duplicate + dead letter + dropped + spooled + in the channel.

use std::sync::Arc;

use parking_lot::Mutex;

/// Events by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerCounts {
    /// Recorded by this process.
    pub recorded: u64,
    /// Found in the spool at startup.
    pub recovered: u64,
    pub indexed: u64,
    /// In the failure store of the index because it could not map them.
    pub failure_store: u64,
    /// Already in the index: sent again because the first response was lost.
    pub duplicate: u64,
    /// Permanently rejected by the index, and written to the dead-letter file.
    pub dead_letter: u64,
    pub dropped: u64,
    /// Currently in the spool and not known to be in the index.
    pub spooled: u64,
    /// Currently on the way to the spool.
    pub in_channel: u64,
}

impl LedgerCounts {
    /// Whether every event that came in is accounted for.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
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

/// The ledger of one dataset. Clones share their state.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<LedgerCounts>>);

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

    /// Events of the spool go back to the channel.
    pub fn unspool(&self, events: u64) {
        let mut counts = self.0.lock();
        counts.spooled = counts.spooled.saturating_sub(events);
        counts.in_channel += events;
    }

    /// Events of another spool are on the way to this one.
    pub fn adopt(&self, events: u64) {
        let mut counts = self.0.lock();
        counts.recovered += events;
        counts.in_channel += events;
    }

    /// Reverts [`Ledger::adopt`] for events that stay in the other spool.
    pub fn disown(&self, events: u64) {
        let mut counts = self.0.lock();
        counts.recovered = counts.recovered.saturating_sub(events);
        counts.in_channel = counts.in_channel.saturating_sub(events);
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

    /// A consistent snapshot.
    #[must_use]
    pub fn counts(&self) -> LedgerCounts {
        *self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_balances_after_every_step() {
        let ledger = Ledger::default();
        let steps: [&dyn Fn(); 12] = [
            &|| ledger.recover(7),
            &|| (0..20).for_each(|_| ledger.record()),
            &|| ledger.drop_from_channel(2),
            &|| ledger.spool(15),
            &|| ledger.adopt(5),
            &|| ledger.disown(5),
            &|| {
                ledger.unspool(2);
                assert!(ledger.counts().is_balanced());
                ledger.spool(2);
            },
            &|| ledger.settle(Settled::Indexed, 10),
            &|| ledger.settle(Settled::FailureStore, 1),
            &|| ledger.settle(Settled::Duplicate, 2),
            &|| ledger.settle(Settled::DeadLetter, 1),
            &|| ledger.settle(Settled::Lost, 2),
        ];
        for step in steps {
            step();
            assert!(ledger.counts().is_balanced(), "{:?}", ledger.counts());
        }
        let counts = ledger.counts();
        assert_eq!(
            (counts.spooled, counts.in_channel, counts.dropped),
            (6, 3, 4)
        );
    }
}
