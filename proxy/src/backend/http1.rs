//! An endpoint that speaks HTTP/1: one connection, and the exchange that is on it (decision 18).
//!
//! A connection has no task: whoever waits for its answer drives it. The request is written and its answer
//! read at the same time, so that an endpoint that answers early is heard. What waits holds no buffer: bytes
//! are read into room that all connections of a worker share, and kept in as many as have come.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{Method, Uri};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use self::request_writer::Sending;
use self::response_head::Persistence;
use self::response_parser::{Arriving, Next, is_before_the_answer};
use super::client::{Broken, Failure, Piece};
use super::connector::{Connect, Protocol};
use super::informational::Early;
use super::request_body::RequestBody;
use super::wire::Wire;
use crate::clock::{self, Patience};

mod request_head;
mod request_writer;
pub(crate) mod response_head;
mod response_parser;

/// How much is read at once into the room that is shared.
const SHARED_BYTES: usize = 16 * 1024;
/// How much is read at once while there is more than that: into a buffer that is passed on as it is.
const BULK_BYTES: usize = 64 * 1024;
/// So many heads may come before the one that answers.
const EARLY_HEADS_MAX: usize = 100;

thread_local! {
    static SHARED: RefCell<Box<[MaybeUninit<u8>]>> =
        RefCell::new(Box::new_uninit_slice(SHARED_BYTES));
}

/// One open connection.
pub(super) struct Link {
    wire: Wire,
    sending: Sending,
    arriving: Arriving,
    asked: Method,
    flow: Flow,
    persistence: Persistence,
    patience: Patience,
    /// When it was last given back.
    pub(super) idle_since: Instant,
}

/// How an answer comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// In pieces that leave room in what is read.
    Trickle,
    /// The last read filled its room.
    Bulk,
}

impl Link {
    /// Opens a connection to the host of `uri`.
    ///
    /// # Errors
    /// See [`Connect::open`]; or it took longer than `timeout`.
    pub(super) async fn open(
        connect: &Connect,
        uri: &Uri,
        timeout: Duration,
    ) -> io::Result<Box<Self>> {
        let opening = connect.open(uri, Protocol::Http1);
        let stream = pingora::time::timeout(timeout, opening)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connect_timeout is over"))??;
        Ok(Link::new(Wire::from(stream)))
    }

    fn new(wire: Wire) -> Box<Self> {
        Box::new(Link {
            wire,
            sending: Sending::nothing(),
            arriving: Arriving::new(),
            asked: Method::GET,
            flow: Flow::Trickle,
            persistence: Persistence::Kept,
            patience: Patience::default(),
            idle_since: clock::now(),
        })
    }

    /// Whether another request can go over it: the endpoint has neither closed it nor said anything
    /// meanwhile.
    pub(super) async fn is_usable(&mut self) -> bool {
        poll_fn(|context| {
            let mut room = [MaybeUninit::uninit(); 8];
            let mut read = ReadBuf::uninit(&mut room);
            let heard = Pin::new(&mut self.wire).poll_read(context, &mut read);
            Poll::Ready(heard.is_pending())
        })
        .await
    }

    /// Begins an exchange. Nothing is written yet.
    pub(super) fn begin(&mut self, head: &http::request::Parts, body: RequestBody) {
        self.asked = head.method.clone();
        self.sending = Sending::new(head, body);
        self.arriving.begin();
        self.flow = Flow::Trickle;
    }

