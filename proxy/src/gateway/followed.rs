//! The body of a response that was requested by an equal request.

use std::time::Instant;

use crate::cache::flight::{FollowedPiece, Follower, ResponseEnd};
use crate::clock::{self, Elapsed};
use crate::http::response_body::{NextPiece, Piece, PiecesAhead, ResponseBody};
use crate::refusal::ErrorCode;

/// The body as its follower reads it.
pub(super) struct FollowedBody<H> {
    follower: Follower<H>,
    /// In reverse order.
    put_back: PiecesAhead<ErrorCode>,
}

impl<H> FollowedBody<H> {
    pub(super) fn new(follower: Follower<H>) -> Self {
        FollowedBody {
            follower,
            put_back: PiecesAhead::new(),
        }
    }

    /// The error inside a response that is complete.
    pub(super) fn failure(&self) -> Option<ErrorCode> {
        match self.follower.end()? {
            ResponseEnd::Whole(failure) => failure,
            ResponseEnd::Cut(_) => None,
        }
    }
}

impl<H: Send + Sync> ResponseBody for FollowedBody<H> {
    type Error = ErrorCode;

    /// The error that ended the response of the leader.
    fn error_code(error: &ErrorCode) -> ErrorCode {
        *error
    }

    fn is_at_end(&mut self, _: Instant) -> bool {
        self.put_back.is_empty() && self.follower.is_at_end()
    }

    fn close_connection_at_end(&mut self) {}

    async fn arrived(&mut self) -> Option<NextPiece<ErrorCode>> {
        match self.put_back.pop() {
            Some(piece) => Some(piece),
            None => self.follower.arrived().map(of_followed),
        }
    }

    async fn next(&mut self, deadline: Instant) -> Result<NextPiece<ErrorCode>, Elapsed> {
        if let Some(piece) = self.put_back.pop() {
            return Ok(piece);
        }
        let left = deadline.saturating_duration_since(clock::now());
        clock::timeout(left, self.follower.next())
            .await
            .map(of_followed)
    }

    fn put_back(&mut self, pieces: PiecesAhead<ErrorCode>) {
        self.put_back.extend(pieces);
    }
}

fn of_followed(piece: FollowedPiece) -> NextPiece<ErrorCode> {
    match piece {
        FollowedPiece::Data(data) => Some(Ok(Piece::Data(data))),
        FollowedPiece::End(ResponseEnd::Whole(_)) => None,
        FollowedPiece::End(ResponseEnd::Cut(code)) => Some(Err(code)),
    }
}
