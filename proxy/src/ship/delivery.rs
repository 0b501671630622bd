//! The delivery of one batch: sent until each of its events is settled.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;

use super::bulk::{self, Item, Verdict, Wait};
use super::condition::Condition;
use super::context::{Context, Delivered};
use super::dataset::Dataset;
use super::ledger::Settled;
use super::nodes::{Node, Payload};
use super::pace;
use super::spool::Spooled;
use crate::{clock, random};

/// The wait after a rejected credential.
const REJECTED_CREDENTIAL_WAIT: Duration = Duration::from_secs(10);

/// What to do after a request.
enum Then {
    Send(Vec<Spooled>),
    /// Send the same events again after the backoff, or after this wait.
    Wait(Vec<Spooled>, Option<Duration>),
    Done,
}

/// Delivers a batch of a dataset.
pub(super) async fn deliver(
    context: Arc<Context>,
    dataset: Dataset,
    batch: Vec<Spooled>,
) -> Delivered {
    let mut backoff = pace::backoff();
    let mut parts = vec![batch];
    while let Some(events) = parts.pop() {
        let mut events = events;
        loop {
            match send(&context, dataset, events, &mut parts).await {
                Then::Done => break,
                Then::Send(smaller) => events = smaller,
                Then::Wait(again, wait) => {
                    let wait =
                        wait.unwrap_or_else(|| backoff.next_with_jitter(random::bits() as u32));
                    if context.wait_unless_stopping(wait).await == Delivered::GaveUp {
                        return Delivered::GaveUp;
                    }
                    events = match dataset {
                        Dataset::Access => again,
                        // They may wait for their data stream alone, and must not keep events of requests that
                        // are indexed on the disk.
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
    Delivered::All
}

/// Sends events once, and settles those that the response settles.
async fn send(
    context: &Context,
    dataset: Dataset,
    events: Vec<Spooled>,
    parts: &mut Vec<Vec<Spooled>>,
) -> Then {
    let Some(node) = context.nodes.pick(clock::now()) else {
        return Then::Wait(events, None);
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
        Err(error) => Verdict::retry(Condition::Unreachable, error.to_string()),
    };
    match verdict {
        Verdict::Items(items) => {
            node.succeeded();
            settle(context, dataset, node, events, items)
        }
        Verdict::Retry(wait) => {
            node.failed(clock::now());
            context.on_backpressure(dataset, &node.name, &wait, events.len());
            Then::Wait(events, pause(wait.condition))
        }
        Verdict::Split { status, reason } if events.len() == 1 => {
            let items = vec![Item::Rejected { status, reason }];
            settle(context, dataset, node, events, items)
        }
        Verdict::Split { .. } => {
            let mut events = events;
            parts.push(events.split_off(events.len() / 2));
            Then::Send(events)
        }
    }
}

/// A client without a valid credential tries seldom: some servers lock out those that try often.
const fn pause(condition: Condition) -> Option<Duration> {
    match condition {
        Condition::Unauthenticated | Condition::Forbidden => Some(REJECTED_CREDENTIAL_WAIT),
        _ => None,
    }
}

/// Settles each event by its item. What has to be sent again is given back.
fn settle(
    context: &Context,
    dataset: Dataset,
    node: &Node,
    events: Vec<Spooled>,
    items: Vec<Item>,
) -> Then {
    let mut again = Vec::new();
    let mut obstacle: Option<Wait> = None;
    let mut rejected = Vec::new();
    for (event, item) in events.into_iter().zip(items) {
        match item {
            Item::Indexed => context.settle(&event, Settled::Indexed),
            Item::FailureStore => context.settle(&event, Settled::FailureStore),
            Item::Duplicate => context.settle(&event, Settled::Duplicate),
            Item::Retry(wait) => {
                obstacle.get_or_insert(wait);
                again.push(event);
            }
            Item::Rejected { status, reason } => rejected.push((event, status, reason)),
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
                    "events: {} rejects {count} for good, the first with {status}, {reason}; they are in {}",
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
            // Not written, so not settled: it is sent, and rejected, once more.
            Err(error) => {
                log::error!("events: cannot write the dead-letter file: {error}");
                again.extend(rejected.into_iter().map(|(event, _, _)| event));
                if obstacle.is_none() {
                    return Then::Wait(again, None);
                }
            }
        }
    }
    let Some(wait) = obstacle else {
        context.on_success(dataset, &node.name);
        return Then::Done;
    };
    context.on_backpressure(dataset, &node.name, &wait, again.len());
    Then::Wait(again, pause(wait.condition))
}
