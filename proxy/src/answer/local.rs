//! Answers that weir gives by itself: refusals, a platform's handshake, what the cache knows.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};

use super::{Delivered, head, recoded};
use crate::cache::Stored;
use crate::clock;
use crate::coding::Served;
use crate::exchange::{Exchange, Stage};
use crate::http::response_head::ResponseHead;
use crate::http::session::Session;
use crate::refusal::Refusal;
use crate::signature::PlatformAnswer;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The head and body of a refusal, with all that weir says beside an answer.
pub(crate) fn refusal(exchange: &mut Exchange, refusal: &Refusal) -> (ResponseHead, Bytes) {
    let status = refusal.code.status();
    exchange.error_code = Some(refusal.code);
    let body = Bytes::from(refusal.body(exchange.id.as_str()));
    let mut answer = ResponseHead::new(status);
    answer.field(&header::CONTENT_TYPE, &PROBLEM);
    answer.field(&header::CACHE_CONTROL, &NO_STORE);
    if let Some(seconds) = refusal.retry_after_s {
        answer.number(&header::RETRY_AFTER, seconds);
    }
    if let Some(allow) = refusal
        .allow
        .as_deref()
        .and_then(|allow| allow.parse().ok())
    {
        answer.field(&header::ALLOW, &allow);
    }
    if let Some(challenge) = &refusal.challenge {
        answer.field(&header::WWW_AUTHENTICATE, challenge);
    }
    complete(exchange, &mut answer, &body);
    (answer, body)
}

/// Refuses a request. A request whose body has not been read costs its connection.
pub(crate) async fn refuse(
    session: &mut Session,
    exchange: &mut Exchange,
    why: &Refusal,
) -> Delivered {
    let (answer, body) = refusal(exchange, why);
    write(session, answer, body).await
}

/// Answers what a platform asks of the address itself.
pub(crate) async fn platform(
    session: &mut Session,
    exchange: &mut Exchange,
    told: PlatformAnswer,
) -> Delivered {
    let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::OK);
    let mut answer = ResponseHead::new(status);
    let kind = HeaderValue::from_static(told.content_type);
    answer.field(&header::CONTENT_TYPE, &kind);
    whole(session, exchange, answer, Bytes::from(told.body)).await
}

/// Answers who asks for weir as a whole (RFC 9110, section 9.3.7).
pub(crate) async fn options(
    session: &mut Session,
    exchange: &mut Exchange,
    methods: &str,
) -> Delivered {
    let mut answer = ResponseHead::new(StatusCode::NO_CONTENT);
    if let Ok(methods) = HeaderValue::from_str(methods) {
        answer.field(&header::ALLOW, &methods);
    }
    begin(exchange, &mut answer);
    match session.write_bare_head(answer).await {
        Ok(()) => Delivered::Whole,
        Err(_) => Delivered::ClientLeft,
    }
}

/// Answers from the cache what the client takes of it: a stream is replayed as a stream.
pub(crate) async fn replay(
    session: &mut Session,
    exchange: &mut Exchange,
    stored: &Stored,
    age_s: u64,
) -> Delivered {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let accepted = session.head().headers.get_all(header::ACCEPT_ENCODING);
    if Served::to(accepted) == Served::Gzip {
        let lines = recoded::lines(stored.head_lines());
        let mut answer = ResponseHead::with_lines(status, &lines);
        answer.number(&header::AGE, age_s);
        // Boxed, for hardly anybody asks for it.
        return Box::pin(recoded::replay(session, exchange, stored, answer)).await;
    }
    let mut answer = ResponseHead::with_lines(status, stored.head_lines());
    answer.number(&header::AGE, age_s);
    if let Some(bytes) = stored.length() {
        answer.number(&header::CONTENT_LENGTH, bytes as u64);
    }
    begin(exchange, &mut answer);
    if session.write_head(answer).await.is_err() {
        return Delivered::ClientLeft;
    }
    let mut pieces = stored.pieces().peekable();
    while let Some(piece) = pieces.next() {
        let bytes = piece.len() as u64;
        let last = pieces.peek().is_none();
        if session.write_body(piece, last).await.is_err() {
            return Delivered::ClientLeft;
        }
        exchange.response_body_bytes += bytes;
    }
    Delivered::Whole
}

/// One answer of known length, in as few writes as can be.
pub(super) async fn whole(
    session: &mut Session,
    exchange: &mut Exchange,
    mut answer: ResponseHead,
    body: Bytes,
) -> Delivered {
    complete(exchange, &mut answer, &body);
    write(session, answer, body).await
}

async fn write(session: &mut Session, answer: ResponseHead, body: Bytes) -> Delivered {
    if session.write_head(answer).await.is_err() || session.write_body(body, true).await.is_err() {
        return Delivered::ClientLeft;
    }
    Delivered::Whole
}

/// Completes a head whose whole body is known.
fn complete(exchange: &mut Exchange, answer: &mut ResponseHead, body: &Bytes) {
    answer.number(&header::CONTENT_LENGTH, body.len() as u64);
    exchange.response_body_bytes = body.len() as u64;
    begin(exchange, answer);
}

/// The head as it goes out. From here on the exchange has a status.
pub(super) fn begin(exchange: &mut Exchange, answer: &mut ResponseHead) {
    exchange.timing.enter(Stage::Answer, clock::now());
    head::finish(answer, exchange);
    exchange.status = answer.status.as_u16();
}
