//! A response that was requested by an equal request: its head, and its body as it arrives.

use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use http::StatusCode;

use crate::answer::reused::ReusedContent;
use crate::cache::copy::SharedHead;
use crate::cache::flight::{FollowedPiece, Follower, ResponseEnd};
use crate::cache::http::HttpHead;
use crate::clock::{self, Elapsed};
use crate::http::response_body::{NextPiece, Piece, PiecesAhead, ResponseBody};
use crate::http::response_head::ResponseHead;
use crate::refusal::ErrorCode;

/// The response to an equal request.
pub(super) struct Followed<H> {
    pub(super) head: H,
    pub(super) body: FollowedBody<H>,
}

/// The head of a response that several requests share.
pub(super) trait HeadInFlight: Send + Sync {
    /// With its status and its header lines, without its age and its length.
    fn begin(&self) -> ResponseHead;

    fn age_s(&self) -> u64;

    /// The length of the body, if it is known.
    fn length(&self) -> Option<u64>;
}

impl HeadInFlight for SharedHead {
    fn begin(&self) -> ResponseHead {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        ResponseHead::with_lines(status, &self.lines)
    }

    fn age_s(&self) -> u64 {
        self.age_s
    }

    fn length(&self) -> Option<u64> {
        self.length
    }
}

impl HeadInFlight for HttpHead {
    fn begin(&self) -> ResponseHead {
        ResponseHead::with_dated_lines(self.status(), self.head_lines())
    }

    fn age_s(&self) -> u64 {
        self.age_s()
    }

    fn length(&self) -> Option<u64> {
        self.length()
    }
}

impl<H: HeadInFlight> Followed<H> {
    /// The whole response.
    pub(super) fn new(head: H, follower: Follower<H>) -> Self {
        let body = FollowedBody {
            follower,
            put_back: PiecesAhead::new(),
            skipped: 0,
            left: None,
        };
        Followed { head, body }
    }

    /// A part of a response with a known length.
    pub(super) fn part(head: H, follower: Follower<H>, part: &Range<usize>) -> Self {
        let mut followed = Followed::new(head, follower);
        followed.body.skipped = part.start;
        followed.body.left = Some(part.len());
        followed
    }

    /// What the head states of the body, and the length of what is written of it, if that is known.
    pub(super) fn content(&self) -> (ReusedContent, Option<u64>) {
        let length = self.head.length();
        let whole = length.and_then(|length| usize::try_from(length).ok());
        match (self.body.left, whole) {
            (Some(bytes), Some(length)) => {
                let first = self.body.skipped;
                (ReusedContent::Part { first, length }, Some(bytes as u64))
            }
            _ => (ReusedContent::Whole, length),
        }
    }
}

/// The body as its follower reads it.
pub(super) struct FollowedBody<H> {
    follower: Follower<H>,
    /// How many bytes are still skipped before the part.
    skipped: usize,
    /// How many bytes follow, for a part.
    left: Option<usize>,
    /// In reverse order.
    put_back: PiecesAhead<ErrorCode>,
}

impl<H> FollowedBody<H> {
    /// The error inside a response that is complete.
    pub(super) fn failure(&self) -> Option<ErrorCode> {
        match self.follower.end()? {
            ResponseEnd::Whole(failure) => failure,
            ResponseEnd::Cut(_) => None,
        }
    }

    /// Whether nothing more of the part follows.
    fn is_part_read(&self) -> bool {
        self.left == Some(0)
    }

    /// What the client gets of the next piece; `None` if nothing of it.
    fn of_part(&mut self, piece: FollowedPiece) -> Option<NextPiece<ErrorCode>> {
        let mut data = match piece {
            FollowedPiece::Data(data) => data,
            FollowedPiece::End(ResponseEnd::Whole(_)) => return Some(None),
            FollowedPiece::End(ResponseEnd::Cut(code)) => return Some(Some(Err(code))),
        };
        let skipped = self.skipped.min(data.len());
        self.skipped -= skipped;
        let _: Bytes = data.split_to(skipped);
        if let Some(left) = &mut self.left {
            data.truncate(*left);
            *left -= data.len();
        }
        (!data.is_empty()).then_some(Some(Ok(Piece::Data(data))))
    }
}

impl<H: Send + Sync> ResponseBody for FollowedBody<H> {
    type Error = ErrorCode;

    /// The error that ended the response of the leader.
    fn error_code(error: &ErrorCode) -> ErrorCode {
        *error
    }

    fn is_at_end(&mut self, _: Instant) -> bool {
        self.put_back.is_empty() && (self.is_part_read() || self.follower.is_at_end())
    }

    fn close_connection_at_end(&mut self) {}

    async fn arrived(&mut self) -> Option<NextPiece<ErrorCode>> {
        if let Some(piece) = self.put_back.pop() {
            return Some(piece);
        }
        while !self.is_part_read() {
            let piece = self.follower.arrived()?;
            if let Some(piece) = self.of_part(piece) {
                return Some(piece);
            }
        }
        Some(None)
    }

    async fn next(&mut self, deadline: Instant) -> Result<NextPiece<ErrorCode>, Elapsed> {
        if let Some(piece) = self.put_back.pop() {
            return Ok(piece);
        }
        let left = deadline.saturating_duration_since(clock::now());
        while !self.is_part_read() {
            // Pieces that are skipped arrive, too.
            let piece = clock::timeout(left, self.follower.next()).await?;
            if let Some(piece) = self.of_part(piece) {
                return Ok(piece);
            }
        }
        Ok(None)
    }

    fn put_back(&mut self, pieces: PiecesAhead<ErrorCode>) {
        self.put_back.extend(pieces);
    }
}
