//! The shipper: reads events from the spool in batches and delivers them to the index.
//!
//! Each data stream has its own batches and its own limit of concurrent requests (AIMD), so that one that accepts
//! no events does not block the other.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use super::BatchLimits;
use super::context::{DeliveryOutcome, ShipContext};
use super::dataset::{Dataset, PerDataset};
use super::delivery;
use super::ledger::Settled;
use super::pace;
use super::setup::{self, SetUp};
use super::spool::{SpoolRead, SpoolReader, Spooled};
use crate::{clock, random};

const DISK: &str = "spool: cannot sync to disk";
/// The longest time between two reads of the spool.
const IDLE: Duration = Duration::from_secs(1);
/// A stop does not wait for an index that has settled no event for this long.
const STANDSTILL_MAX: Duration = Duration::from_secs(2);

/// The events of one data stream that are waiting to be sent.
#[derive(Default)]
struct StreamQueue {
    events: Vec<Spooled>,
    bytes: usize,
    since: Option<Instant>,
    /// Batches that are being delivered.
    in_flight: usize,
    /// Whether batches may be sent: once the data stream is set up, until a delivery gives up.
    is_open: bool,
}

impl StreamQueue {
    /// The latest time to send it.
    fn due_at(&self, batch: &BatchLimits) -> Option<Instant> {
        self.since.map(|since| since + batch.wait)
    }

    fn is_full(&self, batch: &BatchLimits) -> bool {
        self.events.len() >= batch.events || self.bytes >= batch.bytes
    }

    fn is_due(&self, batch: &BatchLimits, now: Instant) -> bool {
        self.is_full(batch) || self.due_at(batch).is_some_and(|due| due <= now)
    }

    fn push(&mut self, event: Spooled, now: Instant) {
        self.since.get_or_insert(now);
        self.bytes += event.line.len();
        self.events.push(event);
    }

    /// Takes one batch; more may be waiting if the data stream accepts no events.
    fn take(&mut self, batch: &BatchLimits) -> Vec<Spooled> {
        let mut bytes = 0;
        let fits = |event: &&Spooled| {
            let has_room = bytes < batch.bytes;
            bytes += event.line.len();
            has_room
        };
        let count = self
            .events
            .iter()
            .take(batch.events)
            .take_while(fits)
            .count();
        let rest = self.events.split_off(count);
        let taken = std::mem::replace(&mut self.events, rest);
        self.bytes = self.events.iter().map(|event| event.line.len()).sum();
        if self.events.is_empty() {
            self.since = None;
        }
        self.in_flight += 1;
        taken
    }
}

/// Reads from the spool until request events fill a batch. Alert transitions are few, and the spool bounds them.
fn fill(
    waiting: &mut PerDataset<StreamQueue>,
    context: &ShipContext,
    reader: &mut SpoolReader,
    now: Instant,
) {
    let batch = &context.config.batch;
    while !waiting.access.is_full(batch) {
        let events_max = batch.events - waiting.access.events.len();
        let bytes_max = batch.bytes - waiting.access.bytes;
        match context.spool.read(reader, events_max, bytes_max) {
            SpoolRead::Empty => return,
            SpoolRead::Failed(error) => {
                return context.log_failure("spool: cannot be read now", &error);
            }
            SpoolRead::Lost(from, to) => {
                log::error!("spool: events {from} to {} can no longer be read", to - 1);
                context.settle_range(from, to, Settled::Lost);
            }
            SpoolRead::Events(events) => {
                for event in events {
                    waiting.of_mut(event.dataset).push(event, now);
                }
            }
        }
    }
}

/// Ships the events in the spool until weir stops, then as many as possible before the deadline.
pub(super) async fn run(context: Arc<ShipContext>) -> Result<(), Infallible> {
    let mut reader = context.spool.reader();
    let mut syncing = tokio::spawn(sync(context.clone()));
    let shipping = async {
        if set_up(&context, Dataset::Access).await == DeliveryOutcome::All {
            ship(&context, &mut reader).await;
        }
    };
    tokio::select! {
        () = shipping => {}
        () = standstill(&context) => {}
        ended = &mut syncing => if let Err(error) = ended {
            resume_panic(error);
        },
    }
    syncing.abort();
    if let Err(error) = context.spool.sync() {
        context.log_failure(DISK, &error);
    }
    Ok(())
}

