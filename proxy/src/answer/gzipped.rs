//! A stored response for a client that does not accept `identity`, but accepts gzip (RFC 9110,
//! section 12.5.3).

use bytes::Bytes;
use http::header::{self, HeaderValue};

use super::{ResponseOutcome, whole};
use crate::coding::{GzipEncoder, is_of_coded_bytes};
use crate::exchange::Exchange;
use crate::http::response_head::ResponseHead;
use crate::http::session::Session;

/// How much is compressed at once, before the other requests of this worker may run.
const PIECE_BYTES_MAX: usize = 64 * 1024;

/// Whether a piece is the last of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PieceOrder {
    Inner,
    Last,
}

/// Writes the response: a stream as a stream, a small body in one piece.
pub(super) async fn write(
    session: &mut Session,
    exchange: &mut Exchange,
    mut head: ResponseHead,
    length: Option<usize>,
    pieces: impl Iterator<Item = Bytes>,
) -> ResponseOutcome {
    head.field(&header::CONTENT_ENCODING, &HeaderValue::from_static("gzip"));
    head.field(&header::VARY, &HeaderValue::from_static("accept-encoding"));
    if length.is_some_and(|bytes| bytes <= PIECE_BYTES_MAX) {
        let body = pieces.collect::<Vec<_>>().concat();
        return match GzipEncoder::default().last(&body) {
            Ok(coded) => whole::write(session, exchange, head, coded).await,
            Err(_) => ResponseOutcome::CutShort,
        };
    }
    whole::begin(exchange, &mut head);
    if session.write_head(head).await.is_err() {
        return ResponseOutcome::ClientLeft;
    }
    let mut gzip = Some(GzipEncoder::default());
    let mut pieces = pieces.flat_map(split).peekable();
    while let Some(piece) = pieces.next() {
        let order = match pieces.peek() {
            Some(_) => PieceOrder::Inner,
            None => PieceOrder::Last,
        };
        let Some(coded) = code(&mut gzip, &piece, order) else {
            return ResponseOutcome::CutShort;
        };
        exchange.response_body_bytes += coded.len() as u64;
        if session
            .write_body(coded, order == PieceOrder::Last)
            .await
            .is_err()
        {
            return ResponseOutcome::ClientLeft;
        }
        if piece.len() == PIECE_BYTES_MAX {
            tokio::task::yield_now().await;
        }
    }
    ResponseOutcome::Whole
}

fn code(gzip: &mut Option<GzipEncoder>, piece: &[u8], order: PieceOrder) -> Option<Bytes> {
    let coded = match order {
        PieceOrder::Inner => gzip.as_mut()?.piece(piece),
        PieceOrder::Last => gzip.take()?.last(piece),
    };
    coded.ok()
}

fn split(piece: Bytes) -> impl Iterator<Item = Bytes> {
    let parts = piece.len().div_ceil(PIECE_BYTES_MAX).max(1);
    (0..parts).map(move |part| {
        let begin = part * PIECE_BYTES_MAX;
        piece.slice(begin..piece.len().min(begin + PIECE_BYTES_MAX))
    })
}

/// The lines of a head without the fields about its bytes, the `ETag` weak: a compressed response is another
/// representation (RFC 9110, section 8.8.3.3).
pub(super) fn lines(stored: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(stored.len() + 2);
    for line in stored.split_inclusive(|byte| *byte == b'\n') {
        let colon = line.iter().position(|byte| *byte == b':');
        let (name, value) = line.split_at(colon.unwrap_or(line.len()));
        if is_of_coded_bytes(name) {
            continue;
        }
        match value.strip_prefix(b": \"") {
            Some(rest) if name == header::ETAG.as_str().as_bytes() => {
                kept.extend_from_slice(b"etag: W/\"");
                kept.extend_from_slice(rest);
            }
            _ => kept.extend_from_slice(line),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_about_the_bytes_are_left_out() {
        let stored = b"content-type: a/b\r\netag: \"x: y\"\r\nrepr-digest: a\r\ncontent-md5: b\r\n\
                       etag: W/\"z\"\r\naccept-ranges: bytes\r\nx-empty: \r\n";
        assert_eq!(
            lines(stored),
            b"content-type: a/b\r\netag: W/\"x: y\"\r\netag: W/\"z\"\r\nx-empty: \r\n"
        );
        assert_eq!(lines(b""), b"");
    }

    #[test]
    fn a_large_piece_is_split() {
        let lengths = |bytes: usize| {
            let pieces = split(Bytes::from(vec![0; bytes]));
            pieces.map(|piece| piece.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(0), [0]);
        assert_eq!(lengths(1), [1]);
        assert_eq!(lengths(PIECE_BYTES_MAX), [PIECE_BYTES_MAX]);
        assert_eq!(
            lengths(PIECE_BYTES_MAX * 2 + 3),
            [PIECE_BYTES_MAX, PIECE_BYTES_MAX, 3]
        );
    }
}
