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

/// The next piece of the response. If it has not arrived yet, or must not be read before the followers have read more,
/// what has been written so far is flushed before waiting.
pub(super) async fn next<B: ResponseBody>(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut B,
    filter: &mut BodyFilter<'_>,
    relay: &mut Relay,
    until: Option<Instant>,
) -> Arrival {
    let has_room = outpace::has_room(filter);
    if has_room && let Some(piece) = body.arrived().await {
        return of_piece::<B>(piece);
    }
    let flushed = match filter.followers() {
        None => session.flush().await,
        Some(_) => outpace::write(session, exchange, body, filter, relay, Output::Flush).await,
    };
    if flushed.is_err() {
        return Arrival::ClientLeft;
    }
    // Boxed, because most followers read fast enough.
    if !has_room && let Some(end) = Box::pin(wait_for_room(session, filter, relay)).await {
        return end;
    }
    wait(session, body, &filter.timeouts, relay, until).await
}

/// Waits until the followers have read more, or for an event of the client that ends the response.
async fn wait_for_room(
    session: &mut Session,
    filter: &mut BodyFilter<'_>,
    relay: &mut Relay,
) -> Option<Arrival> {
    loop {
        tokio::select! {
            biased;
            () = outpace::wait_for_room(filter) => return None,
            attended = relay.attend(session) => if let Some(end) = of_relay(attended) {
                return Some(end);
            },
        }
    }
}

/// Waits for the next piece of the response or an event of the client, but not beyond `until`.
async fn wait<B: ResponseBody>(
    session: &mut Session,
    body: &mut B,
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
                Ok(piece) => return of_piece::<B>(piece),
                // The client may have sent more of its body meanwhile.
                Err(_) if deadline(relay) > clock::now() => {}
                Err(_) => return Arrival::Failed(ErrorCode::UpstreamTimeout),
            },
            attended = relay.attend(session) => if let Some(end) = of_relay(attended) {
                return end;
            },
        }
    }
}

fn of_relay(outcome: RelayOutcome) -> Option<Arrival> {
    match outcome {
        RelayOutcome::BodySent => None,
        RelayOutcome::ClientLeft => Some(Arrival::ClientLeft),
        RelayOutcome::Refused(refusal) => Some(Arrival::Failed(refusal.code)),
    }
}

fn of_piece<B: ResponseBody>(piece: NextPiece<B::Error>) -> Arrival {
    match piece {
        Some(Ok(Piece::Data(data))) => Arrival::Data(data),
        Some(Ok(Piece::Trailers(trailers))) => Arrival::Trailers(trailers),
        Some(Err(error)) => Arrival::Failed(B::error_code(&error)),
        None => Arrival::End,
    }
}
