//! A connection to an endpoint, as bytes: what hyper reads from and writes to.
//!
//! An endpoint that has answered may close its side while a body is still on its way to it: it refused
//! the body, and its answer lies in the receive buffer (RFC 9112, section 9.6). hyper gives a connection
//! up at the first write that fails, and the answer with it. So a write that fails is taken for done, and
//! what is to come of the connection is for its reading side to say: the answer, or its end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};

use super::connector::Stream;

/// A stream whose failed writes are for its readers to find.
pub struct Wire {
    stream: Stream,
    hearing: Hearing,
}

/// Whether the endpoint takes what is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    Open,
    /// It does not: the rest of the request goes nowhere.
    Deaf,
}

impl Wire {
    pub(super) fn new(stream: Stream) -> Self {
        Wire {
            stream,
            hearing: Hearing::Open,
        }
    }

    /// What became of a write of so many bytes.
    fn written(
        &mut self,
        bytes: usize,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match result {
            Poll::Ready(Err(_)) => {
                self.hearing = Hearing::Deaf;
                Poll::Ready(Ok(bytes))
            }
            other => other,
        }
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, room)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.hearing == Hearing::Deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(bytes.len(), result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let bytes = slices.iter().map(|slice| slice.len()).sum();
        if self.hearing == Hearing::Deaf {
            return Poll::Ready(Ok(bytes));
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(bytes, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.hearing == Hearing::Deaf {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(Err(_)) => {
                self.hearing = Hearing::Deaf;
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
