//! Answers that weir gives by itself: refusals, a platform's handshake, what the cache knows.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderName, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

use super::{Delivered, head};
use crate::cache::Stored;
use crate::clock;
use crate::exchange::{Exchange, Stage};
use crate::refusal::Refusal;
use crate::signature::PlatformAnswer;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const BEARER: HeaderValue = HeaderValue::from_static("Bearer");

/// Refuses a request. A request whose body has not been read costs its connection.
pub(crate) async fn refuse(
    session: &mut ServerSession,
    exchange: &mut Exchange,
    refusal: &Refusal,
) -> Delivered {
    let status = refusal.code.status();
    exchange.error_code = Some(refusal.code);
    let body = Bytes::from(refusal.body(&exchange.id));
    let mut answer = head::with_status(status);
    head::set(&mut answer, header::CONTENT_TYPE, PROBLEM);
    head::set(&mut answer, header::CACHE_CONTROL, NO_STORE);
    if let Some(seconds) = refusal.retry_after_s {
        head::set(&mut answer, header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(allow) = refusal
        .allow
        .as_deref()
        .and_then(|allow| allow.parse().ok())
    {
        head::set(&mut answer, header::ALLOW, allow);
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 9110, section 15.5.2: a 401 names a challenge.
        head::set(&mut answer, header::WWW_AUTHENTICATE, BEARER);
    }
    whole(session, exchange, answer, body).await
}

/// Answers what a platform asks of the address itself.
pub(crate) async fn platform(
    session: &mut ServerSession,
    exchange: &mut Exchange,
    told: PlatformAnswer,
) -> Delivered {
    let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::OK);
    let mut answer = head::with_status(status);
    let kind = HeaderValue::from_static(told.content_type);
    head::set(&mut answer, header::CONTENT_TYPE, kind);
    whole(session, exchange, answer, Bytes::from(told.body)).await
}

/// Answers from the cache: a stream is replayed as a stream.
pub(crate) async fn replay(
    session: &mut ServerSession,
    exchange: &mut Exchange,
    stored: &Stored,
    age_s: u64,
) -> Delivered {
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let mut answer = head::with_status(status);
    for (name, value) in &stored.headers {
        let _ = answer.append_header(name.clone(), value.clone());
    }
    head::set(&mut answer, header::AGE, HeaderValue::from(age_s));
    if let [only] = &stored.chunks[..] {
        return whole(session, exchange, answer, only.clone()).await;
    }
    head::frame(&mut answer, session);
    if begin(session, exchange, answer).await == Delivered::ClientLeft {
        return Delivered::ClientLeft;
    }
    for (place, chunk) in stored.chunks.iter().enumerate() {
        let last = place + 1 == stored.chunks.len();
        if session
            .write_response_body(chunk.clone(), last)
            .await
            .is_err()
        {
            return Delivered::ClientLeft;
        }
        exchange.response_body_bytes += chunk.len() as u64;
    }
    if stored.chunks.is_empty()
        && session
            .write_response_body(Bytes::new(), true)
            .await
            .is_err()
    {
        return Delivered::ClientLeft;
    }
    Delivered::Whole
}

/// One answer of known length, in as few writes as can be.
async fn whole(
    session: &mut ServerSession,
    exchange: &mut Exchange,
    mut answer: Box<ResponseHeader>,
    body: Bytes,
) -> Delivered {
    const CONTENT_LENGTH: HeaderName = header::CONTENT_LENGTH;
    head::set(&mut answer, CONTENT_LENGTH, HeaderValue::from(body.len()));
    let bytes = body.len() as u64;
    if begin(session, exchange, answer).await == Delivered::ClientLeft
        || session.write_response_body(body, true).await.is_err()
    {
        return Delivered::ClientLeft;
    }
    exchange.response_body_bytes = bytes;
    Delivered::Whole
}

/// Writes the head. From here on the exchange has a status.
async fn begin(
    session: &mut ServerSession,
    exchange: &mut Exchange,
    mut answer: Box<ResponseHeader>,
) -> Delivered {
    exchange.timing.enter(Stage::Answer, clock::now());
    head::finish(&mut answer, exchange);
    exchange.status = answer.status.as_u16();
    match session.write_response_header(answer).await {
        Ok(()) => Delivered::Whole,
        Err(_) => Delivered::ClientLeft,
    }
}
