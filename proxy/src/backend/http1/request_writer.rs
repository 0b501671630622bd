//! Writes a request: its head, then its body by length or in the chunked transfer coding (RFC 9112, sections 6
//! and 7).
//!
//! An endpoint that has responded may close its side while a body is still being sent: it refused the body, and
//! its response is in the receive buffer (RFC 9112, section 9.6). So a write that fails does not end the exchange:
//! the rest of the request is discarded, and the reading side finds the response, or the end of the connection.

use std::io::{IoSlice, Write as _};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::request::Parts;
use http_body::Body as _;
use tokio::io::AsyncWrite;

use super::request_head::write_head;
use crate::backend::request_body::{RequestBody, TruncatedBody};

/// Enough for the head of most requests.
const HEAD_BYTES: usize = 1024;

/// A request that is being written.
#[derive(Debug)]
pub(super) struct RequestWriter {
    /// The head, or the size line of a chunk; written before the piece.
    prefix: Vec<u8>,
    /// How much of the prefix has been written.
    prefix_written: usize,
    piece: Bytes,
    suffix: &'static [u8],
    /// `None` once all of it has been taken.
    body: Option<RequestBody>,
    /// Set when the endpoint has been sent all of it.
    sent: Option<Arc<AtomicBool>>,
    framing: OutgoingFraming,
    reception: Reception,
    progress: Progress,
}

/// How the endpoint knows the end of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OutgoingFraming {
    /// By the length, of which this much has not been taken yet.
    Length(u64),
    Chunked,
}

/// Whether the endpoint accepts what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reception {
    Open,
    /// It does not: the rest of the request is discarded.
    Closed,
}

/// How much has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Nothing,
    /// Something, and not all of it has been flushed.
    Unflushed,
    Flushed,
}

impl RequestWriter {
    /// Nothing to be sent.
    pub(super) fn nothing() -> Self {
        RequestWriter {
            prefix: Vec::new(),
            prefix_written: 0,
            piece: Bytes::new(),
            suffix: b"",
            body: None,
            sent: None,
            framing: OutgoingFraming::Length(0),
            reception: Reception::Open,
            progress: Progress::Flushed,
        }
    }

    /// A request of which nothing has been written.
    pub(super) fn new(head: &Parts, mut body: RequestBody) -> Self {
        let length = body.size_hint().exact();
        let mut prefix = Vec::with_capacity(HEAD_BYTES);
        write_head(&mut prefix, head, length);
        RequestWriter {
            prefix,
            sent: body.take_sent(),
            body: Some(body),
            framing: length.map_or(OutgoingFraming::Chunked, OutgoingFraming::Length),
            progress: Progress::Nothing,
            ..RequestWriter::nothing()
        }
    }

    /// Whether the endpoint has been sent all of it.
    pub(super) fn is_done(&self) -> bool {
        self.reception == Reception::Open && self.body.is_none() && !self.has_left()
    }

    /// The body of a request of which nothing was written, so that it can be sent over another connection.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        let unsent = self.progress == Progress::Nothing;
        let body = match (self.body.take(), std::mem::take(&mut self.piece)) {
            (Some(body), piece) if unsent && piece.is_empty() => body,
            // A complete body is taken at once.
            (None, piece) if unsent => RequestBody::whole(piece),
            _ => return None,
        };
        Some(body.flagging(self.sent.take()))
    }

    /// Writes what is available. Ready when the endpoint has been sent all of it, or does not accept it.
    ///
    /// # Errors
    /// The client's body ended early: the connection must be closed.
    pub(super) fn poll(
        &mut self,
        wire: &mut (impl AsyncWrite + Unpin),
        context: &mut Context<'_>,
    ) -> Poll<Result<(), TruncatedBody>> {
        loop {
            if self.reception == Reception::Closed {
                return self.poll_discard(context);
            }
            // A piece that is available is written with the head.
            let waiting = match self.poll_take(context) {
                Ok(waiting) => waiting,
                Err(truncated) => {
                    // It must not be taken for a complete request, here or over another connection.
                    self.reception = Reception::Closed;
                    self.progress = Progress::Unflushed;
                    return Poll::Ready(Err(truncated));
                }
            };
            if self.has_left() {
                ready!(self.poll_write(wire, context));
                continue;
            }
            if self.progress == Progress::Unflushed {
                match ready!(Pin::new(&mut *wire).poll_flush(context)) {
                    Ok(()) => self.progress = Progress::Flushed,
                    Err(_) => self.reception = Reception::Closed,
                }
                continue;
            }
            return match waiting {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) if self.body.is_none() => {
                    if let Some(sent) = self.sent.take() {
                        sent.store(true, Ordering::Release);
                    }
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(()) => continue,
            };
        }
    }

    fn has_left(&self) -> bool {
        !(self.prefix.is_empty() && self.piece.is_empty() && self.suffix.is_empty())
    }

    /// Takes the next piece of the body, once the last one has been written.
    fn poll_take(&mut self, context: &mut Context<'_>) -> Result<Poll<()>, TruncatedBody> {
        let has_room = self.piece.is_empty() && self.suffix.is_empty();
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

    fn frame(&mut self, data: Bytes) -> Result<(), TruncatedBody> {
        match &mut self.framing {
            OutgoingFraming::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(TruncatedBody)?;
            }
            // A chunk without data would end the body.
            OutgoingFraming::Chunked if data.is_empty() => {}
            OutgoingFraming::Chunked => {
                // Writing to memory does not fail.
                let _ = write!(self.prefix, "{:x}\r\n", data.len());
                self.suffix = b"\r\n";
            }
        }
        self.piece = data;
        Ok(())
    }

    fn end(&mut self) -> Result<(), TruncatedBody> {
        match self.framing {
            OutgoingFraming::Length(0) => Ok(()),
            OutgoingFraming::Length(_) => Err(TruncatedBody),
            OutgoingFraming::Chunked => {
                self.suffix = match self.suffix {
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
        let written = match self.piece.is_empty() && self.suffix.is_empty() {
            true => wire.poll_write(context, &self.prefix[self.prefix_written..]),
            false => {
                let parts = [
                    &self.prefix[self.prefix_written..],
                    &self.piece,
                    self.suffix,
                ];
                wire.poll_write_vectored(context, &parts.map(IoSlice::new))
            }
        };
        match ready!(written) {
            Ok(bytes) if bytes > 0 => {
                self.progress = Progress::Unflushed;
                self.advance(bytes);
            }
            Ok(_) | Err(_) => self.reception = Reception::Closed,
        }
        Poll::Ready(())
    }

    /// Frees what has been written.
    fn advance(&mut self, mut bytes: usize) {
        let of_prefix = bytes.min(self.prefix.len() - self.prefix_written);
        self.prefix_written += of_prefix;
        bytes -= of_prefix;
        if self.prefix_written == self.prefix.len() {
            (self.prefix, self.prefix_written) = (Vec::new(), 0);
        }
        let of_piece = bytes.min(self.piece.len());
        bytes -= of_piece;
        match of_piece == self.piece.len() {
            true => self.piece = Bytes::new(),
            false => self.piece.advance(of_piece),
        }
        self.suffix = self.suffix.get(bytes..).unwrap_or_default();
    }

    /// Reads the body to its end and discards it. A body of which nothing was sent is kept for another connection.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TruncatedBody>> {
        while self.progress != Progress::Nothing
            && let Some(body) = &mut self.body
        {
            match ready!(Pin::new(&mut *body).poll_frame(context)) {
                Some(Ok(_)) => {}
                Some(Err(truncated)) => return Poll::Ready(Err(truncated)),
                None => self.body = None,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
