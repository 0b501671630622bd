//! Forwards a backend's response to the client, piece by piece, as it arrives.

use std::time::{Duration, Instant};

use http::HeaderMap;
use http::response::Parts;

use super::filter::BodyFilter;
use super::next::{Arrival, next};
use super::outpace::{self, Output};
use super::tail::{FRAMING_TIME, FramingEnd, Tail, client_left};
use super::{ResponseOutcome, head, usage_stripper};
use crate::clock;
use crate::exchange::{Exchange, Stage};
use crate::http::io::WriteError;
use crate::http::relay::Relay;
use crate::http::response_body::{Piece, ResponseBody};
use crate::http::response_head::ResponseHead;
use crate::http::session::Session;
use crate::refusal::ErrorCode;

/// A write that takes longer than this has waited for the client to read.
const IMMEDIATE_WRITE_MAX: Duration = Duration::from_millis(1);

/// Forwards the response to its end. What was read and copied remains in `filter`; the outcome is
/// noted in the exchange and its attempt.
pub(crate) async fn deliver(
    session: &mut Session,
    exchange: &mut Exchange,
    parts: &mut Parts,
    body: &mut impl ResponseBody,
    filter: &mut BodyFilter<'_>,
    relay: &mut Relay,
) -> ResponseOutcome {
    if relay.is_unfinished() {
        // The rest of the request may never arrive, and must not be mistaken for another request.
        session.close_after_response();
        body.close_connection_at_end();
    }
    let head = head::of_backend(parts.status, &parts.headers, filter.length, exchange);
    // The fields keep the buffer alive in which they arrived, and the body may take hours.
    parts.headers = HeaderMap::new();
    deliver_with(session, exchange, head, body, filter, relay).await
}

/// Forwards a response with a finished head, as [`deliver`].
pub(crate) async fn deliver_with(
    session: &mut Session,
    exchange: &mut Exchange,
    head: ResponseHead,
    body: &mut impl ResponseBody,
    filter: &mut BodyFilter<'_>,
    relay: &mut Relay,
) -> ResponseOutcome {
    exchange.status = head.status.as_u16();
    let now = clock::now();
    if body.is_at_end(now) {
        filter.complete(exchange, FramingEnd::Arrived, now);
        return match session.write_bare_head(head).await {
            Ok(()) => ResponseOutcome::Whole,
            Err(_) => ResponseOutcome::ClientLeft,
        };
    }
    if session.write_head(head).await.is_err() {
        return ResponseOutcome::ClientLeft;
    }
    exchange.timing.lap(Stage::Answer, now);
    let outcome = forward_body(session, exchange, body, filter, relay, now).await;
    if let Some(attempt) = exchange.attempt()
        && attempt.is_open()
    {
        attempt.end(clock::now());
    }
    outcome
}

/// Forwards the body, piece by piece.
async fn forward_body(
    session: &mut Session,
    exchange: &mut Exchange,
    body: &mut impl ResponseBody,
    filter: &mut BodyFilter<'_>,
    relay: &mut Relay,
    mut now: Instant,
) -> ResponseOutcome {
    // What is still expected once the terminal event has arrived.
    let mut tail: Option<Tail> = None;
    loop {
        let next = match body.is_at_end(now) {
            true => Arrival::End,
            false => {
                let until = tail.map(Tail::until);
                next(session, exchange, body, filter, relay, until).await
            }
        };
        now = clock::now();
        exchange.timing.lap(Stage::Backend, now);
        let written = match next {
            Arrival::Data(data) => {
                let forwarded = filter.feed_once(data, exchange, now);
                let is_last = body.is_at_end(now) && filter.stripper.is_none();
                if is_last {
                    filter.complete(exchange, FramingEnd::Arrived, now);
                }
                let written = match forwarded.is_empty() && !is_last {
                    true => Ok(()),
                    false if filter.followers().is_none() => {
                        session.write_body(forwarded, is_last).await
                    }
                    false => {
                        let output = Output::piece(forwarded, is_last);
                        outpace::write(session, exchange, body, filter, relay, output).await
                    }
                };
                if is_last && written.is_ok() {
                    return ResponseOutcome::Whole;
                }
                written
            }
            Arrival::Trailers(trailers) => {
                write_trailers(session, exchange, filter, trailers).await
            }
            Arrival::Failed(code) if tail.is_none() => {
                return cut_short(session, exchange, filter, code).await;
            }
            Arrival::End | Arrival::Failed(_) => {
                let framing = match next {
                    Arrival::End => FramingEnd::Arrived,
                    _ => FramingEnd::GivenUp,
                };
                let rest = filter.rest(exchange);
                filter.complete(exchange, framing, now);
                return match session.write_body(rest, true).await {
                    Ok(()) => ResponseOutcome::Whole,
                    Err(_) => client_left(tail),
                };
            }
            Arrival::ClientLeft => Err(WriteError),
        };
        let begun = std::mem::replace(&mut now, clock::now());
        let writing = now.saturating_duration_since(begun);
        if writing > IMMEDIATE_WRITE_MAX {
            exchange.timing.add_client_wait(writing);
        }
        if written.is_err() {
            drain(exchange, body, filter, tail).await;
            return client_left(tail);
        }
        exchange.timing.lap(Stage::Answer, now);
        tail = filter.tail(now, tail);
    }
}

/// The backend failed: the rest of the body is written, without the end of the framing.
async fn cut_short(
    session: &mut Session,
    exchange: &mut Exchange,
    filter: &mut BodyFilter<'_>,
    code: ErrorCode,
) -> ResponseOutcome {
    exchange.fail(code);
    let rest = filter.rest(exchange);
    filter.cut(code);
    match rest.is_empty() || session.write_body(rest, false).await.is_ok() {
        true => ResponseOutcome::CutShort,
        false => ResponseOutcome::ClientLeft,
    }
}

/// Forwards the trailers. If a chunk has been stripped, a digest of the whole body is removed.
async fn write_trailers(
    session: &mut Session,
    exchange: &mut Exchange,
    filter: &mut BodyFilter<'_>,
    trailers: HeaderMap,
) -> Result<(), WriteError> {
    let mut trailers = head::trailers(trailers);
    if filter.stripper.is_some() {
        usage_stripper::remove_digests(&mut trailers);
        let rest = filter.rest(exchange);
        if !rest.is_empty() {
            session.write_body(rest, false).await?;
        }
    }
    session.write_trailers(trailers).await
}

/// The client disconnected. If it had received the whole response, the end of the framing is read for a short time, so
/// that the copy can be stored and the connection to the backend be reused.
async fn drain(
    exchange: &mut Exchange,
    body: &mut impl ResponseBody,
    filter: &mut BodyFilter<'_>,
    mut tail: Option<Tail>,
) {
    let bound = clock::now() + FRAMING_TIME;
    while let Some(until) = tail.map(Tail::until) {
        let framing = match body.next(until.min(bound)).await {
            Ok(Some(Ok(Piece::Data(data)))) => {
                let now = clock::now();
                filter.feed_once(data, exchange, now);
                tail = filter.tail(now, tail);
                continue;
            }
            Ok(Some(Ok(Piece::Trailers(_)))) => continue,
            Ok(None) => FramingEnd::Arrived,
            Ok(Some(Err(_))) | Err(_) => FramingEnd::GivenUp,
        };
        filter.rest(exchange);
        filter.complete(exchange, framing, clock::now());
        return;
    }
}
