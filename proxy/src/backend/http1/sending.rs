//! A request on its way: its head, then its body by length or in chunks (RFC 9112, sections 6 and 7).
//!
//! An endpoint that has answered may close its side while a body is still on its way to it: it refused the
//! body, and its answer lies in the receive buffer (RFC 9112, section 9.6). So a write that fails ends no
//! exchange: what is left goes nowhere, and what has become of the connection is for its reading side to
//! say: the answer, or its end.

use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::request::Parts;
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::request::write_head;
use crate::backend::request_body::{CutShort, RequestBody};

/// Room for the head of most requests.
const HEAD_BYTES: usize = 1024;

/// A request on its way.
#[derive(Debug)]
pub(super) struct Sending {
    /// The head, or the line with a chunk's size; then a piece of the body, then what ends its chunk.
    before: Vec<u8>,
    /// So many bytes of it have been written.
    begun: usize,
    piece: Bytes,
    behind: &'static [u8],
    /// `None` once all of it has been taken.
    body: Option<RequestBody>,
    framing: Framing,
    hearing: Hearing,
    progress: Progress,
}

/// How the endpoint knows the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    /// By the length, of which so many bytes have not been taken yet.
    Length(u64),
    Chunked,
}

/// Whether the endpoint takes what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Open,
    /// It does not: the rest of the request goes nowhere.
    Deaf,
}

/// How much has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Nothing,
    /// Something, and not all that was written has been flushed.
    Unflushed,
    Flushed,
}

impl Sending {
    /// Nothing is to be sent.
    pub(super) fn nothing() -> Self {
        Sending {
            before: Vec::new(),
            begun: 0,
            piece: Bytes::new(),
            behind: b"",
            body: None,
            framing: Framing::Length(0),
            hearing: Hearing::Open,
            progress: Progress::Flushed,
        }
    }

    /// A request of which nothing has been written.
    pub(super) fn new(head: &Parts, body: RequestBody) -> Self {
        let length = body.size_hint().exact();
        let mut before = Vec::with_capacity(HEAD_BYTES);
        write_head(&mut before, head, length);
        Sending {
            before,
            body: Some(body),
            framing: length.map_or(Framing::Chunked, Framing::Length),
            progress: Progress::Nothing,
            ..Sending::nothing()
        }
    }

    /// Whether the endpoint has been sent all of it.
    pub(super) fn is_done(&self) -> bool {
        self.hearing == Hearing::Open && self.body.is_none() && !self.has_left()
    }

