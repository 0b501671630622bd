//! Reads HTTP/1.1 strictly, and records everything.

use std::io::{Error, ErrorKind, Result};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How much of a body is stored; the rest is only hashed.
const BODY_STORED_BYTES: usize = 1 << 20;

/// The size of a read.
const READ_BYTES: usize = 64 << 10;

/// How the body of a request was framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    None,
    Length,
    Chunked,
    /// HTTP/2 frames.
    Frames,
}

/// A request as the backend received it.
#[derive(Clone, Debug)]
pub struct ReceivedRequest {
    pub method: String,
    /// Path and query as received.
    pub target: String,
    pub version: String,
    pub headers: Vec<(String, String)>,
    pub framing: Framing,
    /// At most the first MiB.
    pub body: Bytes,
    pub body_bytes: u64,
    pub body_sha256: String,
    /// Whether the body is complete.
    pub whole: bool,
    /// The number of its connection, from 0.
    pub connection: usize,
}

impl ReceivedRequest {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All values of a header, in order.
    #[must_use]
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers
            .iter()
            .filter(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Records a body: its hash, length and first bytes.
#[derive(Debug, Default)]
pub(super) struct BodyRecord {
    hash: Sha256,
    bytes: u64,
    kept: Vec<u8>,
}

impl BodyRecord {
    pub(super) fn add(&mut self, chunk: &[u8]) {
        self.hash.update(chunk);
        self.bytes += chunk.len() as u64;
        let room = BODY_STORED_BYTES.saturating_sub(self.kept.len());
        self.kept.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }

    pub(super) fn finish(self, request: &mut ReceivedRequest) {
        request.body = self.kept.into();
        request.body_bytes = self.bytes;
        request.body_sha256 = base16ct::lower::encode_string(&self.hash.finalize());
        request.whole = true;
    }
}

/// Reads requests from a connection.
#[derive(Debug)]
pub(super) struct Reader {
    buffered: Vec<u8>,
    connection: usize,
}

impl Reader {
    pub(super) fn new(connection: usize) -> Self {
        Reader {
            buffered: Vec::new(),
            connection,
        }
    }

    /// The head of the next request; `None` if the connection is closed between two requests.
    pub(super) async fn head(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> Result<Option<ReceivedRequest>> {
        let end = loop {
            if let Some(at) = find(&self.buffered, b"\r\n\r\n") {
                break at;
            }
            if self.fill(stream).await? == 0 {
                if self.buffered.is_empty() {
                    return Ok(None);
                }
                return Err(ended("inside a head"));
            }
        };
        let head: Vec<u8> = self.buffered.drain(..end + 4).collect();
        parse(&head, self.connection).map(Some)
    }

    /// The body of the request.
    pub(super) async fn body(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        request: &mut ReceivedRequest,
    ) -> Result<()> {
        let mut record = BodyRecord::default();
        match request.framing {
            Framing::None | Framing::Frames => {}
            Framing::Length => {
                let length = request
                    .header("content-length")
                    .and_then(|value| value.parse().ok())
                    .ok_or_else(|| Error::other("the content-length is not a number"))?;
                self.chunk(stream, length, &mut record).await?;
            }
            Framing::Chunked => loop {
                let line = self.line(stream).await?;
                let size = usize::from_str_radix(line.trim(), 16)
                    .map_err(|_| Error::other(format!("a chunk size of {line:?}")))?;
                self.chunk(stream, size, &mut record).await?;
                // After the last chunk: an empty line, or trailers and an empty line.
                let mut end = self.line(stream).await?;
                while size == 0 && !end.is_empty() {
                    end = self.line(stream).await?;
                }
                if size == 0 {
                    break;
                }
            },
        }
        record.finish(request);
        Ok(())
    }

    async fn chunk(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        mut length: usize,
        record: &mut BodyRecord,
    ) -> Result<()> {
        while length > 0 {
            if self.buffered.is_empty() && self.fill(stream).await? == 0 {
                return Err(ended("inside a body"));
            }
            let taken = length.min(self.buffered.len());
            record.add(&self.buffered[..taken]);
            self.buffered.drain(..taken);
            length -= taken;
        }
        Ok(())
    }

    async fn fill(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<usize> {
        // Without spare capacity, a Vec is filled a few bytes at a time.
        self.buffered.reserve(READ_BYTES);
        stream.read_buf(&mut self.buffered).await
    }

    async fn line(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<String> {
        loop {
            if let Some(at) = find(&self.buffered, b"\r\n") {
                let line: Vec<u8> = self.buffered.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.fill(stream).await? == 0 {
                return Err(ended("inside a line"));
            }
        }
    }
}

/// The peer disconnected, which does not violate HTTP.
fn ended(place: &str) -> Error {
    let message = format!("the connection ended {place}");
    Error::new(ErrorKind::UnexpectedEof, message)
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn parse(head: &[u8], connection: usize) -> Result<ReceivedRequest> {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.trim_end_matches("\r\n").split("\r\n");
    let first = lines.next().unwrap_or_default();
    let mut words = first.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Error::other(format!("a request line of {first:?}")));
    };
    if !version.starts_with("HTTP/1.") {
        return Err(Error::other(format!("a version of {version:?}")));
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line
            .split_once(':')
            .ok_or_else(|| Error::other(format!("a header line of {line:?}")))?;
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let has = |name: &str| headers.iter().any(|(have, _)| have == name);
    let framing = match (has("transfer-encoding"), has("content-length")) {
        (true, true) => return Err(Error::other("both transfer-encoding and content-length")),
        (true, false) => Framing::Chunked,
        (false, true) => Framing::Length,
        (false, false) => Framing::None,
    };
    Ok(ReceivedRequest {
        method: method.to_owned(),
        target: target.to_owned(),
        version: version.to_owned(),
        headers,
        framing,
        body: Bytes::new(),
        body_bytes: 0,
        body_sha256: String::new(),
        whole: false,
        connection,
    })
}
