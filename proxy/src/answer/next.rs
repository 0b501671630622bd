//! The next piece of an answer, or what comes of its client meanwhile.

use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;

use super::waits::Waits;
use crate::backend::client::{AnswerBody, Piece};
use crate::clock;
use crate::http::relay::{Relay, RelayOutcome};
use crate::http::session::Session;
use crate::refusal::ErrorCode;

/// What came of one wait for the backend.
pub(super) enum Next {
    Data(Bytes),
    Trailers(HeaderMap),
    End,
    Failed(ErrorCode),
    ClientLeft,
}

/// The next piece of the answer. Only when it has not arrived yet, what was written so far is sent on
/// and waiting begins.
pub(super) async fn next(
    session: &mut Session,
    body: &mut AnswerBody,
    waits: &Waits,
    relay: &mut Relay,
    until: Option<Instant>,
) -> Next {
    match body.arrived().await {
        Some(piece) => of_result(piece),
        None if session.flush().await.is_err() => Next::ClientLeft,
        None => wait(session, body, waits, relay, until).await,
    }
}

/// Waits for the next piece of the answer, or for what comes of the client; not beyond `until`.
async fn wait(
    session: &mut Session,
    body: &mut AnswerBody,
    waits: &Waits,
    relay: &mut Relay,
    until: Option<Instant>,
) -> Next {
    let since = clock::now();
    let deadline = |relay: &Relay| {
        let deadline = waits.deadline(relay, since);
        until.map_or(deadline, |until| until.min(deadline))
    };
    loop {
        tokio::select! {
            biased;
            piece = body.frame(deadline(relay)) => match piece {
                Ok(piece) => return of_result(piece),
                // The client may have gone on meanwhile.
                Err(_) if deadline(relay) > clock::now() => {}
                Err(_) => return Next::Failed(ErrorCode::UpstreamTimeout),
            },
            attended = relay.attend(session) => match attended {
                RelayOutcome::BodySent => {}
                RelayOutcome::ClientLeft => return Next::ClientLeft,
                RelayOutcome::Refused(refusal) => return Next::Failed(refusal.code),
            },
        }
    }
}

fn of_result<E>(piece: Option<Result<Piece, E>>) -> Next {
    match piece {
        Some(Ok(Piece::Data(data))) => Next::Data(data),
        Some(Ok(Piece::Trailers(trailers))) => Next::Trailers(trailers),
        Some(Err(_)) => Next::Failed(ErrorCode::UpstreamReset),
        None => Next::End,
    }
}
