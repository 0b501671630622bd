//! A client that speaks HTTP/1: the requests of one connection, one after another (keep-alive, pipelining).
//!
//! weir reads and writes HTTP/1 itself (decision 8): the head is parsed in place, the body is sliced out of
//! the buffer it arrived in, and the head and body of a response leave in one write.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::head;
use super::io::{AfterRequest, BodyReadError, WriteError};
use super::response_head::ResponseHead;
use super::socket::ClientStream;
use crate::http::framing::chunked::{self, Chunked, Step};
use crate::refusal::Refusal;

pub(crate) mod request;
mod response;
mod spare;

use response::with_timeout;

/// How much of a body is read at once.
const READ_BYTES: usize = 64 * 1024;
/// How many pipelined bytes are buffered while a response is being written; then reading pauses.
const PIPELINED_BYTES_MAX: usize = 64 * 1024;
/// If this much more stays queued in the kernel for a while, the end of the connection could be hidden behind
/// a full receive queue: the bytes are read and discarded, and the connection closes after this response.
const RECEIVE_QUEUE_BYTES_MAX: u64 = 16 * 1024;
/// Up to this size, a piece of a response is written together with the bytes before it.
const COALESCED_BYTES_MAX: usize = 16 * 1024;
/// The capacity for header fields that an idle connection keeps.
const FIELDS_KEPT_MAX: usize = 32;

/// Whether the connection may be reused (RFC 9112, section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    Open,
    Close,
}

/// How far the body of a request has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyState {
    Done,
    /// This many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
}

/// One connection, with the request that is being served on it.
pub(crate) struct Http1 {
    stream: ClientStream,
    /// Bytes that were read and not consumed: of the body, then of pipelined requests.
    arrived: BytesMut,
    head: Parts,
    /// The head as it arrived, to record a request that cannot be parsed.
    raw_head: Bytes,
    announced_bytes: Option<u64>,
    body_state: BodyState,
    framing: response::Framing,
    head_state: response::HeadState,
    keep_alive: KeepAlive,
    out: Vec<u8>,
    write_timeout: Duration,
}

impl Http1 {
    /// A connection from which nothing has been read. A write to a client that does not read fails after
    /// `write_timeout`.
    pub(crate) fn new(stream: ClientStream, write_timeout: Duration) -> Box<Self> {
        let (head, ()) = http::Request::new(()).into_parts();
        Box::new(Http1 {
            stream,
            arrived: BytesMut::new(),
            head,
            raw_head: Bytes::new(),
            announced_bytes: None,
            body_state: BodyState::Done,
            framing: response::Framing::Bodiless,
            head_state: response::HeadState::Unwritten,
            keep_alive: KeepAlive::Close,
            out: Vec::new(),
            write_timeout,
        })
    }

    /// The stream and the buffer for reading the next head. An idle connection holds no buffers.
    pub(crate) fn parts_to_read(&mut self) -> (&mut ClientStream, &mut BytesMut) {
        match self.head.headers.capacity() > FIELDS_KEPT_MAX {
            true => self.head.headers = HeaderMap::new(),
            false => self.head.headers.clear(),
        }
        self.head.uri = http::Uri::default();
        self.head.extensions.clear();
        self.raw_head = Bytes::new();
        spare::give_back(std::mem::take(&mut self.out));
        if self.arrived.is_empty() {
            self.arrived = BytesMut::new();
        }
        (&mut self.stream, &mut self.arrived)
    }

    /// Parses the head of the next request, which ends at offset `end` of the bytes that have arrived.
    ///
    /// # Errors
    /// See [`request::parse`]. The connection must not be reused then.
    pub(crate) fn parse_head(&mut self, end: usize) -> Result<(), Refusal> {
        self.keep_alive = KeepAlive::Close;
        self.head_state = response::HeadState::Unwritten;
        self.body_state = BodyState::Done;
        self.announced_bytes = None;
        self.raw_head = self.arrived.split_to(end).freeze();
        let framing = request::parse(&self.raw_head, &mut self.head)?;
        (self.body_state, self.announced_bytes) = match framing {
            request::RequestFraming::Bodiless => (BodyState::Done, None),
            request::RequestFraming::Length(0) => (BodyState::Done, Some(0)),
            request::RequestFraming::Length(bytes) => (BodyState::Length(bytes), Some(bytes)),
            request::RequestFraming::Chunked => (BodyState::Chunked(Chunked::Size), None),
        };
        self.keep_alive = request::keep_alive(&self.head);
        Ok(())
    }

