//! A client that speaks HTTP/1: the requests of one connection, one after another.
//!
//! weir reads and writes HTTP/1 itself (decision 8): the head is parsed in place, the body is cut out
//! of the buffer it arrived in, and an answer's head and body leave in one write.

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

mod request;
mod response;
mod spare;

use response::written;

/// How much of a body is read at once.
const READ_BYTES: usize = 64 * 1024;
/// What a client may send ahead while it waits for an answer; then it is not read from.
const AHEAD_BYTES_MAX: usize = 64 * 1024;
/// With so much more behind that for a while, its leaving could stand behind what the kernel has no room
/// for: it is read and thrown away, and the connection ends with this answer.
const STUFFED_BYTES: u64 = 16 * 1024;
/// Up to here a piece of an answer is written together with what stands before it.
const TOGETHER_BYTES_MAX: usize = 16 * 1024;
/// What an idle connection keeps for the fields of a head.
const KEPT_FIELDS: usize = 32;

/// Whether the connection may be used again (RFC 9112, section 9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepAlive {
    Open,
    Close,
}

/// How far the body of a request has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Done,
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
}

/// One connection, with the request that is being served on it.
pub(crate) struct Http1 {
    stream: ClientStream,
    /// What has been read and belongs to nobody yet: a body, then the requests behind it.
    arrived: BytesMut,
    head: Parts,
    /// The head as it came, for what is said of one that cannot be parsed.
    raw_head: Bytes,
    announced_bytes: Option<u64>,
    reading: Reading,
    framing: response::Framing,
    answering: response::Answering,
    keep_alive: KeepAlive,
    out: Vec<u8>,
    write_timeout: Duration,
}

impl Http1 {
    /// A connection on which nothing has been read. Writing to a client that does not read is given
    /// up after `write_timeout`.
    pub(crate) fn new(stream: ClientStream, write_timeout: Duration) -> Box<Self> {
        let (head, ()) = http::Request::new(()).into_parts();
        Box::new(Http1 {
            stream,
            arrived: BytesMut::new(),
            head,
            raw_head: Bytes::new(),
            announced_bytes: None,
            reading: Reading::Done,
            framing: response::Framing::Bodiless,
            answering: response::Answering::Not,
            keep_alive: KeepAlive::Close,
            out: Vec::new(),
            write_timeout,
        })
    }

    /// What the next head is read from, and into. Between two requests a connection has no buffers.
    pub(crate) fn parts_to_read(&mut self) -> (&mut ClientStream, &mut BytesMut) {
        match self.head.headers.capacity() > KEPT_FIELDS {
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

    /// Begins the request whose head ends at `end` of what has arrived.
    ///
    /// # Errors
    /// See [`request::parse`]. Then the connection must not be used again.
    pub(crate) fn begin(&mut self, end: usize) -> Result<(), Refusal> {
        self.keep_alive = KeepAlive::Close;
        self.answering = response::Answering::Not;
        self.reading = Reading::Done;
        self.announced_bytes = None;
        self.raw_head = self.arrived.split_to(end).freeze();
        let framing = request::parse(&self.raw_head, &mut self.head)?;
        (self.reading, self.announced_bytes) = match framing {
            request::Framing::Bodiless => (Reading::Done, None),
            request::Framing::Length(0) => (Reading::Done, Some(0)),
            request::Framing::Length(bytes) => (Reading::Length(bytes), Some(bytes)),
            request::Framing::Chunked => (Reading::Chunked(Chunked::Size), None),
        };
        self.keep_alive = request::keep_alive(&self.head);
        Ok(())
    }

    pub(crate) fn head(&self) -> &Parts {
        &self.head
    }

    /// The head as far as it came, for what is refused before it was parsed.
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
        self.reading == Reading::Done
    }

    /// Whether all of the body came with its head.
    pub(crate) fn has_body_arrived(&self) -> bool {
        match self.reading {
            Reading::Done => true,
            Reading::Length(left) => left <= self.arrived.len() as u64,
            Reading::Chunked(_) => false,
        }
    }

    pub(crate) fn is_chunked(&self) -> bool {
        matches!(self.reading, Reading::Chunked(_))
    }

    pub(crate) fn close_after_answer(&mut self) {
        self.keep_alive = KeepAlive::Close;
    }

    pub(crate) fn keeps_alive(&self) -> bool {
        self.keep_alive == KeepAlive::Open && self.is_body_done()
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// A malformed chunk, or that the client left before the end.
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>, BodyReadError> {
        loop {
            let wanted = match &mut self.reading {
                Reading::Done => return Ok(None),
                Reading::Length(left) if !self.arrived.is_empty() => {
                    let bytes = usize::try_from(*left).unwrap_or(usize::MAX);
                    let piece = self.arrived.split_to(bytes.min(self.arrived.len()));
                    self.reading = match *left - piece.len() as u64 {
                        0 => Reading::Done,
                        left => Reading::Length(left),
                    };
                    return Ok(Some(piece.freeze()));
                }
                Reading::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX),
                Reading::Chunked(chunked) => match chunked.step(&mut self.arrived) {
                    Ok(Step::Data(data)) => return Ok(Some(data)),
                    // Nothing of weir's looks at the trailers of a request.
                    Ok(Step::Trailer(_)) => continue,
                    Ok(Step::End) => {
                        self.reading = Reading::Done;
                        return Ok(None);
                    }
                    Ok(Step::More) => READ_BYTES,
                    Err(flaw) => {
                        self.keep_alive = KeepAlive::Close;
                        return Err(BodyReadError::Malformed(flaw));
                    }
                },
            };
            match self.read_more(wanted.min(READ_BYTES)).await {
                Ok(0) | Err(_) => return Err(BodyReadError::ClientLeft),
                Ok(_) => {}
            }
        }
    }

    /// What is wrong with the chunks that have arrived already.
    pub(crate) fn flaw_of_chunks(&self) -> Option<&'static str> {
        match self.reading {
            Reading::Chunked(_) => chunked::flaw(&self.arrived),
            Reading::Done | Reading::Length(_) => None,
        }
    }

