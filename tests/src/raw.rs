//! A TCP client that sends exactly the given bytes, and reads responses.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::wait::{PATIENCE, within};

/// The size of a read.
const READ_BYTES: usize = 64 << 10;

/// One connection, with a read buffer.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    buffered: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HasBody {
    ByItsHead,
    Never,
}

/// An HTTP/1.1 response.
#[derive(Clone, Debug)]
pub struct RawResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RawResponse {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Raw {
    /// # Panics
    /// The connection is refused.
    pub async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address)
            .await
            .expect("a connection to the proxy")
    }

    /// `None` if the connection is refused.
    pub async fn try_connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Raw {
            stream,
            buffered: Vec::new(),
        })
    }

    /// # Panics
    /// The peer does not accept it.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes)
            .await
            .expect("the peer accepts the bytes");
    }

    /// As [`Raw::write`], when the peer may have closed already.
    ///
    /// # Errors
    /// The error of the socket.
    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        within("a write", PATIENCE, self.stream.write_all(bytes.as_ref())).await
    }

    /// Closes the sending direction.
    ///
    /// # Panics
    /// The connection is closed.
    pub async fn finish_sending(&mut self) {
        self.stream.shutdown().await.expect("a half-close");
    }

    /// Closes the connection with a reset.
    ///
    /// # Panics
    /// The socket is closed.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("SO_LINGER");
        drop(self.stream);
    }

    /// Reads up to and including `end`.
    ///
    /// # Panics
    /// The connection ends before, or `deadline` passes.
    pub async fn read_until(&mut self, end: &[u8], deadline: Duration) -> Vec<u8> {
        let found = within("a delimiter", deadline, self.until(end)).await;
        found.unwrap_or_else(|| {
            panic!(
                "the connection ended before {:?}; received {:?}",
                String::from_utf8_lossy(end),
                String::from_utf8_lossy(&self.buffered)
            )
        })
    }

    /// Reads until the peer closes or resets the connection.
    ///
    /// # Panics
    /// It does not within `deadline`.
    pub async fn read_to_end(&mut self, deadline: Duration) -> Vec<u8> {
        let reading = async {
            while self.fill().await {}
            std::mem::take(&mut self.buffered)
        };
        within("the end of the connection", deadline, reading).await
    }

    /// Reads a response.
    ///
    /// # Panics
    /// The response is incomplete.
    pub async fn response(&mut self) -> RawResponse {
        self.read(HasBody::ByItsHead)
            .await
            .expect("a complete response")
    }

    /// Reads the response to a HEAD.
    ///
    /// # Panics
    /// The response is incomplete.
    pub async fn head_response(&mut self) -> RawResponse {
        self.read(HasBody::Never).await.expect("a complete head")
    }

    /// Reads a response; `None` if the connection ends before.
    ///
    /// # Panics
    /// Neither happens in time.
    pub async fn try_response(&mut self) -> Option<RawResponse> {
        self.read(HasBody::ByItsHead).await
    }

    async fn read(&mut self, has_body: HasBody) -> Option<RawResponse> {
        let head = self.until(b"\r\n\r\n").await?;
        let (status, headers) = parse_head(&head);
        let mut backend_response = RawResponse {
            status,
            headers,
            body: Vec::new(),
        };
        if has_body == HasBody::Never || status < 200 || status == 204 || status == 304 {
            return Some(backend_response);
        }
        let chunked = backend_response
            .header("transfer-encoding")
            .is_some_and(|value| value.eq_ignore_ascii_case("chunked"));
        let length = backend_response
            .header("content-length")
            .map(|value| value.parse::<usize>().expect("a Content-Length"));
        backend_response.body = match length {
            _ if chunked => self.chunks().await?,
            Some(length) => self.exactly(length).await?,
            None => self.read_to_end(PATIENCE).await,
        };
        Some(backend_response)
    }

    /// Whether the peer has closed the connection, as far as that has arrived.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        let read = self.stream.try_read(&mut [0]);
        // Any data between two responses is as bad.
        !read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Sends `line` repeatedly at an interval until the peer closes; returns what was received.
    ///
    /// # Panics
    /// It is not closed within `deadline`.
    pub async fn drip(&mut self, line: &str, every: Duration, deadline: Duration) -> Vec<u8> {
        let dripping = async {
            while self.try_write(line).await.is_ok() {
                // Read during the interval.
                if let Ok(false) = tokio::time::timeout(every, self.fill()).await {
                    break;
                }
            }
            while self.fill().await {}
            std::mem::take(&mut self.buffered)
        };
        within("the end of a slow connection", deadline, dripping).await
    }

    /// The underlying connection.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Whether the peer closes within `deadline`, whatever it still sends.
    pub async fn closes_within(&mut self, deadline: Duration) -> bool {
        let reading = async { while self.fill().await {} };
        tokio::time::timeout(deadline, reading).await.is_ok()
    }

    async fn until(&mut self, end: &[u8]) -> Option<Vec<u8>> {
        let reading = async {
            loop {
                if let Some(at) = find(&self.buffered, end) {
                    return Some(self.buffered.drain(..at + end.len()).collect());
                }
                if !self.fill().await {
                    return None;
                }
            }
        };
        within("more of a response", PATIENCE, reading).await
    }

    async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        let reading = async {
            while self.buffered.len() < length {
                if !self.fill().await {
                    return None;
                }
            }
            Some(self.buffered.drain(..length).collect())
        };
        within("a complete body", PATIENCE, reading).await
    }

    async fn chunks(&mut self) -> Option<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.until(b"\r\n").await?;
            let text = String::from_utf8_lossy(&line);
            let size = usize::from_str_radix(text.trim(), 16).expect("a chunk size");
            let chunk = self.exactly(size + 2).await?;
            if size == 0 {
                return Some(body);
            }
            body.extend_from_slice(&chunk[..size]);
        }
    }

    /// Returns whether anything was read.
    async fn fill(&mut self) -> bool {
        // Without spare capacity, a Vec is filled a few bytes at a time.
        self.buffered.reserve(READ_BYTES);
        self.stream
            .read_buf(&mut self.buffered)
            .await
            .is_ok_and(|read| read > 0)
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

fn parse_head(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.trim_end().split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.split(' ').nth(1))
        .and_then(|status| status.parse().ok())
        .expect("a status line");
    let headers = lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a header line");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        })
        .collect();
    (status, headers)
}
