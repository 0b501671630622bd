//! The end of an answer that has said of itself that nothing follows: what ends its last event, and its
//! framing.

use std::time::Instant;

use super::Delivered;
use super::deliver::{FRAMING_TIME, Reading};
use crate::backend::client::{AnswerBody, Piece};
use crate::clock;
use crate::exchange::Exchange;

/// How the framing of an answer ended that had said of itself that nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    Ended,
    /// It was waited for in vain, or broke.
    GivenUp,
}

/// What is waited for when the answer has ended itself, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    pub(super) awaited: Awaited,
    pub(super) until: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// What ends the last event, or the last line.
    LineEnd,
    FramingEnd,
}

pub(super) fn until(last: Option<Last>) -> Option<Instant> {
    last.map(|last| last.until)
}

/// The client left an answer that, where only its end is waited for, it had all of.
pub(super) fn left(last: Option<Last>) -> Delivered {
    match last {
        Some(_) => Delivered::LeftAtEnd,
        None => Delivered::ClientLeft,
    }
}

/// The backend's answer has come whole.
pub(super) fn end(
    exchange: &mut Exchange,
    reading: &mut Reading<'_>,
    framing: Framing,
    now: Instant,
) {
    reading.came_whole(framing, exchange.at(now));
    if let Some(attempt) = exchange.attempt() {
        attempt.succeed(now);
    }
}

/// The client left. Where it has all that matters of the answer, what ends that is waited for, for a
/// short time, so that the answer can be kept and the connection to the backend be used again.
pub(super) async fn to_nobody(
    exchange: &mut Exchange,
    body: &mut AnswerBody,
    reading: &mut Reading<'_>,
    mut last: Option<Last>,
) {
    let bound = clock::now() + FRAMING_TIME;
    while let Some(Last { until, .. }) = last {
        let framing = match body.frame(until.min(bound)).await {
            Ok(Some(Ok(Piece::Data(data)))) => {
                let now = clock::now();
                reading.feed_once(data, exchange, now);
                last = reading.last(now, last);
                continue;
            }
            Ok(Some(Ok(Piece::Trailers(_)))) => continue,
            Ok(None) => Framing::Ended,
            Ok(Some(Err(_))) | Err(_) => Framing::GivenUp,
        };
        reading.rest(exchange);
        end(exchange, reading, framing, clock::now());
        return;
    }
}