    pub(crate) fn head(&self) -> &Parts {
        &self.head
    }

    /// The head as far as it arrived, for requests that are rejected before they are parsed.
    pub(crate) fn raw_head(&self) -> &[u8] {
        match self.raw_head.is_empty() {
            true => &self.arrived,
            false => &self.raw_head,
        }
    }

    pub(crate) fn announced_bytes(&self) -> Option<u64> {
        self.announced_bytes
    }

    pub(crate) fn is_body_done(&self) -> bool {
        self.body_state == BodyState::Done
    }

    /// Whether the whole body arrived with its head.
    pub(crate) fn has_body_arrived(&self) -> bool {
        match self.body_state {
            BodyState::Done => true,
            BodyState::Length(left) => left <= self.arrived.len() as u64,
            BodyState::Chunked(_) => false,
        }
    }

    pub(crate) fn is_chunked(&self) -> bool {
        matches!(self.body_state, BodyState::Chunked(_))
    }

    pub(crate) fn close_after_response(&mut self) {
        self.keep_alive = KeepAlive::Close;
    }

    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive == KeepAlive::Open && self.is_body_done()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// A malformed chunk, or a client that disconnected before the end.
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>, BodyReadError> {
        loop {
            let wanted = match &mut self.body_state {
                BodyState::Done => return Ok(None),
                BodyState::Length(left) if !self.arrived.is_empty() => {
                    let bytes = usize::try_from(*left).unwrap_or(usize::MAX);
                    let piece = self.arrived.split_to(bytes.min(self.arrived.len()));
                    self.body_state = match *left - piece.len() as u64 {
                        0 => BodyState::Done,
                        left => BodyState::Length(left),
                    };
                    return Ok(Some(piece.freeze()));
                }
                BodyState::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
                BodyState::Chunked(chunked) => match chunked.step(&mut self.arrived) {
                    Ok(Step::Data(data)) => return Ok(Some(data)),
                    // No stage reads the trailers of a request.
                    Ok(Step::Trailer(_)) => continue,
                    Ok(Step::End) => {
                        self.body_state = BodyState::Done;
                        return Ok(None);
                    }
                    Ok(Step::More) => READ_BYTES,
                    Err(error) => {
                        self.keep_alive = KeepAlive::Close;
                        return Err(BodyReadError::Malformed(error));
                    }
                },
            };
            match self.read_more(wanted.min(READ_BYTES)).await {
                Ok(0) | Err(_) => return Err(BodyReadError::ClientLeft),
                Ok(_) => {}
            }
        }
    }

