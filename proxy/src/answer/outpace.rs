//! Writes to a client that others follow (request coalescing): if it reads slowly, the response is read on for them.

use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use super::copying::Followers;
use super::filter::BodyFilter;
use super::tail::FramingEnd;
use crate::clock;
use crate::exchange::Exchange;
use crate::http::io::WriteError;
use crate::http::relay::Relay;
use crate::http::response_body::{Piece, PiecesAhead, ResponseBody};
use crate::http::session::Session;

/// How often a leader that has read too far ahead looks at what the others hold.
const AHEAD_CHECK_INTERVAL: Duration = Duration::from_millis(100);

/// What is written to the client.
pub(super) enum Output {
    Piece(Bytes, BodyEnd),
    Flush,
}

/// Whether a piece is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyEnd {
    Here,
    Later,
}

impl Output {
    pub(super) fn piece(piece: Bytes, is_last: bool) -> Self {
        let end = match is_last {
            true => BodyEnd::Here,
            false => BodyEnd::Later,
        };
        Output::Piece(piece, end)
    }

    async fn write(self, session: &mut Session) -> Result<(), WriteError> {
        match self {
            Output::Piece(piece, end) => session.write_body(piece, end == BodyEnd::Here).await,
            Output::Flush => session.flush().await,
        }
    }
}

/// Writes to the client. What is read meanwhile for its followers is put back into the body.
pub(super) async fn write(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut impl ResponseBody,
    filter: &mut BodyFilter<'_>,
    relay: &Relay,
    output: Output,
) -> Result<(), WriteError> {
    let mut writing = pin!(output.write(session));
    match futures_util::poll!(writing.as_mut()) {
        Poll::Ready(written) => written,
        // Boxed, because most clients read fast enough.
        Poll::Pending => Box::pin(read_on(writing, exchange, body, filter, relay)).await,
    }
}

/// Reads the response on until `writing` is done, while there are followers.
async fn read_on<B: ResponseBody>(
    mut writing: Pin<&mut impl Future<Output = Result<(), WriteError>>>,
    exchange: &mut Exchange,
    body: &mut B,
    filter: &mut BodyFilter<'_>,
    relay: &Relay,
) -> Result<(), WriteError> {
    let mut ahead = PiecesAhead::new();
    // Those that an earlier write has put back come first: the followers and the copy have them already.
    let mut fed = filter.read_ahead;
    let mut since = clock::now();
    let mut is_open = !body.is_at_end(since);
    let written = loop {
        let Some(followers) = filter.followers() else {
            break writing.await;
        };
        let changed = followers.changed();
        // Before the followers are looked at: a change in between must not be missed.
        let notified = changed.notified();
        let is_read = is_open
            && followers.are_any()
            && followers.have_room()
            && filter.ahead.bytes() <= followers.bytes_ahead_max();
        let all_ahead = followers.bytes_ahead();
        let until = filter.timeouts.deadline(relay, since);
        let piece = tokio::select! {
            biased;
            written = &mut writing => break written,
            piece = body.next(until), if is_read => piece,
            () = notified, if !is_read => continue,
            // What other leaders hold may have become less.
            () = tokio::time::sleep(AHEAD_CHECK_INTERVAL), if !is_read && is_open => continue,
        };
        // The deadline is met again by the next read.
        let Ok(piece) = piece else {
            is_open = false;
            continue;
        };
        since = clock::now();
        let piece = match piece {
            Some(Ok(Piece::Data(data))) => {
                let forwarded = match fed.checked_sub(1) {
                    Some(left) => {
                        fed = left;
                        data
                    }
                    None => {
                        let forwarded = filter.feed(data, exchange, since);
                        filter.read_ahead += 1;
                        filter.ahead.add(forwarded.len(), all_ahead);
                        forwarded
                    }
                };
                is_open = !body.is_at_end(since);
                if !is_open {
                    filter.complete(exchange, FramingEnd::Arrived, since);
                }
                Some(Ok(Piece::Data(forwarded)))
            }
            Some(Ok(trailers)) => Some(Ok(trailers)),
            Some(Err(error)) => {
                filter.cut(B::error_code(&error));
                is_open = false;
                Some(Err(error))
            }
            None => {
                filter.complete(exchange, FramingEnd::Arrived, since);
                is_open = false;
                None
            }
        };
        ahead.push(piece);
    };
    ahead.reverse();
    body.put_back(ahead);
    written
}

/// Whether the next piece may be read: it is there already, or the followers have read enough of what is held for them.
pub(super) fn has_room(filter: &BodyFilter<'_>) -> bool {
    filter.read_ahead > 0 || filter.followers().is_none_or(Followers::have_room)
}

/// Waits until the followers have read enough of what is held for them.
pub(super) async fn wait_for_room(filter: &mut BodyFilter<'_>) {
    while let Some(followers) = filter.followers() {
        let changed = followers.changed();
        let notified = changed.notified();
        if followers.have_room() {
            return;
        }
        notified.await;
    }
}
