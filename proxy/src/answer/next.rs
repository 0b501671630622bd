//! Waits for the next piece of a response, and attends to the client meanwhile.

use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;

use super::filter::BodyFilter;
use super::outpace::{self, Output};
use super::timeouts::ResponseTimeouts;
use crate::clock;
use crate::exchange::Exchange;
use crate::http::relay::{Relay, RelayOutcome};
use crate::http::response_body::{NextPiece, Piece, ResponseBody};
use crate::http::session::Session;
use crate::refusal::ErrorCode;

/// The result of waiting for the backend.
pub(super) enum Arrival {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Failed(ErrorCode),
    ClientLeft,
}

/// The next piece of the response. If it has not arrived yet, what has been written so far is flushed
/// before waiting for it.
pub(super) async fn next(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut impl ResponseBody,
    filter: &mut BodyFilter<'_>,
    relay: &mut Relay,
    until: Option<Instant>,
) -> Arrival {
    if let Some(piece) = body.arrived().await {
        return of_piece(piece);
    }
    let flushed = match filter.followers() {
        None => session.flush().await,
        Some(_) => {
            outpace::wait_for_room(filter).await;
            outpace::write(session, exchange, body, filter, relay, Output::Flush).await
        }
    };
    match flushed {
        Ok(()) => wait(session, body, &filter.timeouts, relay, until).await,
        Err(_) => Arrival::ClientLeft,
    }
}

/// Waits for the next piece of the response or an event of the client, but not beyond `until`.
async fn wait(
    session: &mut Session,
    body: &mut impl ResponseBody,
    timeouts: &ResponseTimeouts,
    relay: &mut Relay,
    until: Option<Instant>,
) -> Arrival {
    let since = clock::now();
    let deadline = |relay: &Relay| {
        let deadline = timeouts.deadline(relay, since);
        until.map_or(deadline, |until| until.min(deadline))
    };
    loop {
        tokio::select! {
            biased;
            piece = body.next(deadline(relay)) => match piece {
                Ok(piece) => return of_piece(piece),
                // The client may have sent more of its body meanwhile.
                Err(_) if deadline(relay) > clock::now() => {}
                Err(_) => return Arrival::Failed(ErrorCode::UpstreamTimeout),
            },
            attended = relay.attend(session) => match attended {
                RelayOutcome::BodySent => {}
                RelayOutcome::ClientLeft => return Arrival::ClientLeft,
                RelayOutcome::Refused(refusal) => return Arrival::Failed(refusal.code),
            },
        }
    }
}

fn of_piece<E>(piece: NextPiece<E>) -> Arrival {
    match piece {
        Some(Ok(Piece::Data(data))) => Arrival::Data(data),
        Some(Ok(Piece::Trailers(trailers))) => Arrival::Trailers(trailers),
        Some(Err(_)) => Arrival::Failed(ErrorCode::UpstreamReset),
        None => Arrival::End,
    }
}
