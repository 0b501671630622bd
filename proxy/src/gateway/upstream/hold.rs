//! Reads the beginning of a response before it is known whether it will be delivered, and puts it back: the start-up
//! events of a stream until its first content, the beginning of a JSON text, and the body of a 429.
//!
//! This allows an error that is the first content of a response with status 200 to be retried or failed over like an error
//! status. Content is never delayed.

use std::time::{Duration, Instant};

use http::StatusCode;
use http::response::Parts;

use super::super::Stop;
use super::super::model_response::Readable;
use super::attend;
use crate::backend::failure::ConnectionError;
use crate::backend::response::{UpstreamBody, UpstreamResponse};
use crate::backend::retry::{self, Quota};
use crate::clock;
use crate::coding::{DecodeProgress, Decoder};
use crate::exchange::Exchange;
use crate::http::relay::Relay;
use crate::http::response_body::{NextPiece, Piece, PiecesAhead, ResponseBody};
use crate::http::session::Session;
use crate::model::response::start::{ResponseStart, StartReader};
use crate::refusal::ErrorCode;

/// The longest start that is held, as it is sent.
const HELD_BYTES_MAX: usize = 256 * 1024;
/// How much of the body of a 429 is read, and for how long.
const QUOTA_BYTES_MAX: usize = 64 * 1024;
const QUOTA_WAIT_MAX: Duration = Duration::from_secs(1);

/// How a response is read whose start is held.
pub(super) struct HeldStart {
    decoder: Decoder,
    start: StartReader,
}

/// Whether the start of a response is held: one of a model call that weir can read.
pub(super) fn held(exchange: &Exchange, head: &Parts) -> Option<HeldStart> {
    let operation = exchange.model.operation?;
    if head.status != StatusCode::OK {
        return None;
    }
    let Readable { decoder, format } = Readable::of(exchange, head);
    Some(HeldStart {
        decoder: decoder?,
        start: StartReader::new(format?, Some(operation)),
    })
}

/// Reads the start of a response until its first content, or until a time. Returns the failure if it is an error, or the
/// response breaks before.
///
/// # Errors
/// The client left, or its request must be rejected.
pub(super) async fn until_content(
    session: &mut Session,
    relay: &mut Relay,
    response: &mut UpstreamResponse,
    held: HeldStart,
    until: Instant,
) -> Result<Option<ErrorCode>, Stop> {
    let HeldStart {
        mut decoder,
        mut start,
    } = held;
    let mut bytes = 0;
    let end = read(session, relay, &mut response.body, until, |data| {
        let now = clock::now();
        bytes += data.len();
        decoder.feed(data, |plain| start.feed(plain, now));
        // What cannot be decoded is forwarded unread.
        let is_stopped = matches!(decoder.progress(), DecodeProgress::Stopped(_));
        match start.found() {
            ResponseStart::Pending if !is_stopped && bytes <= HELD_BYTES_MAX => Reading::Continues,
            _ => Reading::Done,
        }
    });
    let end = end.await?;
    if end == ReadEnd::Ended {
        start.finish(clock::now());
    }
    Ok(match (end, start.found()) {
        (_, ResponseStart::Failed) => Some(ErrorCode::UpstreamError),
        (ReadEnd::Broken, ResponseStart::Pending) => Some(ErrorCode::UpstreamReset),
        _ => None,
    })
}

/// Reads from the body of a 429 whether the quota or the credit of the account is exhausted, or until a time.
///
/// # Errors
/// The client left, or its request must be rejected.
pub(super) async fn quota(
    session: &mut Session,
    relay: &mut Relay,
    response: &mut UpstreamResponse,
    until: Instant,
) -> Result<Quota, Stop> {
    let Some(mut decoder) = Decoder::of(&response.head.headers) else {
        return Ok(Quota::Left);
    };
    decoder.limit(QUOTA_BYTES_MAX as u64);
    let mut text = Vec::new();
    let mut bytes = 0;
    let until = until.min(clock::now() + QUOTA_WAIT_MAX);
    let end = read(session, relay, &mut response.body, until, |data| {
        bytes += data.len();
        decoder.feed(data, |plain| text.extend_from_slice(plain));
        match bytes < QUOTA_BYTES_MAX {
            true => Reading::Continues,
            false => Reading::Done,
        }
    });
    end.await?;
    Ok(retry::quota(&text))
}

/// Whether more of a body is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reading {
    Continues,
    Done,
}

/// How reading ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadEnd {
    /// Enough has been read, or time is up.
    Read,
    /// All has been read.
    Ended,
    /// The backend's connection broke.
    Broken,
}

/// Reads from a body until `take` has enough, attends to the client meanwhile, and puts everything back.
async fn read(
    session: &mut Session,
    relay: &mut Relay,
    body: &mut UpstreamBody,
    until: Instant,
    mut take: impl FnMut(&[u8]) -> Reading,
) -> Result<ReadEnd, Stop> {
    let mut pieces = PiecesAhead::new();
    let mut end = ReadEnd::Read;
    while !body.is_at_end(clock::now()) {
        let Some(piece) = next(session, relay, body, until).await? else {
            break;
        };
        let reading = match &piece {
            Some(Ok(Piece::Data(data))) => take(data),
            Some(Ok(Piece::Trailers(_))) => Reading::Continues,
            Some(Err(_)) => {
                end = ReadEnd::Broken;
                Reading::Done
            }
            None => {
                end = ReadEnd::Ended;
                Reading::Done
            }
        };
        pieces.push(piece);
        if reading == Reading::Done {
            break;
        }
    }
    if end == ReadEnd::Read && body.is_at_end(clock::now()) {
        end = ReadEnd::Ended;
    }
    pieces.reverse();
    body.put_back(pieces);
    Ok(end)
}

/// The next piece; `None` if it has not arrived in time.
async fn next(
    session: &mut Session,
    relay: &mut Relay,
    body: &mut UpstreamBody,
    until: Instant,
) -> Result<Option<NextPiece<ConnectionError>>, Stop> {
    if let Some(piece) = body.arrived().await {
        return Ok(Some(piece));
    }
    loop {
        tokio::select! {
            biased;
            piece = body.next(until) => return Ok(piece.ok()),
            attended = relay.attend(session) => attend(attended)?,
        }
    }
}
