//! The body of a request to an endpoint: buffered, or passed through piece by piece as the client sends it.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// A buffered body, or one that is still arriving.
#[derive(Debug)]
pub enum RequestBody {
    Whole(WholeBody),
    PassThrough(PassThroughBody),
}

/// A complete body.
#[derive(Debug)]
pub struct WholeBody {
    /// `None` once it has been taken.
    bytes: Option<Bytes>,
    /// Set when an endpoint has been sent all of the request.
    sent: Option<Arc<AtomicBool>>,
}

/// A body that is passed through.
#[derive(Debug)]
pub struct PassThroughBody {
    pieces: Pieces,
    /// How much is missing, if the client announced the length.
    announced_bytes: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

/// Data, then `None` at the end of the body. If the sender is dropped before the end, the body is truncated.
type Pieces = mpsc::Receiver<Option<Bytes>>;

/// The client's body ended early; the endpoint must not process it as a complete one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client's body ended early")]
pub struct TruncatedBody;

impl RequestBody {
    /// A complete body.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        RequestBody::Whole(WholeBody {
            bytes: (!bytes.is_empty()).then_some(bytes),
            sent: None,
        })
    }

    /// The bytes of a complete body and its flag, so that it can be sent again.
    ///
    /// # Errors
    /// It can be sent only once.
    pub fn into_replayable(self) -> Result<(Bytes, Option<Arc<AtomicBool>>), Self> {
        match self {
            RequestBody::Whole(WholeBody { bytes, sent }) => Ok((bytes.unwrap_or_default(), sent)),
            once @ RequestBody::PassThrough(_) => Err(once),
        }
    }

    /// The same body, with a flag that is set when an endpoint has been sent all of the request. A pass-through body has
    /// none: the sender of its pieces knows.
    #[must_use]
    pub fn flagging(mut self, sent: Option<Arc<AtomicBool>>) -> Self {
        if let RequestBody::Whole(whole) = &mut self {
            whole.sent = sent;
        }
        self
    }

    /// Takes the flag, for the writer of the request.
    pub(super) fn take_sent(&mut self) -> Option<Arc<AtomicBool>> {
        match self {
            RequestBody::Whole(whole) => whole.sent.take(),
            RequestBody::PassThrough(_) => None,
        }
    }

    /// A body that is passed through, with the sender of its pieces. One piece waits at most.
    #[must_use]
    pub fn pass_through(announced_bytes: Option<u64>) -> (mpsc::Sender<Option<Bytes>>, Self) {
        let (sender, pieces) = mpsc::channel(1);
        let pass_through = PassThroughBody {
            pieces,
            announced_bytes,
            state: State::Open,
        };
        (sender, RequestBody::PassThrough(pass_through))
    }
}

impl PassThroughBody {
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, TruncatedBody>>> {
        if self.state == State::Ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.pieces.poll_recv(context));
        if let Some(Some(data)) = piece {
            if let Some(left) = &mut self.announced_bytes {
                *left = left.saturating_sub(data.len() as u64);
            }
            return Poll::Ready(Some(Ok(data)));
        }
        self.state = State::Ended;
        Poll::Ready(match piece {
            Some(_) => None,
            None => Some(Err(TruncatedBody)),
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = TruncatedBody;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, TruncatedBody>>> {
        match self.get_mut() {
            RequestBody::Whole(whole) => {
                Poll::Ready(whole.bytes.take().map(|data| Ok(Frame::data(data))))
            }
            RequestBody::PassThrough(pass_through) => pass_through
                .poll_piece(context)
                .map(|piece| piece.map(|data| data.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Whole(whole) => whole.bytes.is_none(),
            RequestBody::PassThrough(pass_through) => pass_through.state == State::Ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Whole(whole) => {
                let bytes = whole.bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(bytes as u64)
            }
            RequestBody::PassThrough(pass_through) => pass_through
                .announced_bytes
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn all_of(mut body: RequestBody) -> Result<Bytes, TruncatedBody> {
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame?.into_data().expect("data"));
        }
        Ok(all.into())
    }

    #[tokio::test]
    async fn a_pass_through_body_is_complete_only_with_its_end() {
        for whole in [true, false] {
            let (sender, body) = RequestBody::pass_through(Some(5));
            assert_eq!(body.size_hint().exact(), Some(5));
            let sending = tokio::spawn(async move {
                let hello = Bytes::from_static(b"hello");
                sender.send(Some(hello)).await.expect("taken");
                if whole {
                    sender.send(None).await.expect("taken");
                }
            });
            let collected = all_of(body).await;
            sending.await.expect("sent");
            match whole {
                true => assert_eq!(collected.expect("whole"), "hello"),
                false => assert_eq!(collected.expect_err("truncated"), TruncatedBody),
            }
        }
    }

    #[tokio::test]
    async fn a_complete_body_has_its_length() {
        let body = RequestBody::whole(Bytes::from_static(b"hello"));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(all_of(body).await.expect("whole"), "hello");
        assert!(RequestBody::whole(Bytes::new()).is_end_stream());
    }
}
