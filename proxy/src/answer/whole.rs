//! Writes a response whose whole body is known.

use bytes::Bytes;
use http::header;

use super::{ResponseOutcome, head};
use crate::clock;
use crate::exchange::{Exchange, Stage};
use crate::http::response_head::ResponseHead;
use crate::http::session::Session;

/// Writes the response with its `Content-Length`, in as few writes as possible.
pub(super) async fn write(
    session: &mut Session,
    exchange: &mut Exchange,
    mut head: ResponseHead,
    body: Bytes,
) -> ResponseOutcome {
    head.number(&header::CONTENT_LENGTH, body.len() as u64);
    exchange.response_body_bytes = body.len() as u64;
    begin(exchange, &mut head);
    if session.write_head(head).await.is_err() || session.write_body(body, true).await.is_err() {
        return ResponseOutcome::ClientLeft;
    }
    ResponseOutcome::Whole
}

/// Completes the head. From here on the exchange has a status.
pub(super) fn begin(exchange: &mut Exchange, head: &mut ResponseHead) {
    exchange.timing.enter(Stage::Answer, clock::now());
    head::finish(head, exchange);
    exchange.status = head.status.as_u16();
}
