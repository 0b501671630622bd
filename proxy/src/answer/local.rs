//! The responses that weir generates itself: rejections, a platform's handshake, `OPTIONS *`.

use bytes::Bytes;
use http::StatusCode;
use http::header::{self, HeaderValue};

use super::{ResponseOutcome, whole};
use crate::exchange::{CACHE_STATUS, Exchange};
use crate::http::response_head::ResponseHead;
use crate::http::session::Session;
use crate::refusal::Refusal;

const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// A response that weir generates itself.
#[derive(Debug)]
pub(crate) enum LocalResponse {
    Refusal(Refusal),
    /// What a platform expects in response to a request that weir handles itself: a handshake, or a redelivery.
    Platform {
        status: u16,
        content_type: &'static str,
        body: Vec<u8>,
    },
    /// The methods that weir serves, for `OPTIONS *` (RFC 9110, section 9.3.7).
    Options(String),
}

/// Writes the response.
pub(crate) async fn write(
    session: &mut Session,
    exchange: &mut Exchange,
    response: &mut LocalResponse,
) -> ResponseOutcome {
    match response {
        LocalResponse::Refusal(refusal) => {
            exchange.error_code = Some(refusal.code);
            // RFC 9211, section 2: it is for what a cache did with the response of an origin server.
            let headers = &mut exchange.response_headers;
            headers.retain(|(name, _)| *name != CACHE_STATUS);
            let body = Bytes::from(refusal.body(exchange.id.as_str()));
            whole::write(session, exchange, refusal_head(refusal), body).await
        }
        LocalResponse::Platform {
            status,
            content_type,
            body,
        } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::OK);
            let mut head = ResponseHead::new(status);
            let content_type = HeaderValue::from_static(content_type);
            head.field(&header::CONTENT_TYPE, &content_type);
            let body = Bytes::from(std::mem::take(body));
            whole::write(session, exchange, head, body).await
        }
        LocalResponse::Options(methods) => {
            let mut head = ResponseHead::new(StatusCode::NO_CONTENT);
            if let Ok(methods) = HeaderValue::from_str(methods) {
                head.field(&header::ALLOW, &methods);
            }
            whole::begin(exchange, &mut head);
            match session.write_bare_head(head).await {
                Ok(()) => ResponseOutcome::Whole,
                Err(_) => ResponseOutcome::ClientLeft,
            }
        }
    }
}

fn refusal_head(refusal: &Refusal) -> ResponseHead {
    let mut head = ResponseHead::new(refusal.status());
    head.field(&header::CONTENT_TYPE, &PROBLEM);
    head.field(&header::CACHE_CONTROL, &NO_STORE);
    if let Some(seconds) = refusal.retry_after_s {
        head.number(&header::RETRY_AFTER, seconds);
    }
    let allow = refusal.allow.as_deref();
    if let Some(allow) = allow.and_then(|allow| allow.parse().ok()) {
        head.field(&header::ALLOW, &allow);
    }
    if let Some(challenge) = &refusal.challenge {
        head.field(&header::WWW_AUTHENTICATE, challenge);
    }
    head
}
