//! The shipper: takes events out of the spool in batches, and sees to it that they arrive.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use super::bulk::Wait;
use super::dead_letter::DeadLetters;
use super::delivery::{self, Delivered};
use super::ledger::{Ledger, Settled};
use super::metrics::ShipperMetrics;
use super::nodes::Nodes;
use super::obstacle::Present;
use super::pace::{self, Window};
use super::setup::{self, SetUp};
use super::spool::{Next, Reader, Spool, Spooled};
use super::{Batch, Config};
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::worker::Worker;
use crate::worker::runtime::StopSignal;
use crate::{clock, random};

/// A failure that goes on is told at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);
const DISK: &str = "spool: the disk does not take it";
/// When nothing is due, somebody looks all the same.
const IDLE: Duration = Duration::from_secs(1);
/// A stopping weir does not wait for an index that has taken nothing for so long.
const STANDSTILL_MAX: Duration = Duration::from_secs(2);

/// What all deliveries share.
pub(super) struct Shared {
    pub(super) spool: Arc<Spool>,
    pub(super) ledger: Ledger,
    pub(super) nodes: Nodes,
    pub(super) dead_letters: DeadLetters,
    pub(super) metrics: ShipperMetrics,
    pub(super) bulk_path: String,
    pub(super) worker: Worker,
    config: Config,
    window: Mutex<Window>,
    obstacle: Present,
    /// Of weir's own: its disk.
    disk_throttle: Mutex<LogThrottle>,
    /// Until when it may go on; `None` as long as weir is not stopping.
    stopping: StopSignal,
}

impl Shared {
    pub(super) fn new(
        config: &Config,
        nodes: Nodes,
        spool: Arc<Spool>,
        ledger: Ledger,
        (metrics, obstacle, worker): (ShipperMetrics, Present, Worker),
        stopping: StopSignal,
    ) -> Self {
        let filter = "filter_path=errors,took,items.*.status,items.*.failure_store,items.*.error.type,items.*.error.reason";
        Shared {
            dead_letters: DeadLetters::new(spool.directory()),
            spool,
            ledger,
            nodes,
            metrics,
            bulk_path: format!("/{}/_bulk?{filter}", config.data_stream),
            worker,
            config: config.clone(),
            window: Mutex::new(Window::new()),
            obstacle,
            disk_throttle: Mutex::new(LogThrottle::every(LOG_INTERVAL)),
            stopping,
        }
    }

    /// Books an event once: what is sent again after a panic may have been settled before.
    pub(super) fn settle(&self, event: &Spooled, how: Settled) {
        let news = self.spool.acknowledge(event.number, event.number + 1);
        self.ledger.settle(how, news);
    }

    /// A request was answered as it should be.
    pub(super) fn went_well(&self, node: &str) {
        self.window.lock().went_well();
        self.metrics.up.set(1);
        self.obstacle.gone(node);
    }

    /// So many events have to be sent again.
    pub(super) fn pushed_back(&self, node: &str, wait: &Wait, events: usize) {
        self.window.lock().pushed_back();
        self.metrics.up.set(0);
        let now = (clock::now(), clock::unix_now());
        self.obstacle.met(node, wait, events, now);
    }

    /// Waits before a next try. A stopping weir tries no more.
    pub(super) async fn wait_unless_stopping(&self, wait: Duration) -> Delivered {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(wait) => Delivered::All,
            _ = stopping.wait_for(Option::is_some) => Delivered::GaveUp,
        }
    }

    /// Something of weir's own fails. It is told from time to time, and tried again.
    fn complain(&self, what: &str, error: &std::io::Error) {
        if self.disk_throttle.lock().failed(clock::now()) == LogDecision::Log {
            log::error!("{what}: {error}");
        }
    }

    fn stops_at(&self) -> Option<Instant> {
        *self.stopping.borrow()
    }
}

/// Events that wait for company.
struct Waiting {
    events: Vec<Spooled>,
    bytes: usize,
    since: Option<Instant>,
}

impl Waiting {
    fn new() -> Self {
        Waiting {
            events: Vec::new(),
            bytes: 0,
            since: None,
        }
    }

    /// When it is to be sent at the latest.
    fn due_at(&self, batch: &Batch) -> Option<Instant> {
        self.since.map(|since| since + batch.wait)
    }

    fn is_due(&self, batch: &Batch, now: Instant) -> bool {
        self.events.len() >= batch.events
            || self.bytes >= batch.bytes
            || self.due_at(batch).is_some_and(|due| due <= now)
    }

    fn take(&mut self) -> Vec<Spooled> {
        (self.bytes, self.since) = (0, None);
        std::mem::take(&mut self.events)
    }