    /// Sends the request, and waits for the head of its answer until the deadline. Heads that come before
    /// it go to `early`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(super) async fn answered(
        &mut self,
        deadline: Instant,
        early: Option<&Early>,
    ) -> Result<http::response::Parts, Failure> {
        let mut heads = 0;
        poll_fn(|context| match self.poll_head(context, early, &mut heads) {
            Poll::Ready(head) => Poll::Ready(head.map_err(Failure::Broken)),
            Poll::Pending => {
                let late = self.patience.poll_end(deadline, context);
                late.map(|()| Err(Failure::TimedOut))
            }
        })
        .await
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        early: Option<&Early>,
        heads: &mut usize,
    ) -> Poll<Result<http::response::Parts, Broken>> {
        self.send(context)?;
        loop {
            while let Some(head) = self.arriving.head(&self.asked).map_err(Broken::Malformed)? {
                if !is_before_the_answer(&head) {
                    self.persistence = head.persistence;
                    return Poll::Ready(Ok(head.parts));
                }
                *heads += 1;
                if *heads > EARLY_HEADS_MAX {
                    let flaw = "too many heads come before its answer";
                    return Poll::Ready(Err(Broken::Malformed(flaw)));
                }
                if let Some(early) = early {
                    early.said(head.parts.status, head.parts.headers);
                }
            }
            ready!(self.poll_more(context))?;
        }
    }

    /// The next piece of the body; `None` at its end.
    pub(super) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, Broken>>> {
        if let Err(broken) = self.send(context) {
            return Poll::Ready(Some(Err(broken)));
        }
        loop {
            match self.arriving.next() {
                Ok(Next::Piece(piece)) => return Poll::Ready(Some(Ok(piece))),
                Ok(Next::End) => return Poll::Ready(None),
                Ok(Next::More) => {}
                Err(flaw) => return Poll::Ready(Some(Err(Broken::Malformed(flaw)))),
            }
            if let Err(broken) = ready!(self.poll_more(context)) {
                return Poll::Ready(Some(Err(broken)));
            }
        }
    }

    /// Sends what there is of the request, whether or not all of it is there.
    fn send(&mut self, context: &mut Context<'_>) -> Result<(), Broken> {
        match self.sending.poll(&mut self.wire, context) {
            Poll::Ready(Err(cut_short)) => Err(Broken::CutShort(cut_short)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Reads once.
    fn poll_more(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        let shared_is_enough = |left| left <= SHARED_BYTES as u64;
        let flow = match self.arriving.length().is_some_and(shared_is_enough) {
            true => Flow::Trickle,
            false => self.flow,
        };
        let read = match flow {
            Flow::Trickle => read_shared(&mut self.wire, self.arriving.bytes(), context),
            Flow::Bulk => read_bulk(&mut self.wire, self.arriving.bytes(), context),
        };
        let bytes = match read {
            Poll::Ready(read) => read.map_err(Broken::Io)?,
            Poll::Pending => {
                self.flow = Flow::Trickle;
                return Poll::Pending;
            }
        };
        self.flow = match bytes >= SHARED_BYTES {
            true => Flow::Bulk,
            false => Flow::Trickle,
        };
        Poll::Ready(match bytes {
            0 => self.arriving.closed().map_err(|_| Broken::Closed),
            _ => Ok(()),
        })
    }

    /// Ready at the deadline.
    pub(super) fn poll_end(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        self.patience.poll_end(deadline, context)
    }

    /// Whether the answer has come whole.
    pub(super) fn is_at_end(&self) -> bool {
        self.arriving.is_done()
    }

    /// The length of what is still to come of the body, where that is known.
    pub(super) fn length(&self) -> Option<u64> {
        self.arriving.length()
    }

    /// No other request is to go over it.
    pub(super) fn close_at_end(&mut self) {
        self.persistence = Persistence::Closed;
    }

    /// Whether it may carry another request: this exchange is over on both sides, and nothing came behind
    /// the answer.
    pub(super) fn is_reusable(&self) -> bool {
        self.persistence == Persistence::Kept
            && self.arriving.is_done()
            && self.arriving.is_empty()
            && self.sending.is_done()
    }

    /// Keeps nothing of the exchange that is over.
    pub(super) fn rest(&mut self, now: Instant) {
        self.sending = Sending::nothing();
        self.arriving = Arriving::new();
        self.idle_since = now;
    }

    /// The body of a request of which nothing was written before the endpoint closed the connection.
    pub(super) fn take_unsent(&mut self) -> Option<RequestBody> {
        self.sending
            .take_unsent()
            .filter(|_| self.arriving.is_empty())
    }

    /// The connection itself, and what has been read of it; `None` while the request is still being sent.
    pub(super) async fn into_wire(mut self: Box<Self>) -> Option<(Wire, Bytes)> {
        let sent = poll_fn(|context| Poll::Ready(self.send(context))).await;
        let whole = sent.is_ok() && self.sending.is_done();
        let link = *self;
        whole.then(|| (link.wire, link.arriving.into_bytes()))
    }
}

/// Reads into the room of the worker, and keeps what has come.
fn read_shared(
    wire: &mut Wire,
    bytes: &mut BytesMut,
    context: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    SHARED.with_borrow_mut(|room| {
        let mut read = ReadBuf::uninit(room);
        ready!(Pin::new(wire).poll_read(context, &mut read))?;
        bytes.extend_from_slice(read.filled());
        Poll::Ready(Ok(read.filled().len()))
    })
}

/// Reads into a buffer of its own: what comes in bulk is not copied.
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
