//! A connection to an endpoint over HTTP/1, and the exchange on it (decision 18).
//!
//! A connection has no task: the task that waits for its response drives it. The request is written while the
//! response is read, so that a response to a request that is not complete yet is noticed. An idle connection
//! holds no buffer: bytes are read into a scratch buffer that all connections of a worker share, and copied
//! into a buffer of the size that has arrived.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use self::request_writer::RequestWriter;
use self::response_head::Persistence;
use self::response_parser::{Parsed, ResponseParser, is_informational};
use super::failure::{ConnectionError, Failure};
use super::informational::InformationalResponses;
use super::request_body::RequestBody;
use super::wire::Wire;
use crate::clock::{self, DeadlineTimer};
use crate::http::response_body::Piece;

mod request_head;
mod request_writer;
pub(crate) mod response_head;
mod response_parser;

/// The size of the scratch buffer.
const SCRATCH_BYTES: usize = 16 * 1024;
/// How much is read at once while more than that arrives: into a buffer that is forwarded without a copy.
const BULK_BYTES: usize = 64 * 1024;
/// Informational responses to one request.
const INFORMATIONAL_MAX: usize = 100;

thread_local! {
    static SCRATCH: RefCell<Box<[MaybeUninit<u8>]>> =
        RefCell::new(Box::new_uninit_slice(SCRATCH_BYTES));
}

/// One open connection.
pub(super) struct Http1Connection {
    wire: Wire,
    request: RequestWriter,
    response: ResponseParser,
    method: Method,
    flow: Flow,
    /// What has arrived of the response.
    arrival: ResponseArrival,
    persistence: Persistence,
    timer: DeadlineTimer,
    /// When it was last returned to the pool.
    pub(super) idle_since: Instant,
}

/// How a response arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// In pieces smaller than the scratch buffer.
    Trickle,
    /// The last read filled its buffer.
    Bulk,
}

/// Whether anything of a response has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ResponseArrival {
    Nothing,
    Begun,
}

impl Http1Connection {
    /// A connection that has just been opened.
    pub(super) fn new(wire: Wire) -> Box<Self> {
        Box::new(Http1Connection {
            wire,
            request: RequestWriter::nothing(),
            response: ResponseParser::new(),
            method: Method::GET,
            flow: Flow::Trickle,
            arrival: ResponseArrival::Nothing,
            persistence: Persistence::Kept,
            timer: DeadlineTimer::default(),
            idle_since: clock::now(),
        })
    }

    /// Whether another request can be sent over it: the endpoint has neither closed it nor sent anything
    /// meanwhile.
    pub(super) async fn is_usable(&mut self) -> bool {
        poll_fn(|context| {
            let mut scratch = [MaybeUninit::uninit(); 8];
            let mut read = ReadBuf::uninit(&mut scratch);
            let polled = Pin::new(&mut self.wire).poll_read(context, &mut read);
            Poll::Ready(polled.is_pending())
        })
        .await
    }

    /// Begins an exchange. Nothing is written yet.
    pub(super) fn begin(&mut self, head: &http::request::Parts, body: RequestBody) {
        self.method = head.method.clone();
        self.request = RequestWriter::new(head, body);
        self.response.begin();
        self.flow = Flow::Trickle;
        self.arrival = ResponseArrival::Nothing;
    }

