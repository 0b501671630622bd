//! Writes a stored response: a stream is sent as a stream again.

use bytes::Bytes;
use http::StatusCode;
use http::header;

use super::{ResponseOutcome, gzipped, whole};
use crate::coding::ServedCoding;
use crate::exchange::Exchange;
use crate::http::response_head::ResponseHead;
use crate::http::session::Session;

/// A stored response for a client.
pub(crate) struct StoredResponse<'a, P> {
    pub(crate) status: u16,
    /// Lines of `name: value` and CR LF, without the length of the body.
    pub(crate) head_lines: &'a [u8],
    pub(crate) age_s: u64,
    /// `None` for a stream.
    pub(crate) length: Option<usize>,
    /// The body, in the pieces in which it arrived.
    pub(crate) pieces: P,
}

/// Writes the response in the content coding that the client accepts.
pub(crate) async fn write<P>(
    session: &mut Session,
    exchange: &mut Exchange,
    stored: StoredResponse<'_, P>,
) -> ResponseOutcome
where
    P: Iterator<Item = Bytes>,
{
    let status = StatusCode::from_u16(stored.status).unwrap_or(StatusCode::OK);
    let accepted = session.head().headers.get_all(header::ACCEPT_ENCODING);
    if ServedCoding::to(accepted) == ServedCoding::Gzip {
        let lines = gzipped::lines(stored.head_lines);
        let mut head = ResponseHead::with_lines(status, &lines);
        head.number(&header::AGE, stored.age_s);
        let (length, pieces) = (stored.length, stored.pieces);
        // Boxed, because hardly any client refuses `identity`.
        return Box::pin(gzipped::write(session, exchange, head, length, pieces)).await;
    }
    let mut head = ResponseHead::with_lines(status, stored.head_lines);
    head.number(&header::AGE, stored.age_s);
    if let Some(bytes) = stored.length {
        head.number(&header::CONTENT_LENGTH, bytes as u64);
    }
    whole::begin(exchange, &mut head);
    if session.write_head(head).await.is_err() {
        return ResponseOutcome::ClientLeft;
    }
    write_pieces(session, exchange, stored.pieces).await
}

/// Writes a stored body, whose head has been written.
pub(super) async fn write_pieces(
    session: &mut Session,
    exchange: &mut Exchange,
    pieces: impl Iterator<Item = Bytes>,
) -> ResponseOutcome {
    let mut pieces = pieces.peekable();
    while let Some(piece) = pieces.next() {
        let bytes = piece.len() as u64;
        let last = pieces.peek().is_none();
        if session.write_body(piece, last).await.is_err() {
            return ResponseOutcome::ClientLeft;
        }
        exchange.response_body_bytes += bytes;
    }
    ResponseOutcome::Whole
}
