//! The body of a request on its way to an endpoint: whole, or piece by piece as the client sends it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::{mpsc, oneshot};

/// A body that was read whole, or one that is still coming.
#[derive(Debug)]
pub enum RequestBody {
    Whole(Whole),
    Relayed(Relayed),
}

/// A body that is all there.
#[derive(Debug)]
pub struct Whole {
    /// `None` once it has been taken.
    bytes: Option<Bytes>,
    /// Who is told when the endpoint has been sent all of the request.
    sent: Option<oneshot::Sender<()>>,
}

/// A body that goes on as it comes.
#[derive(Debug)]
pub struct Relayed {
    pieces: Pieces,
    /// So many bytes are still to come, where the client announced them.
    announced_bytes: Option<u64>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
}

/// What whoever reads the client's body hands over: data, then `None` when the body is whole. A sender
/// that goes away before leaves the body cut short.
type Pieces = mpsc::Receiver<Option<Bytes>>;

/// Whoever read the body went away before its end: the endpoint must not take it for a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CutShort;

impl std::fmt::Display for CutShort {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("the client's body did not come whole")
    }
}

impl std::error::Error for CutShort {}

impl RequestBody {
    /// A body that is all there.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        RequestBody::Whole(Whole {
            bytes: (!bytes.is_empty()).then_some(bytes),
            sent: None,
        })
    }

    /// The same body, which tells over HTTP/1 when the endpoint has been sent all of the request. One that
    /// comes piece by piece does not: whoever hands its pieces over knows.
    #[must_use]
    pub fn telling(mut self, sent: oneshot::Sender<()>) -> Self {
        if let RequestBody::Whole(whole) = &mut self {
            whole.sent = Some(sent);
        }
        self
    }

    /// Who is to be told by whoever sends it.
    pub(super) fn take_sent(&mut self) -> Option<oneshot::Sender<()>> {
        match self {
            RequestBody::Whole(whole) => whole.sent.take(),
            RequestBody::Relayed(_) => None,
        }
    }

    /// A body that comes piece by piece, of so many bytes if the client announced them. One piece waits
    /// at the most.
    #[must_use]
    pub fn relayed(announced_bytes: Option<u64>) -> (mpsc::Sender<Option<Bytes>>, Self) {
        let (sender, pieces) = mpsc::channel(1);
        let relayed = Relayed {
            pieces,
            announced_bytes,
            state: State::Open,
        };
        (sender, RequestBody::Relayed(relayed))
    }
}

impl Relayed {
    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, CutShort>>> {
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
            None => Some(Err(CutShort)),
        })
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match self.get_mut() {
            RequestBody::Whole(whole) => {
                Poll::Ready(whole.bytes.take().map(|data| Ok(Frame::data(data))))
            }
            RequestBody::Relayed(relayed) => relayed
                .poll_piece(context)
                .map(|piece| piece.map(|data| data.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            RequestBody::Whole(whole) => whole.bytes.is_none(),
            RequestBody::Relayed(relayed) => relayed.state == State::Ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            RequestBody::Whole(whole) => {
                let bytes = whole.bytes.as_ref().map_or(0, Bytes::len);
                SizeHint::with_exact(bytes as u64)
            }
            RequestBody::Relayed(relayed) => relayed
                .announced_bytes
                .map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn all_of(mut body: RequestBody) -> Result<Bytes, CutShort> {
        let mut all = Vec::new();
        while let Some(frame) = body.frame().await {
            all.extend_from_slice(&frame?.into_data().expect("data"));
        }
        Ok(all.into())
    }

    #[tokio::test]
    async fn a_relayed_body_is_whole_only_when_its_end_was_said() {
        for whole in [true, false] {
            let (sender, body) = RequestBody::relayed(Some(5));
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
                false => assert_eq!(collected.expect_err("cut short"), CutShort),
            }
        }
    }

    #[tokio::test]
    async fn a_whole_body_says_its_length() {
        let body = RequestBody::whole(Bytes::from_static(b"hello"));
        assert_eq!(body.size_hint().exact(), Some(5));
        assert_eq!(all_of(body).await.expect("whole"), "hello");
        assert!(RequestBody::whole(Bytes::new()).is_end_stream());
    }
}