    /// Sends the request, and waits for the head of the response until the deadline. Informational responses
    /// go to `informational`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn response_head(
        &mut self,
        deadline: Instant,
        informational: Option<&InformationalResponses>,
    ) -> Result<http::response::Parts, Failure> {
        let mut heads = 0;
        poll_fn(
            |context| match self.poll_head(context, informational, &mut heads) {
                Poll::Ready(head) => Poll::Ready(head.map_err(Failure::Connection)),
                Poll::Pending => {
                    let late = self.timer.poll_end(deadline, context);
                    late.map(|()| Err(Failure::TimedOut))
                }
            },
        )
        .await
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        informational: Option<&InformationalResponses>,
        heads: &mut usize,
    ) -> Poll<Result<http::response::Parts, ConnectionError>> {
        self.send(context)?;
        loop {
            while let Some(head) = self
                .response
                .head(&self.method)
                .map_err(ConnectionError::Malformed)?
            {
                if !is_informational(&head) {
                    self.persistence = head.persistence;
                    return Poll::Ready(Ok(head.parts));
                }
                *heads += 1;
                if *heads > INFORMATIONAL_MAX {
                    let flaw = "too many informational responses";
                    return Poll::Ready(Err(ConnectionError::Malformed(flaw)));
                }
                if let Some(informational) = informational {
                    informational.push(head.parts.status, head.parts.headers);
                }
            }
            ready!(self.poll_more(context))?;
        }
    }

    /// The next piece of the body; `None` at its end.
    pub(super) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, ConnectionError>>> {
        if let Err(broken) = self.send(context) {
            return Poll::Ready(Some(Err(broken)));
        }
        loop {
            match self.response.next() {
                Ok(Parsed::Piece(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(Parsed::End) => return Poll::Ready(None),
                Ok(Parsed::Incomplete) => {}
                Err(flaw) => return Poll::Ready(Some(Err(ConnectionError::Malformed(flaw)))),
            }
            if let Err(broken) = ready!(self.poll_more(context)) {
                return Poll::Ready(Some(Err(broken)));
            }
        }
    }

    /// Sends what is available of the request.
    fn send(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionError> {
        match self.request.poll(&mut self.wire, context) {
            Poll::Ready(Err(truncated)) => Err(ConnectionError::RequestBody(truncated)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Reads once, into the scratch buffer or in bulk.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<(), ConnectionError>> {
        let scratch_is_enough = |left| left <= SCRATCH_BYTES as u64;
        let flow = match self.response.length().is_some_and(scratch_is_enough) {
            true => Flow::Trickle,
            false => self.flow,
        };
        let read = match flow {
            Flow::Trickle => read_into_scratch(&mut self.wire, self.response.bytes(), context),
            Flow::Bulk => read_bulk(&mut self.wire, self.response.bytes(), context),
        };
        let bytes = match read {
            Poll::Ready(read) => read.map_err(ConnectionError::Io)?,
            Poll::Pending => {
                self.flow = Flow::Trickle;
                return Poll::Pending;
            }
        };
        self.flow = match bytes >= SCRATCH_BYTES {
            true => Flow::Bulk,
            false => Flow::Trickle,
        };
        Poll::Ready(match bytes {
            0 => self.response.closed().map_err(|_| ConnectionError::Closed),
            _ => {
                self.arrival = ResponseArrival::Begun;
                Ok(())
            }
        })
    }

    /// Whether anything of the response has arrived.
    pub(super) fn has_received(&self) -> bool {
        self.arrival == ResponseArrival::Begun
    }

    /// Ready at the deadline.
    pub(super) fn poll_end(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        self.timer.poll_end(deadline, context)
    }

    /// Whether the response is complete.
    pub(super) fn is_at_end(&self) -> bool {
        self.response.is_done()
    }

    /// The length of the rest of the body, where it is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.response.length()
    }

    /// Prevents its reuse for another request.
    pub(super) fn close_at_end(&mut self) {
        self.persistence = Persistence::Closed;
    }

    /// Whether it may be used for another request (keep-alive): this exchange is complete on both sides, and
    /// nothing follows the response, which would be read as the next one.
    pub(super) fn is_reusable(&self) -> bool {
        self.persistence == Persistence::Kept
            && self.response.is_done()
            && self.response.is_empty()
            && self.request.is_done()
    }

    /// Frees what the last exchange held.
    pub(super) fn become_idle(&mut self, now: Instant) {
        self.request = RequestWriter::nothing();
        self.response = ResponseParser::new();
        self.idle_since = now;
    }

    /// The body of a request of which nothing was written before the endpoint closed the connection.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        self.request
            .take_unsent()
            .filter(|_| self.response.is_empty())
    }

    /// The connection itself, and what has been read from it; `None` while the request is still being sent.
    pub(super) async fn into_wire(mut self: Box<Self>) -> Option<(Wire, Bytes)> {
        let sent = poll_fn(|context| Poll::Ready(self.send(context))).await;
        let whole = sent.is_ok() && self.request.is_done();
        let connection = *self;
        whole.then(|| (connection.wire, connection.response.into_bytes()))
    }
}

/// Reads into the worker's scratch buffer, and copies what has arrived.
fn read_into_scratch(
    wire: &mut Wire,
    bytes: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut read = ReadBuf::uninit(scratch);
        ready!(Pin::new(wire).poll_read(context, &mut read))?;
        bytes.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}

/// Reads into a buffer of its own, so that bulk data is not copied.
fn read_bulk(
    wire: &mut Wire,
    bytes: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    bytes.reserve(BULK_BYTES);
    let read = pin!(wire.read_buf(bytes)).poll(context);
    if read.is_pending() && bytes.is_empty() {
        *bytes = BytesMut::new();
    }
    read
}

#[cfg(test)]
mod tests;