    /// Takes more out of the spool, as far as there is room.
    fn fill(&mut self, shared: &Shared, reader: &mut Reader, now: Instant) {
        let batch = &shared.config.batch;
        while self.events.len() < batch.events && self.bytes < batch.bytes {
            let events_max = batch.events - self.events.len();
            match shared
                .spool
                .read(reader, events_max, batch.bytes - self.bytes)
            {
                Next::Empty => return,
                Next::Failed(error) => {
                    return shared.complain("spool: it cannot be read now", &error);
                }
                Next::Lost(from, to) => {
                    log::error!("spool: events {from} to {} cannot be read any more", to - 1);
                    let news = shared.spool.acknowledge(from, to);
                    shared.ledger.settle(Settled::Lost, news);
                }
                Next::Events(events) => {
                    self.since.get_or_insert(now);
                    self.bytes += events.iter().map(|event| event.line.len()).sum::<usize>();
                    self.events.extend(events);
                }
            }
        }
    }
}

/// Ships what is in the spool until weir stops, and then what can be shipped before the deadline.
pub(super) async fn run(shared: Arc<Shared>) -> Result<(), Infallible> {
    let mut reader = shared.spool.reader();
    let mut syncing = tokio::spawn(sync(shared.clone()));
    let shipping = async {
        if set_up(&shared).await == Delivered::All {
            ship(&shared, &mut reader).await;
        }
    };
    tokio::select! {
        () = shipping => {}
        () = standstill(&shared) => {}
        ended = &mut syncing => if let Err(error) = ended {
            panicked(error);
        },
    }
    syncing.abort();
    if let Err(error) = shared.spool.sync() {
        shared.complain(DISK, &error);
    }
    Ok(())
}

/// Ends when weir is stopping and nothing has been settled for a while.
async fn standstill(shared: &Shared) {
    let mut stopping = shared.stopping.clone();
    let mut left = None;
    // The sender lives as long as the shipper is wanted.
    let _ = stopping.wait_for(Option::is_some).await;
    loop {
        let spooled = shared.ledger.counts().spooled;
        if left == Some(spooled) {
            return;
        }
        left = Some(spooled);
        tokio::time::sleep(STANDSTILL_MAX).await;
    }
}

/// Sends the index its templates before the first event, so that no event makes an index without them.
async fn set_up(shared: &Shared) -> Delivered {
    let mut backoff = pace::backoff();
    loop {
        let Some(node) = shared.nodes.pick(clock::now()) else {
            return Delivered::GaveUp;
        };
        match setup::set_up(&shared.nodes, node, &shared.config).await {
            SetUp::Done => return Delivered::All,
            SetUp::Refused(why) => {
                log::error!(
                    "events: {} does not take the set-up of the index: {why}; events are shipped all the same",
                    node.name
                );
                return Delivered::All;
            }
            SetUp::Unavailable(wait) => {
                node.failed(clock::now());
                shared.pushed_back(&node.name, &wait, 0);
            }
        }
        let wait = backoff.next_with_jitter(random::bits() as u32);
        if shared.wait_unless_stopping(wait).await == Delivered::GaveUp {
            return Delivered::GaveUp;
        }
    }
}

async fn ship(shared: &Arc<Shared>, reader: &mut Reader) {
    shared.worker.fault_point();
    let batch = &shared.config.batch;
    let mut stopping = shared.stopping.clone();
    let mut waiting = Waiting::new();
    let mut deliveries = JoinSet::new();
    loop {
        let now = clock::now();
        let stops_at = shared.stops_at();
        let room = deliveries.len() < shared.window.lock().limit();
        if room {
            waiting.fill(shared, reader, now);
            let hurry = stops_at.is_some() && !waiting.events.is_empty();
            if hurry || waiting.is_due(batch, now) {
                deliveries.spawn(delivery::deliver(shared.clone(), waiting.take()));
                continue;
            }
        }
        if stops_at.is_some_and(|at| at <= now || (room && deliveries.is_empty())) {
            return;
        }
        let until = [waiting.due_at(batch).filter(|_| room), stops_at];
        let until = until.into_iter().flatten().min();
        let until = until.unwrap_or(now + IDLE).min(now + IDLE);
        tokio::select! {
            Some(ended) = deliveries.join_next(), if !deliveries.is_empty() => match ended {
                Ok(Delivered::All) => {}
                Ok(Delivered::GaveUp) => return,
                // Its events are in no hand any more: a new start reads them again.
                Err(error) => panicked(error),
            },
            () = shared.spool.arrived.notified(), if room => {}
            () = tokio::time::sleep_until(until.into()) => {}
            _ = stopping.changed(), if stops_at.is_none() => {}
        }
    }
}

/// A panic of a task is one of the shipper's.
fn panicked(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// Sees to it that the disk has what is in the spool.
async fn sync(shared: Arc<Shared>) {
    let mut tick = tokio::time::interval(shared.spool.sync_interval());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let spool = shared.spool.clone();
        let synced = tokio::task::spawn_blocking(move || spool.sync()).await;
        if let Ok(Err(error)) = synced {
            shared.complain(DISK, &error);
        }
    }
}
