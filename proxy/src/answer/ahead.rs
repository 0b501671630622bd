//! Looks at an answer before its head goes out, so that the head can tell whether the answer is kept.
//!
//! Whether an answer is whole and good shows at its end. Of most that is here already: it comes with the
//! head, or right behind it. A body of JSON is of no use to anybody before its end, and may be waited for a
//! moment; a stream is not.

use std::time::{Duration, Instant};

use super::copying::Kept;
use super::deliver::Reading;
use super::last::Framing;
use crate::backend::client::{Ahead, AnswerBody, Piece};
use crate::clock;
use crate::exchange::{Exchange, Stage};
use crate::http::relay::{Relay, RelayOutcome};
use crate::http::session::Session;

/// How long a body of JSON is waited for. One that takes longer may be kept alive by white space, and its
/// client waits for that.
const PATIENCE: Duration = Duration::from_millis(500);
/// So much is held before the head goes out.
const BYTES_MAX: usize = 256 * 1024;
const PIECES_MAX: usize = 64;

/// What may be waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Nothing: what is here is written on.
    No,
    /// The end, for a moment.
    ForTheEnd,
}

/// How looking ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Whole,
    /// More is to come.
    Open,
    ClientLeft,
}

/// The client left before the head of its answer.
pub(crate) struct ClientLeft;

/// Reads what has come of the answer, and leaves it to be written. Says whether its copy is in the cache now.
///
/// # Errors
/// The client left meanwhile.
pub(crate) async fn look(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut AnswerBody,
    reading: &mut Reading<'_>,
    relay: &mut Relay,
    wait: Wait,
) -> Result<Kept, ClientLeft> {
    let mut now = reading.waits.answered_at;
    let until = match wait {
        Wait::No => None,
        Wait::ForTheEnd => Some(reading.waits.deadline(relay, now).min(now + PATIENCE)),
    };
    let mut taken = Ahead::new();
    let mut bytes = 0;
    let seen = loop {
        if body.is_at_end(now) {
            break Seen::Whole;
        }
        let piece = match body.arrived().await {
            Some(piece) => piece,
            None => {
                let waited = match until {
                    // Boxed, so that whoever waits for a backend holds no room for it.
                    Some(until) if !reading.form().is_stream() => {
                        Box::pin(come(session, exchange, body, relay, until)).await
                    }
                    _ => Err(Seen::Open),
                };
                now = clock::now();
                match waited {
                    Ok(piece) => piece,
                    Err(seen) => break seen,
                }
            }
        };
        let (piece, end) = match piece {
            Some(Ok(Piece::Data(data))) => {
                bytes += data.len();
                let shown = reading.feed(data, exchange, now);
                reading.ahead += 1;
                (Some(Ok(Piece::Data(shown))), None)
            }
            Some(Ok(trailers)) => (Some(Ok(trailers)), None),
            Some(Err(broken)) => (Some(Err(broken)), Some(Seen::Open)),
            None => (None, Some(Seen::Whole)),
        };
        taken.push(piece);
        if let Some(seen) = end {
            break seen;
        }
        if bytes > BYTES_MAX || taken.len() == PIECES_MAX {
            break Seen::Open;
        }
    };
    taken.reverse();
    body.put_back(taken);
    match seen {
        Seen::ClientLeft => return Err(ClientLeft),
        Seen::Whole => reading.came_whole(Framing::Ended, exchange.at(now)),
        // What still comes may be an error, even behind the words that nothing follows.
        Seen::Open => return Ok(Kept::No),
    }
    Ok(reading.kept())
}

/// Waits for the next piece, not beyond `until`.
async fn come(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut AnswerBody,
    relay: &mut Relay,
    until: Instant,
) -> Result<<Ahead as IntoIterator>::Item, Seen> {
    exchange.timing.lap(Stage::Answer, clock::now());
    let come = tokio::select! {
        biased;
        piece = body.frame(until) => piece.map_err(|_| Seen::Open),
        attended = relay.attend(session) => Err(match attended {
            RelayOutcome::ClientLeft => Seen::ClientLeft,
            // What else comes of the client is found again while the answer is passed on.
            RelayOutcome::BodySent | RelayOutcome::Refused(_) => Seen::Open,
        }),
    };
    exchange.timing.lap(Stage::Backend, clock::now());
    come
}