    /// Ends when the client leaves, or sends what is behind its request.
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

    /// Reads up to `wanted` bytes. While nothing comes, no room is held for them.
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

    /// Ends when the client leaves. What it sends meanwhile is the next request's.
    pub(crate) async fn left(&mut self) {
        while self.arrived.len() < AHEAD_BYTES_MAX {
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
            () = self.stream.is_stuffed(STUFFED_BYTES) => self.keep_alive = KeepAlive::Close,
        }
        let mut thrown_away = BytesMut::new();
        loop {
            thrown_away.clear();
            let stream = &mut self.stream;
            let read = poll_fn(|context| head::poll_read(stream, &mut thrown_away, context)).await;
            if let Ok(0) | Err(_) = read {
                return;
            }
        }
    }

    pub(crate) async fn write_continue(&mut self) -> Result<(), WriteError> {
        self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        self.flush().await
    }

    /// Writes the head of an answer that comes before the answer.
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

    /// The connection, and what has been read of it, for who speaks another protocol now.
    pub(crate) fn tunnel(&mut self) -> (&mut ClientStream, BytesMut) {
        (&mut self.stream, std::mem::take(&mut self.arrived))
    }

    /// Writes the head of the answer into the buffer: it leaves with the first piece of the body, or
    /// when it is flushed.
    pub(crate) fn write_head(&mut self, head: &ResponseHead) {
        spare::provide(&mut self.out);
        self.answering = response::Answering::Waiting;
        self.framing = response::write_head(
            &mut self.out,
            head,
            &self.head.method,
            self.head.version,
            &mut self.keep_alive,
        );
    }

    /// Writes a piece of the answer.
    pub(crate) async fn write_body(
        &mut self,
        mut data: Bytes,
        last: bool,
    ) -> Result<(), WriteError> {
        match &mut self.framing {
            response::Framing::Bodiless => data.clear(),
            response::Framing::Length(left) => {
                // A body that is not as long as its head says cannot be mended.
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
        if data.len() <= TOGETHER_BYTES_MAX {
            self.out.extend_from_slice(&data);
        } else {
            self.write_out().await?;
            let writing = self.stream.write_all(&data);
            written(self.write_timeout, writing).await?;
        }
        if chunked && !data.is_empty() {
            self.out.extend_from_slice(b"\r\n");
        }
        if chunked && last {
            response::write_last_chunk(&mut self.out, &HeaderMap::new());
        }
        self.flush().await
    }

    /// Ends a chunked answer with its trailers; others have no room for them.
    pub(crate) async fn write_trailers(&mut self, trailers: &HeaderMap) -> Result<(), WriteError> {
        if self.framing == response::Framing::Chunked {
            response::write_last_chunk(&mut self.out, trailers);
            // The end has been written with them.
            self.framing = response::Framing::Bodiless;
        }
        self.flush().await
    }

    pub(crate) fn has_begun_answer(&self) -> bool {
        self.answering == response::Answering::Begun
    }

    /// Sends what is still in the buffer.
    pub(crate) async fn flush(&mut self) -> Result<(), WriteError> {
        self.write_out().await?;
        written(self.write_timeout, self.stream.flush()).await
    }

    async fn write_out(&mut self) -> Result<(), WriteError> {
        if !self.out.is_empty() {
            written(self.write_timeout, self.stream.write_all(&self.out)).await?;
            self.out.clear();
            self.answering = self.answering.after_write();
        }
        Ok(())
    }

    /// Whether the client has sent, or may be sending, what nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        !self.is_body_done() || !self.arrived.is_empty() || self.stream.has_unread()
    }

    /// Ends the connection: over TLS the client is told so.
    pub(crate) async fn close(mut self) {
        // Whatever comes of it, the connection is closed afterwards.
        let _ = written(
            self.write_timeout,
            AsyncWriteExt::shutdown(&mut self.stream),
        )
        .await;
    }

    pub(crate) fn into_stream(self) -> ClientStream {
        self.stream
    }
}
