//! Delivers one batch: sends it until each of its events is settled.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;

use super::bulk::{self, BulkVerdict, ItemOutcome, RetryReason};
use super::condition::Condition;
use super::context::{DeliveryOutcome, ShipContext};
use super::dataset::Dataset;
use super::ledger::Settled;
use super::nodes::{Node, Payload};
use super::pace;
use super::spool::Spooled;
use crate::{clock, random};

/// The wait after a rejected credential.
const REJECTED_CREDENTIAL_WAIT: Duration = Duration::from_secs(10);

/// The next action after a request.
enum NextAction {
    Send(Vec<Spooled>),
    /// Send the same events again after the backoff, or after this wait.
    Wait(Vec<Spooled>, Option<Duration>),
    Done,
}

/// Delivers a batch of a dataset.
pub(super) async fn deliver(
    context: Arc<ShipContext>,
    dataset: Dataset,
    batch: Vec<Spooled>,
) -> DeliveryOutcome {
    let mut backoff = pace::backoff();
    let mut parts = vec![batch];
    while let Some(events) = parts.pop() {
        let mut events = events;
        loop {
            match send(&context, dataset, events, &mut parts).await {
                NextAction::Done => break,
                NextAction::Send(smaller) => events = smaller,
                NextAction::Wait(again, wait) => {
                    let wait =
                        wait.unwrap_or_else(|| backoff.next_with_jitter(random::bits() as u32));
                    if context.wait_unless_stopping(wait).await == DeliveryOutcome::GaveUp {
                        return DeliveryOutcome::GaveUp;
                    }
                    events = match dataset {
                        Dataset::Access => again,
                        // Alerts may wait for their own data stream only, and must not keep segments of indexed
                        // request events on disk.
                        Dataset::Alert => context.spool.move_to_end(dataset, again),
                    };
                    if events.is_empty() {
                        break;
                    }
                }
            }
        }
        backoff.reset();
    }
    DeliveryOutcome::All
}

/// Sends events once, and settles those with a final outcome.
async fn send(
    context: &ShipContext,
    dataset: Dataset,
    events: Vec<Spooled>,
    parts: &mut Vec<Vec<Spooled>>,
) -> NextAction {
    let Some(node) = context.nodes.pick(clock::now()) else {
        return NextAction::Wait(events, None);
    };
    let begun = clock::now();
    let body = Payload::Lines(Bytes::from(bulk::body(
        &events,
        &context.streams.of(dataset).index_member,
    )));
    let path = &context.bulk_path;
    let response = context.nodes.send(node, Method::Post, path, body).await;
    let took = clock::now().saturating_duration_since(begun);
    context.bulk_duration.observe(took.as_secs_f64());
    context.worker.fault_point();
    let verdict = match response {
        Ok(response) => bulk::verdict(response.status, &response.body, events.len()),
        Err(error) => BulkVerdict::retry(Condition::Unreachable, error.to_string()),
    };
    match verdict {
        BulkVerdict::Items(items) => {
            node.succeeded();
            settle(context, dataset, node, events, items)
        }
        BulkVerdict::Retry(wait) => {
            node.failed(clock::now());
            context.on_backpressure(dataset, &node.name, &wait, events.len());
            NextAction::Wait(events, pause(wait.condition))
        }
        BulkVerdict::Split { status, reason } if events.len() == 1 => {
            let items = vec![ItemOutcome::Rejected { status, reason }];
            settle(context, dataset, node, events, items)
        }
        BulkVerdict::Split { .. } => {
            let mut events = events;
            parts.push(events.split_off(events.len() / 2));
            NextAction::Send(events)
        }
    }
}

/// A rejected credential is retried rarely: some servers lock out clients that retry often.
const fn pause(condition: Condition) -> Option<Duration> {
    match condition {
        Condition::Unauthenticated | Condition::Forbidden => Some(REJECTED_CREDENTIAL_WAIT),
        _ => None,
    }
}

/// Settles each event by its item. Returns the events that have to be sent again.
fn settle(
    context: &ShipContext,
    dataset: Dataset,
    node: &Node,
    events: Vec<Spooled>,
    items: Vec<ItemOutcome>,
) -> NextAction {
    let mut again = Vec::new();
    let mut obstacle: Option<RetryReason> = None;
    let mut rejected = Vec::new();
    for (event, item) in events.into_iter().zip(items) {
        match item {
            ItemOutcome::Indexed => context.settle(&event, Settled::Indexed),
            ItemOutcome::FailureStore => context.settle(&event, Settled::FailureStore),
            ItemOutcome::Duplicate => context.settle(&event, Settled::Duplicate),
            ItemOutcome::Retry(wait) => {
                obstacle.get_or_insert(wait);
                again.push(event);
            }
            ItemOutcome::Rejected { status, reason } => rejected.push((event, status, reason)),
        }
    }
    if !rejected.is_empty() {
        let letters = rejected.iter();
        let letters = letters.map(|(event, status, reason)| (event, *status, &**reason));
        let written = context.dead_letters.append(letters);
        match written {
            Ok(()) => {
                let (_, status, reason) = &rejected[0];
                let count = rejected.len();
                log::error!(
                    "events: {} permanently rejected {count}, the first with {status}, {reason}; they are in {}",
                    node.name,
                    context
                        .spool
                        .directory()
                        .join("dead-letter.ndjson")
                        .display()
                );
                rejected
                    .iter()
                    .for_each(|(event, _, _)| context.settle(event, Settled::DeadLetter));
            }
            // Not written, so not settled: the events are sent, and rejected, again.
            Err(error) => {
                log::error!("events: cannot write the dead-letter file: {error}");
                again.extend(rejected.into_iter().map(|(event, _, _)| event));
                if obstacle.is_none() {
                    return NextAction::Wait(again, None);
                }
            }
        }
    }
    let Some(wait) = obstacle else {
        context.on_success(dataset, &node.name);
        return NextAction::Done;
    };
    context.on_backpressure(dataset, &node.name, &wait, again.len());
    NextAction::Wait(again, pause(wait.condition))
}