    /// The body of a request of which nothing was written, and nothing can be.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        let unsent = self.progress == Progress::Nothing;
        match (self.body.take(), std::mem::take(&mut self.piece)) {
            (Some(body), piece) if unsent && piece.is_empty() => Some(body),
            // A body that was whole has been taken at once.
            (None, piece) if unsent => Some(RequestBody::whole(piece)),
            _ => None,
        }
    }

    /// Sends on what there is. Ready when the endpoint has all of it, or does not want it.
    ///
    /// # Errors
    /// Whoever reads the body went away before its end: the connection must be closed.
    pub(super) fn poll(
        &mut self,
        wire: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), CutShort>> {
        loop {
            if self.hearing == Hearing::Deaf {
                return self.poll_nowhere(context);
            }
            // A piece that is there leaves with the head.
            let waiting = match self.poll_take(context) {
                Ok(waiting) => waiting,
                Err(cut_short) => {
                    // Nothing more may make it look like a whole one, here or over another connection.
                    self.hearing = Hearing::Deaf;
                    self.progress = Progress::Unflushed;
                    return Poll::Ready(Err(cut_short));
                }
            };
            if self.has_left() {
                ready!(self.poll_write(wire, context));
                continue;
            }
            if self.progress == Progress::Unflushed {
                match ready!(Pin::new(&mut *wire).poll_flush(context)) {
                    Ok(()) => self.progress = Progress::Flushed,
                    Err(_) => self.hearing = Hearing::Deaf,
                }
                continue;
            }
            return match waiting {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) if self.body.is_none() => Poll::Ready(Ok(())),
                Poll::Ready(()) => continue,
            };
        }
    }

    fn has_left(&self) -> bool {
        !(self.before.is_empty() && self.piece.is_empty() && self.behind.is_empty())
    }

    /// Takes the next piece of the body, if there is room for it.
    fn poll_take(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, CutShort> {
        let has_room = self.piece.is_empty() && self.behind.is_empty();
        let Some(body) = self.body.as_mut().filter(|_| has_room) else {
            return Ok(Poll::Ready(()));
        };
        let taken = match Pin::new(&mut *body).poll_frame(context) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(taken) => taken.transpose()?,
        };
        let is_at_end = body.is_end_stream();
        if let Some(data) = taken.and_then(|frame| frame.into_data().ok()) {
            self.frame(data)?;
        }
        if is_at_end {
            self.body = None;
            self.end()?;
        }
        Ok(Poll::Ready(()))
    }

    fn frame(&mut self, data: Bytes) -> Result<(), CutShort> {
        match &mut self.framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(CutShort)?;
            }
            // A chunk without data would end the body.
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                // Writing to memory does not fail.
                let _ = write!(self.before, "{:x}\r\n", data.len());
                self.behind = b"\r\n";
            }
        }
        self.piece = data;
        Ok(())
    }

    fn end(&mut self) -> Result<(), CutShort> {
        match self.framing {
            Framing::Length(0) => Ok(()),
            Framing::Length(_) => Err(CutShort),
            Framing::Chunked => {
                self.behind = match self.behind {
                    b"" => b"0\r\n\r\n",
                    _ => b"\r\n0\r\n\r\n",
                };
                Ok(())
            }
        }
    }

    fn poll_write(
        &mut self,
        wire: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<()> {
        let wire = Pin::new(wire);
        let written = match self.piece.is_empty() && self.behind.is_empty() {
            true => wire.poll_write(context, &self.before[self.begun..]),
            false => {
                let parts = [&self.before[self.begun..], &self.piece, self.behind];
                wire.poll_write_vectored(context, &parts.map(IoSlice::new))
            }
        };
        match ready!(written) {
            Ok(bytes) if bytes > 0 => {
                self.progress = Progress::Unflushed;
                self.advance(bytes);
            }
            Ok(_) | Err(_) => self.hearing = Hearing::Deaf,
        }
        Poll::Ready(())
    }

    /// So many bytes have been written. Nothing is kept of them.
    fn advance(&mut self, mut bytes: usize) {
        let of_before = bytes.min(self.before.len() - self.begun);
        self.begun += of_before;
        bytes -= of_before;
        if self.begun == self.before.len() {
            (self.before, self.begun) = (Vec::new(), 0);
        }
        let of_piece = bytes.min(self.piece.len());
        bytes -= of_piece;
        match of_piece == self.piece.len() {
            true => self.piece = Bytes::new(),
            false => self.piece.advance(of_piece),
        }
        self.behind = self.behind.get(bytes..).unwrap_or_default();
    }

    /// Takes the body, for nobody. What was never begun is kept: another connection may have it.
    fn poll_nowhere(&mut self, context: &mut Context<'_>) -> Poll<Result<(), CutShort>> {
        while self.progress != Progress::Nothing
            && let Some(body) = &mut self.body
        {
            match ready!(Pin::new(&mut *body).poll_frame(context)) {
                Some(Ok(_)) => {}
                Some(Err(cut_short)) => return Poll::Ready(Err(cut_short)),
                None => self.body = None,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use http::Request;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn head(method: &str) -> Parts {
        let request = Request::builder()
            .method(method)
            .uri("http://a.test:80/b?c=d")
            .header("x-a", "1")
            .header("content-length", "9")
            .header("transfer-encoding", "gzip");
        request.body(()).expect("a request").into_parts().0
    }

    /// What a connection that takes `room` bytes at a time is sent.
    async fn sent(mut sending: Sending, room: usize) -> (String, Result<(), CutShort>) {
        let (mut near, mut far) = tokio::io::duplex(room);
        let reading = tokio::spawn(async move {
            let mut sent = String::new();
            far.read_to_string(&mut sent).await.expect("read");
            sent
        });
        let result = poll_fn(|context| sending.poll(&mut near, context)).await;
        drop(near);
        (reading.await.expect("read"), result)
    }

    #[tokio::test]
    async fn a_whole_body_is_announced() {
        for (method, body, expected) in [
            ("GET", "", "GET /b?c=d HTTP/1.1\r\nx-a: 1\r\n\r\n"),
            (
                "PUT",
                "",
                "PUT /b?c=d HTTP/1.1\r\nx-a: 1\r\ncontent-length: 0\r\n\r\n",
            ),
            (
                "GET",
                "hi",
                "GET /b?c=d HTTP/1.1\r\nx-a: 1\r\ncontent-length: 2\r\n\r\nhi",
            ),
        ] {
            for room in [1, 7, 4096] {
                let body = RequestBody::whole(Bytes::from_static(body.as_bytes()));
                let (text, result) = sent(Sending::new(&head(method), body), room).await;
                assert_eq!((text.as_str(), result), (expected, Ok(())));
            }
        }
    }

    #[tokio::test]
    async fn a_relayed_body_goes_on_as_it_comes() {
        for (announced, framed) in [
            (Some(13), "content-length: 13\r\n\r\nhello, world!"),
            (
                None,
                "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n8\r\n, world!\r\n0\r\n\r\n",
            ),
        ] {
            for room in [1, 7, 4096] {
                let (pieces, body) = RequestBody::relayed(announced);
                let relaying = tokio::spawn(async move {
                    for piece in ["hello", "", ", world!"] {
                        pieces.send(Some(piece.into())).await.expect("taken");
                    }
                    pieces.send(None).await.expect("taken");
                });
                let (text, result) = sent(Sending::new(&head("POST"), body), room).await;
                relaying.await.expect("relayed");
                let expected = format!("POST /b?c=d HTTP/1.1\r\nx-a: 1\r\n{framed}");
                assert_eq!((text, result), (expected, Ok(())));
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_is_not_as_announced_is_not_whole() {
        for piece in [None, Some("four"), Some("sixsix")] {
            let (pieces, body) = RequestBody::relayed(Some(5));
            let relaying = tokio::spawn(async move {
                if let Some(piece) = piece {
                    pieces.send(Some(piece.into())).await.expect("taken");
                    // Nobody may want to hear of the end any more.
                    let _ = pieces.send(None).await;
                }
            });
            let mut sending = Sending::new(&head("POST"), body);
            let (mut near, _far) = tokio::io::duplex(4096);
            let result = poll_fn(|context| sending.poll(&mut near, context)).await;
            relaying.await.expect("relayed");
            assert_eq!(result, Err(CutShort), "{piece:?}");
            assert!(
                !sending.is_done() && sending.take_unsent().is_none(),
                "{piece:?}"
            );
        }
    }

    #[tokio::test]
    async fn what_nobody_takes_goes_nowhere_or_to_another() {
        let (mut near, far) = tokio::io::duplex(4096);
        drop(far);
        for body in ["", "hello"] {
            let mut sending = Sending::new(&head("POST"), RequestBody::whole(body.into()));
            let result = poll_fn(|context| sending.poll(&mut near, context)).await;
            assert_eq!(result, Ok(()));
            assert!(!sending.is_done());
            let unsent = sending.take_unsent().expect("nothing was written");
            assert_eq!(unsent.size_hint().exact(), Some(body.len() as u64));
        }
        // Begun, it is not sent twice, and its rest is taken.
        let (mut near, mut far) = tokio::io::duplex(4096);
        let (pieces, body) = RequestBody::relayed(None);
        let mut sending = Sending::new(&head("POST"), body);
        let begun = poll_fn(|context| Poll::Ready(sending.poll(&mut near, context))).await;
        assert!(begun.is_pending());
        far.read_u8().await.expect("the head");
        drop(far);
        let relaying = tokio::spawn(async move {
            for piece in [Some("a"), Some("b"), Some("c"), None] {
                pieces.send(piece.map(Bytes::from)).await.expect("taken");
            }
        });
        let result = poll_fn(|context| sending.poll(&mut near, context)).await;
        assert_eq!(result, Ok(()));
        relaying.await.expect("relayed");
        assert!(!sending.is_done());
        assert!(sending.take_unsent().is_none());
    }
}