/// Returns when weir is stopping and no event has been settled for a while.
async fn standstill(context: &ShipContext) {
    let mut stopping = context.stopping.clone();
    let mut before = None;
    // The sender lives as long as the shipper is needed.
    let _ = stopping.wait_for(Option::is_some).await;
    loop {
        let spooled = context.spooled();
        if before == Some(spooled) {
            return;
        }
        before = Some(spooled);
        tokio::time::sleep(STANDSTILL_MAX).await;
    }
}

/// Sets up the templates before the first event, so that no event creates an index without them.
async fn set_up(context: &ShipContext, dataset: Dataset) -> DeliveryOutcome {
    let mut backoff = pace::backoff();
    loop {
        let Some(node) = context.nodes.pick(clock::now()) else {
            return DeliveryOutcome::GaveUp;
        };
        match setup::set_up(&context.nodes, node, &context.config, dataset).await {
            SetUp::Done => return DeliveryOutcome::All,
            SetUp::Rejected(why) => {
                log::error!(
                    "events: {} rejects the set-up of the index: {why}; events are shipped anyway",
                    node.name
                );
                return DeliveryOutcome::All;
            }
            SetUp::Unavailable(wait) => {
                node.failed(clock::now());
                context.on_backpressure(dataset, &node.name, &wait, 0);
            }
        }
        let wait = backoff.next_with_jitter(random::bits() as u32);
        if context.wait_unless_stopping(wait).await == DeliveryOutcome::GaveUp {
            return DeliveryOutcome::GaveUp;
        }
    }
}

async fn ship(context: &Arc<ShipContext>, reader: &mut SpoolReader) {
    context.worker.fault_point();
    let batch = &context.config.batch;
    let mut stopping = context.stopping.clone();
    let mut waiting = PerDataset::<StreamQueue>::default();
    waiting.access.is_open = true;
    // Only alerts wait for the set-up of their data stream.
    let mut alert_set_up = pin!(set_up(context, Dataset::Alert));
    let mut is_alert_set_up = false;
    let mut deliveries = JoinSet::new();
    loop {
        let now = clock::now();
        let stops_at = context.stops_at();
        let has_slot = |dataset: Dataset, waiting: &StreamQueue| {
            let limit = context.streams.of(dataset).limit.lock().limit();
            waiting.is_open && waiting.in_flight < limit
        };
        if has_slot(Dataset::Access, &waiting.access) {
            fill(&mut waiting, context, reader, now);
        }
        let mut begun = false;
        let mut until = stops_at;
        for dataset in Dataset::ALL {
            let waiting = waiting.of_mut(dataset);
            if waiting.events.is_empty() || !has_slot(dataset, waiting) {
                continue;
            }
            if stops_at.is_some() || waiting.is_due(batch, now) {
                let events = waiting.take(batch);
                let delivery = delivery::deliver(context.clone(), dataset, events);
                deliveries.spawn(async move { (dataset, delivery.await) });
                begun = true;
            } else if let Some(due) = waiting.due_at(batch) {
                until = Some(until.map_or(due, |until| until.min(due)));
            }
        }
        if begun {
            continue;
        }
        let is_over = |at: Instant| at <= now || deliveries.is_empty();
        if stops_at.is_some_and(is_over) {
            return;
        }
        let has_slot = has_slot(Dataset::Access, &waiting.access);
        let until = until.unwrap_or(now + IDLE).min(now + IDLE);
        tokio::select! {
            Some(ended) = deliveries.join_next(), if !deliveries.is_empty() => match ended {
                Ok((dataset, DeliveryOutcome::All)) => waiting.of_mut(dataset).in_flight -= 1,
                Ok((Dataset::Access, DeliveryOutcome::GaveUp)) => return,
                Ok((Dataset::Alert, DeliveryOutcome::GaveUp)) => waiting.alert.is_open = false,
                // Its events are read from the spool again after the restart.
                Err(error) => resume_panic(error),
            },
            ended = &mut alert_set_up, if !is_alert_set_up => {
                is_alert_set_up = true;
                waiting.alert.is_open = ended == DeliveryOutcome::All;
            }
            () = context.spool.arrived.notified(), if has_slot => {}
            () = tokio::time::sleep_until(until.into()) => {}
            _ = stopping.changed(), if stops_at.is_none() => {}
        }
    }
}

/// Propagates a panic of a task to the shipper.
fn resume_panic(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// Syncs the spool to disk periodically.
async fn sync(context: Arc<ShipContext>) {
    let mut tick = tokio::time::interval(context.spool.sync_interval());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let spool = context.spool.clone();
        let synced = tokio::task::spawn_blocking(move || spool.sync()).await;
        if let Ok(Err(error)) = synced {
            context.log_failure(DISK, &error);
        }
    }
}
