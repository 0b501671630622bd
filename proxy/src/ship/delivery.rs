//! One batch on its way: sent until each of its events is settled.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;

use super::bulk::{self, Item, Verdict, Wait};
use super::condition::Condition;
use super::ledger::Settled;
use super::nodes::{Node, Payload};
use super::pace;
use super::shipper::Shared;
use super::spool::Spooled;
use crate::{clock, random};

/// A node that does not let weir in is asked again after this.
const NOT_ALLOWED_WAIT: Duration = Duration::from_secs(10);

/// How the delivery of a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    All,
    /// weir is stopping, and the index does not take it now: what is left stays in the spool.
    GaveUp,
}

/// What to do after one request.
enum Then {
    Send(Vec<Spooled>),
    /// The same events again, after the next wait, or after this one.
    Wait(Vec<Spooled>, Option<Duration>),
    Done,
}

/// Delivers a batch.
pub(super) async fn deliver(shared: Arc<Shared>, batch: Vec<Spooled>) -> Delivered {
    let mut backoff = pace::backoff();
    let mut parts = vec![batch];
    while let Some(events) = parts.pop() {
        let mut events = events;
        loop {
            match send(&shared, events, &mut parts).await {
                Then::Done => break,
                Then::Send(smaller) => events = smaller,
                Then::Wait(again, wait) => {
                    let wait =
                        wait.unwrap_or_else(|| backoff.next_with_jitter(random::bits() as u32));
                    if shared.wait_unless_stopping(wait).await == Delivered::GaveUp {
                        return Delivered::GaveUp;
                    }
                    events = again;
                }
            }
        }
        backoff.reset();
    }
    Delivered::All
}

/// Sends events once, and settles what is settled by the answer.
async fn send(shared: &Shared, events: Vec<Spooled>, parts: &mut Vec<Vec<Spooled>>) -> Then {
    let Some(node) = shared.nodes.pick(clock::now()) else {
        return Then::Wait(events, None);
    };
    let begun = clock::now();
    let body = Payload::Lines(Bytes::from(bulk::body(&events)));
    let path = &shared.bulk_path;
    let answer = shared.nodes.send(node, Method::Post, path, body).await;
    let took = clock::now().saturating_duration_since(begun);
    shared.metrics.bulk_duration.observe(took.as_secs_f64());
    shared.worker.fault_point();
    let verdict = match answer {
        Ok(answer) => bulk::verdict(answer.status, &answer.body, events.len()),
        Err(why) => Verdict::again(Condition::Unreachable, why),
    };
    match verdict {
        Verdict::Items(items) => {
            node.went_well();
            settle(shared, node, events, items)
        }
        Verdict::Again(wait) => {
            node.failed(clock::now());
            shared.pushed_back(&node.name, &wait, events.len());
            Then::Wait(events, pause(wait.condition))
        }
        Verdict::Split { status, reason } if events.len() == 1 => {
            let items = vec![Item::Refused { status, reason }];
            settle(shared, node, events, items)
        }
        Verdict::Split { .. } => {
            let mut events = events;
            parts.push(events.split_off(events.len() / 2));
            Then::Send(events)
        }
    }
}

/// Who is not let in asks seldom: some servers lock those out who do not.
const fn pause(condition: Condition) -> Option<Duration> {
    match condition {
        Condition::Unauthenticated | Condition::Forbidden => Some(NOT_ALLOWED_WAIT),
        _ => None,
    }
}

/// Books each event by its item. What has to be sent again comes back.
fn settle(shared: &Shared, node: &Node, events: Vec<Spooled>, items: Vec<Item>) -> Then {
    let mut again = Vec::new();
    let mut obstacle: Option<Wait> = None;
    let mut refused = Vec::new();
    for (event, item) in events.into_iter().zip(items) {
        match item {
            Item::Indexed => shared.settle(&event, Settled::Indexed),
            Item::FailureStore => shared.settle(&event, Settled::FailureStore),
            Item::Duplicate => shared.settle(&event, Settled::Duplicate),
            Item::Again(wait) => {
                obstacle.get_or_insert(wait);
                again.push(event);
            }
            Item::Refused { status, reason } => refused.push((event, status, reason)),
        }
    }
    if !refused.is_empty() {
        let letters = refused.iter();
        let letters = letters.map(|(event, status, reason)| (event, *status, &**reason));
        let written = shared.dead_letters.append(letters);
        match written {
            Ok(()) => {
                let (_, status, reason) = &refused[0];
                let count = refused.len();
                log::error!(
                    "events: {} refuses {count} for good, the first with {status}, {reason}; they are in {}",
                    node.name,
                    shared
                        .spool
                        .directory()
                        .join("dead-letter.ndjson")
                        .display()
                );
                refused
                    .iter()
                    .for_each(|(event, _, _)| shared.settle(event, Settled::DeadLetter));
            }
            // Not written down, so not settled: it is sent, and refused, once more.
            Err(error) => {
                log::error!("events: cannot write the dead-letter file: {error}");
                again.extend(refused.into_iter().map(|(event, _, _)| event));
                if obstacle.is_none() {
                    return Then::Wait(again, None);
                }
            }
        }
    }
    let Some(wait) = obstacle else {
        shared.went_well(&node.name);
        return Then::Done;
    };
    shared.pushed_back(&node.name, &wait, again.len());
    Then::Wait(again, pause(wait.condition))
}
