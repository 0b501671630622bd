//! The shipper: reads events from the spool in batches and delivers them to the index.
//!
//! Each data stream has its own batches and its own limit of concurrent requests (AIMD), so that one
//! that accepts nothing does not hold up the other.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinSet};
use tokio::time::MissedTickBehavior;

use super::Batch;
use super::context::{Context, Delivered};
use super::dataset::{Dataset, PerDataset};
use super::delivery;
use super::ledger::Settled;
use super::pace;
use super::setup::{self, SetUp};
use super::spool::{Next, Reader, Spooled};
use crate::{clock, random};

const DISK: &str = "spool: cannot sync to disk";
/// The longest time between two looks into the spool.
const IDLE: Duration = Duration::from_secs(1);
/// A stopping weir does not wait for an index that has accepted nothing for so long.
const STANDSTILL_MAX: Duration = Duration::from_secs(2);

/// Events of one data stream that wait to be sent together.
#[derive(Default)]
struct Waiting {
    events: Vec<Spooled>,
    bytes: usize,
    since: Option<Instant>,
    /// Batches that are being delivered.
    in_flight: usize,
    /// Whether batches may be sent: from the set-up of the data stream on, until one is given up.
    is_open: bool,
}

impl Waiting {
    /// When it has to be sent at the latest.
    fn due_at(&self, batch: &Batch) -> Option<Instant> {
        self.since.map(|since| since + batch.wait)
    }

    fn is_full(&self, batch: &Batch) -> bool {
        self.events.len() >= batch.events || self.bytes >= batch.bytes
    }

    fn is_due(&self, batch: &Batch, now: Instant) -> bool {
        self.is_full(batch) || self.due_at(batch).is_some_and(|due| due <= now)
    }

    fn push(&mut self, event: Spooled, now: Instant) {
        self.since.get_or_insert(now);
        self.bytes += event.line.len();
        self.events.push(event);
    }

    /// Takes one batch: what waits may be more, of a data stream that accepts nothing.
    fn take(&mut self, batch: &Batch) -> Vec<Spooled> {
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

/// Reads from the spool, as long as events of requests do not fill a batch. The transitions of alerts are
/// few, and the spool bounds them.
fn fill(waiting: &mut PerDataset<Waiting>, context: &Context, reader: &mut Reader, now: Instant) {
    let batch = &context.config.batch;
    while !waiting.access.is_full(batch) {
        let events_max = batch.events - waiting.access.events.len();
        let bytes_max = batch.bytes - waiting.access.bytes;
        match context.spool.read(reader, events_max, bytes_max) {
            Next::Empty => return,
            Next::Failed(error) => {
                return context.log_failure("spool: it cannot be read now", &error);
            }
            Next::Lost(from, to) => {
                log::error!("spool: events {from} to {} can no longer be read", to - 1);
                context.settle_range(from, to, Settled::Lost);
            }
            Next::Events(events) => {
                for event in events {
                    waiting.of_mut(event.dataset).push(event, now);
                }
            }
        }
    }
}

/// Ships what is in the spool until weir stops, and then what can be shipped before the deadline.
pub(super) async fn run(context: Arc<Context>) -> Result<(), Infallible> {
    let mut reader = context.spool.reader();
    let mut syncing = tokio::spawn(sync(context.clone()));
    let shipping = async {
        if set_up(&context, Dataset::Access).await == Delivered::All {
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

/// Ends when weir is stopping and nothing has been settled for a while.
async fn standstill(context: &Context) {
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

/// Sends the index its templates before the first event, so that no event creates an index without them.
async fn set_up(context: &Context, dataset: Dataset) -> Delivered {
    let mut backoff = pace::backoff();
    loop {
        let Some(node) = context.nodes.pick(clock::now()) else {
            return Delivered::GaveUp;
        };
        match setup::set_up(&context.nodes, node, &context.config, dataset).await {
            SetUp::Done => return Delivered::All,
            SetUp::Rejected(why) => {
                log::error!(
                    "events: {} rejects the set-up of the index: {why}; events are shipped all the same",
                    node.name
                );
                return Delivered::All;
            }
            SetUp::Unavailable(wait) => {
                node.failed(clock::now());
                context.on_backpressure(dataset, &node.name, &wait, 0);
            }
        }
        let wait = backoff.next_with_jitter(random::bits() as u32);
        if context.wait_unless_stopping(wait).await == Delivered::GaveUp {
            return Delivered::GaveUp;
        }
    }
}

async fn ship(context: &Arc<Context>, reader: &mut Reader) {
    context.worker.fault_point();
    let batch = &context.config.batch;
    let mut stopping = context.stopping.clone();
    let mut waiting = PerDataset::<Waiting>::default();
    waiting.access.is_open = true;
    // Only alerts wait for the set-up of their data stream.
    let mut alert_set_up = pin!(set_up(context, Dataset::Alert));
    let mut is_alert_set_up = false;
    let mut deliveries = JoinSet::new();
    loop {
        let now = clock::now();
        let stops_at = context.stops_at();
        let has_slot = |dataset: Dataset, waiting: &Waiting| {
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
                Ok((dataset, Delivered::All)) => waiting.of_mut(dataset).in_flight -= 1,
                Ok((Dataset::Access, Delivered::GaveUp)) => return,
                Ok((Dataset::Alert, Delivered::GaveUp)) => waiting.alert.is_open = false,
                // Nothing holds its events any more: after the restart they are read again.
                Err(error) => resume_panic(error),
            },
            ended = &mut alert_set_up, if !is_alert_set_up => {
                is_alert_set_up = true;
                waiting.alert.is_open = ended == Delivered::All;
            }
            () = context.spool.arrived.notified(), if has_slot => {}
            () = tokio::time::sleep_until(until.into()) => {}
            _ = stopping.changed(), if stops_at.is_none() => {}
        }
    }
}

/// A panic of a task is one of the shipper.
fn resume_panic(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

/// Syncs the spool to disk from time to time.
async fn sync(context: Arc<Context>) {
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
