//! Reads a response ahead of its head, so that the head can report (`Cache-Status`) whether it is stored.
//!
//! Whether a response is complete and successful is known only at its end. Most of them have arrived by now:
//! with the head, or right behind it. A JSON body is of no use to a client before its end, and may be waited
//! for a moment; a stream is not.

use std::time::{Duration, Instant};

use super::copying::CopyStored;
use super::filter::BodyFilter;
use super::tail::FramingEnd;
use crate::clock;
use crate::exchange::{Exchange, Stage};
use crate::http::relay::{Relay, RelayOutcome};
use crate::http::response_body::{NextPiece, Piece, PiecesAhead, ResponseBody};
use crate::http::session::Session;

/// How long to wait for the end of a JSON body. A backend that takes longer may keep the connection alive
/// with white space, which its client waits for.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// How much is held back before the head is written.
const BYTES_MAX: usize = 256 * 1024;
const PIECES_MAX: usize = 64;

/// How far to read ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadAhead {
    /// Read what has arrived.
    Arrived,
    /// Read to the end, and wait a moment for it.
    ToTheEnd,
}

/// How reading ahead ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Whole,
    /// More may follow.
    Open,
    ClientLeft,
}

/// The client disconnected before the head of its response.
pub(crate) struct ClientLeft;

/// Reads the part of the response that has arrived, and leaves it to be written. Returns whether its copy is in the
/// cache now.
///
/// # Errors
/// The client disconnected meanwhile.
pub(crate) async fn read(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut impl ResponseBody,
    filter: &mut BodyFilter<'_>,
    relay: &mut Relay,
    ahead: ReadAhead,
) -> Result<CopyStored, ClientLeft> {
    let mut now = filter.timeouts.head_at;
    let until = match ahead {
        ReadAhead::Arrived => None,
        ReadAhead::ToTheEnd => Some(filter.timeouts.deadline(relay, now).min(now + WAIT_MAX)),
    };
    let mut pieces = PiecesAhead::new();
    let mut bytes = 0;
    let reached = loop {
        if body.is_at_end(now) {
            break Reached::Whole;
        }
        let piece = match body.arrived().await {
            Some(piece) => piece,
            None => {
                let waited = match until {
                    // Boxed, so that a request that waits for its backend holds no memory for it.
                    Some(until) if !filter.form().is_stream() => {
                        Box::pin(wait(session, exchange, body, relay, until)).await
                    }
                    _ => Err(Reached::Open),
                };
                now = clock::now();
                match waited {
                    Ok(piece) => piece,
                    Err(reached) => break reached,
                }
            }
        };
        let (piece, end) = match piece {
            Some(Ok(Piece::Data(data))) => {
                bytes += data.len();
                let forwarded = filter.feed(data, exchange, now);
                filter.read_ahead += 1;
                (Some(Ok(Piece::Data(forwarded))), None)
            }
            Some(Ok(trailers)) => (Some(Ok(trailers)), None),
            Some(Err(error)) => (Some(Err(error)), Some(Reached::Open)),
            None => (None, Some(Reached::Whole)),
        };
        pieces.push(piece);
        if let Some(reached) = end {
            break reached;
        }
        if bytes > BYTES_MAX || pieces.len() == PIECES_MAX {
            break Reached::Open;
        }
    };
    pieces.reverse();
    body.put_back(pieces);
    match reached {
        Reached::ClientLeft => return Err(ClientLeft),
        Reached::Whole => filter.end(FramingEnd::Arrived, exchange.at(now)),
        // An error may still arrive, even after a terminal event.
        Reached::Open => return Ok(CopyStored::No),
    }
    Ok(filter.is_stored())
}

/// Waits for the next piece, not beyond `until`.
async fn wait<B: ResponseBody>(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut B,
    relay: &mut Relay,
    until: Instant,
) -> Result<NextPiece<B::Error>, Reached> {
    exchange.timing.lap(Stage::Answer, clock::now());
    let piece = tokio::select! {
        biased;
        piece = body.next(until) => piece.map_err(|_| Reached::Open),
        attended = relay.attend(session) => Err(match attended {
            RelayOutcome::ClientLeft => Reached::ClientLeft,
            // Anything else is detected again while the response is forwarded.
            RelayOutcome::BodySent | RelayOutcome::Refused(_) => Reached::Open,
        }),
    };
    exchange.timing.lap(Stage::Backend, clock::now());
    piece
}
