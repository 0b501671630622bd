//! The state that all deliveries share.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use prometheus::Histogram;

use super::Config;
use super::bulk::RetryReason;
use super::dataset::{Dataset, PerDataset};
use super::dead_letter::DeadLetters;
use super::ledger::{Ledger, Settled};
use super::nodes::Nodes;
use super::obstacle::CurrentObstacle;
use super::pace::ConcurrencyLimit;
use super::spool::{Spool, Spooled};
use crate::clock;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::worker::Worker;
use crate::worker::runtime::StopSignal;

/// A failure that lasts is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// The members of a bulk response that are requested.
const FILTER: &str = "filter_path=errors,took,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason";

/// How the delivery of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryOutcome {
    All,
    /// weir is stopping and the index accepts no events: the rest stays in the spool.
    GaveUp,
}

/// The state that all deliveries share.
pub(super) struct ShipContext {
    pub(super) spool: Arc<Spool>,
    pub(super) nodes: Nodes,
    pub(super) dead_letters: DeadLetters,
    pub(super) bulk_duration: Histogram,
    pub(super) bulk_path: String,
    pub(super) worker: Worker,
    pub(super) config: Config,
    pub(super) streams: PerDataset<StreamState>,
    /// Throttles logs of failures of weir's own disk.
    disk_throttle: Mutex<LogThrottle>,
    pub(super) stopping: StopSignal,
}

/// The state of one data stream: a problem with one does not block the other.
pub(super) struct StreamState {
    /// Its `_index` member in the actions of a bulk request; empty if the path names it.
    pub(super) index_member: String,
    pub(super) limit: Mutex<ConcurrencyLimit>,
    ledger: Ledger,
    obstacle: CurrentObstacle,
}

impl ShipContext {
    pub(super) fn new(
        config: &Config,
        nodes: Nodes,
        spool: Arc<Spool>,
        (ledgers, obstacles): (&PerDataset<Ledger>, &PerDataset<CurrentObstacle>),
        (bulk_duration, worker): (Histogram, Worker),
        stopping: StopSignal,
    ) -> Self {
        ShipContext {
            dead_letters: DeadLetters::new(spool.directory()),
            spool,
            nodes,
            bulk_duration,
            bulk_path: format!("/{}/_bulk?{FILTER}", config.data_stream),
            worker,
            streams: PerDataset::make(|dataset| StreamState {
                index_member: dataset.index_member(&config.data_stream),
                limit: Mutex::new(ConcurrencyLimit::new()),
                ledger: ledgers.of(dataset).clone(),
                obstacle: obstacles.of(dataset).clone(),
            }),
            config: config.clone(),
            disk_throttle: Mutex::new(LogThrottle::every(LOG_INTERVAL)),
            stopping,
        }
    }

    /// Settles an event. Counts it once, even if it is settled again after a panic.
    pub(super) fn settle(&self, event: &Spooled, how: Settled) {
        self.settle_range(event.number, event.number + 1, how);
    }

    /// Settles the events from `first` up to before `end`.
    pub(super) fn settle_range(&self, first: u64, end: u64, how: Settled) {
        let news = self.spool.acknowledge(first, end);
        for dataset in Dataset::ALL {
            let stream = self.streams.of(dataset);
            stream.ledger.settle(how, *news.of(dataset));
        }
    }

    /// How many events are in the spool.
    pub(super) fn spooled(&self) -> u64 {
        let ledgers = Dataset::ALL.map(|dataset| &self.streams.of(dataset).ledger);
        ledgers.iter().map(|ledger| ledger.counts().spooled).sum()
    }

    /// All events of a request are settled.
    pub(super) fn on_success(&self, dataset: Dataset, node: &str) {
        let stream = self.streams.of(dataset);
        stream.limit.lock().on_success();
        stream.obstacle.clear(node);
    }

    /// Notes that `events` events have to be sent again.
    pub(super) fn on_backpressure(
        &self,
        dataset: Dataset,
        node: &str,
        wait: &RetryReason,
        events: usize,
    ) {
        let stream = self.streams.of(dataset);
        stream.limit.lock().on_backpressure();
        let now = (clock::now(), clock::unix_now());
        stream.obstacle.note_retry(node, wait, events, now);
    }

    /// Waits before the next attempt, or gives up when weir is stopping.
    pub(super) async fn wait_unless_stopping(&self, wait: Duration) -> DeliveryOutcome {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => DeliveryOutcome::All,
            _ = stopping.wait_for(Option::is_some) => DeliveryOutcome::GaveUp,
        }
    }

    /// Logs a failure of weir's own disk, rate-limited. The operation is retried.
    pub(super) fn log_failure(&self, what: &str, error: &std::io::Error) {
        if self.disk_throttle.lock().failed(clock::now()) == LogDecision::Log {
            log::error!("{what}: {error}");
        }
    }

    pub(super) fn stops_at(&self) -> Option<Instant> {
        *self.stopping.borrow()
    }
}
