//! The body of a response on its way to the client, wherever it comes from.

use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use smallvec::SmallVec;

use crate::clock::Elapsed;
use crate::refusal::ErrorCode;

/// A piece of the body of a response.
#[derive(Debug)]
pub enum Piece {
    Data(Bytes),
    /// They end the body.
    Trailers(HeaderMap),
}

/// The result of reading from a body: a piece, an error, or `None` at its end.
pub type NextPiece<E> = Option<Result<Piece, E>>;

/// Pieces that were read ahead, in reverse order. Most bodies arrive in one piece.
pub type PiecesAhead<E> = SmallVec<[NextPiece<E>; 1]>;

/// The body of a response as it arrives. Dropping it before its end closes its connection.
pub(crate) trait ResponseBody: Send {
    /// Why the body cannot be read to its end.
    type Error: Send;

    /// The error as it is recorded.
    fn error_code(error: &Self::Error) -> ErrorCode;

    /// Whether the body has been read to its end. Its connection is then idle since `now`.
    fn is_at_end(&mut self, now: Instant) -> bool;

    /// Its connection must not be used for another request.
    fn close_connection_at_end(&mut self);

    /// The next piece if it has arrived already; `None` if not.
    fn arrived(&mut self) -> impl Future<Output = Option<NextPiece<Self::Error>>> + Send;

    /// The next piece.
    ///
    /// # Errors
    /// It has not arrived by the deadline.
    fn next(
        &mut self,
        deadline: Instant,
    ) -> impl Future<Output = Result<NextPiece<Self::Error>, Elapsed>> + Send;

    /// Puts pieces back that were read ahead, so that they are read again.
    fn put_back(&mut self, pieces: PiecesAhead<Self::Error>);
}