    /// The framing error in the chunks that have arrived already, if there is one.
    pub(crate) fn chunk_error(&self) -> Option<&'static str> {
        match self.body_state {
            BodyState::Chunked(_) => chunked::error(&self.arrived),
            BodyState::Done | BodyState::Length(_) => None,
        }
    }

    /// Resolves when the client disconnects or sends bytes after its request.
    pub(crate) async fn left_or_sent(&mut self) -> AfterRequest {
        if self.arrived.is_empty() {
            let (stream, arrived) = (&mut self.stream, &mut self.arrived);
            let read = poll_fn(|context| head::poll_read(stream, arrived, context)).await;
            if let Ok(0) | Err(_) = read {
                self.keep_alive = KeepAlive::Close;
                return AfterRequest::Left;
            }
        }
        AfterRequest::SentMore
    }

    /// Reads up to `wanted` bytes. No buffer is held while nothing arrives.
    async fn read_more(&mut self, wanted: usize) -> io::Result<usize> {
        poll_fn(|context| {
            self.arrived.reserve(wanted);
            let read = pin!(self.stream.read_buf(&mut self.arrived)).poll(context);
            if read.is_pending() && self.arrived.is_empty() {
                self.arrived = BytesMut::new();
            }
            read
        })
        .await
    }

    /// Resolves when the client disconnects. Bytes that it sends meanwhile belong to the next request.
    pub(crate) async fn client_left(&mut self) {
        while self.arrived.len() < PIPELINED_BYTES_MAX {
            let (stream, arrived) = (&mut self.stream, &mut self.arrived);
            let read = poll_fn(|context| head::poll_read(stream, arrived, context)).await;
            if let Ok(0) | Err(_) = read {
                self.keep_alive = KeepAlive::Close;
                return;
            }
        }
        tokio::select! {
            () = self.stream.hung_up() => {
                self.keep_alive = KeepAlive::Close;
                return;
            }
            () = self.stream.receive_queue_exceeds(RECEIVE_QUEUE_BYTES_MAX) => self.keep_alive = KeepAlive::Close,
        }
        let mut discarded = BytesMut::new();
        loop {
            discarded.clear();
            let stream = &mut self.stream;
            let read = poll_fn(|context| head::poll_read(stream, &mut discarded, context)).await;
            if let Ok(0) | Err(_) = read {
                return;
            }
        }
    }

    pub(crate) async fn write_continue(&mut self) -> Result<(), WriteError> {
        self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.flush().await
    }

    /// Writes an informational (1xx) head.
    pub(crate) async fn write_informational(
        &mut self,
        head: &ResponseHead,
    ) -> Result<(), WriteError> {
        if self.head.version == Version::HTTP_10 {
            return Ok(());
        }
        response::write_informational(&mut self.out, head);
        self.flush().await
    }

    /// The connection and the bytes already read from it, for an upgraded protocol.
    pub(crate) fn tunnel(&mut self) -> (&mut ClientStream, BytesMut) {
        (&mut self.stream, std::mem::take(&mut self.arrived))
    }

    /// Buffers the head of the response: it is sent with the first piece of the body, or when it is flushed.
    pub(crate) fn write_head(&mut self, head: &ResponseHead) {
        spare::provide(&mut self.out);
        self.head_state = response::HeadState::Buffered;
        self.framing = response::write_head(
            &mut self.out,
            head,
            &self.head.method,
            self.head.version,
            &mut self.keep_alive,
        );
    }

    /// Writes a piece of the response.
    pub(crate) async fn write_body(
        &mut self,
        mut data: Bytes,
        last: bool,
    ) -> Result<(), WriteError> {
        match &mut self.framing {
            response::Framing::Bodiless => data.clear(),
            response::Framing::Length(left) => {
                // A body that contradicts its announced length cannot be repaired.
                let bytes = data.len() as u64;
                if bytes > *left || (last && bytes < *left) {
                    self.keep_alive = KeepAlive::Close;
                }
                data.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= data.len() as u64;
            }
            response::Framing::Chunked if !data.is_empty() => {
                response::write_chunk_size(&mut self.out, data.len());
            }
            response::Framing::Chunked | response::Framing::UntilClose => {}
        }
        let chunked = self.framing == response::Framing::Chunked;
        if data.len() <= COALESCED_BYTES_MAX {
            self.out.extend_from_slice(&data);
        } else {
            self.write_out().await?;
            let writing = self.stream.write_all(&data);
            with_timeout(self.write_timeout, writing).await?;
        }
        if chunked && !data.is_empty() {
            self.out.extend_from_slice(b"\r\n");
        }
        if chunked && last {
            response::write_last_chunk(&mut self.out, &HeaderMap::new());
        }
        self.flush().await
    }

    /// Ends a chunked response with its trailers; other framings cannot carry any.
    pub(crate) async fn write_trailers(&mut self, trailers: &HeaderMap) -> Result<(), WriteError> {
        if self.framing == response::Framing::Chunked {
            response::write_last_chunk(&mut self.out, trailers);
            // The trailers end the body.
            self.framing = response::Framing::Bodiless;
        }
        self.flush().await
    }

    pub(crate) fn has_begun_response(&self) -> bool {
        self.head_state == response::HeadState::Sent
    }

    /// Sends what is buffered.
    pub(crate) async fn flush(&mut self) -> Result<(), WriteError> {
        self.write_out().await?;
        with_timeout(self.write_timeout, self.stream.flush()).await
    }

    async fn write_out(&mut self) -> Result<(), WriteError> {
        if !self.out.is_empty() {
            with_timeout(self.write_timeout, self.stream.write_all(&self.out)).await?;
            self.out.clear();
            self.head_state = self.head_state.after_write();
        }
        Ok(())
    }

    /// Whether the client has sent, or may still be sending, bytes that were not read.
    pub(crate) fn has_unread(&self) -> bool {
        !self.is_body_done() || !self.arrived.is_empty() || self.stream.has_unread()
    }

    /// Closes the connection, over TLS with a close_notify alert.
    pub(crate) async fn close(mut self) {
        // The connection is closed afterwards in any case.
        let _ = with_timeout(
            self.write_timeout,
            AsyncWriteExt::shutdown(&mut self.stream),
        )
        .await;
    }

    pub(crate) fn into_stream(self) -> ClientStream {
        self.stream
    }
}
