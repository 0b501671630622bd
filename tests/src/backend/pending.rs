//! A request that the test answers itself, byte by byte if needed.

use std::io::Result;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::response::{self, BackendResponse};
use super::wire::{Reader, ReceivedRequest};
use crate::wait;

/// A request that waits for its response. Closes the connection when dropped.
#[derive(Debug)]
pub struct PendingRequest {
    received: ReceivedRequest,
    stream: TcpStream,
    reader: Reader,
    back: oneshot::Sender<(TcpStream, Reader)>,
}

impl PendingRequest {
    pub(super) fn new(
        received: ReceivedRequest,
        stream: TcpStream,
        reader: Reader,
    ) -> (Self, oneshot::Receiver<(TcpStream, Reader)>) {
        let (back, returned) = oneshot::channel();
        let call = PendingRequest {
            received,
            stream,
            reader,
            back,
        };
        (call, returned)
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &ReceivedRequest {
        &self.received
    }

    /// Sends a prepared response.
    ///
    /// # Panics
    /// The proxy does not accept it.
    pub async fn respond(mut self, response: BackendResponse) {
        let reset = response.ends_with_reset();
        let whole = response
            .send(&mut self.stream, &self.received)
            .await
            .expect("the proxy accepts the response");
        if reset {
            self.reset();
        } else if whole {
            let _ = self.back.send((self.stream, self.reader));
        }
    }

    /// Sends the head of a chunked response.
    ///
    /// # Panics
    /// The proxy does not accept it.
    pub async fn send_head(&mut self, content_type: &str) {
        let headers = [
            ("content-type".to_owned(), content_type.to_owned()),
            ("transfer-encoding".to_owned(), "chunked".to_owned()),
        ];
        self.write(response::head(200, &headers)).await;
    }

    /// Sends the head of a stream of events.
    ///
    /// # Panics
    /// The proxy does not accept it.
    pub async fn send_event_stream_head(&mut self) {
        self.send_head("text/event-stream").await;
    }

    /// Sends one chunk.
    ///
    /// # Panics
    /// The proxy does not accept it.
    pub async fn chunk(&mut self, chunk: impl AsRef<[u8]>) {
        self.write(response::framed_chunk(chunk.as_ref())).await;
    }

    /// As [`PendingRequest::chunk`], when the proxy may have disconnected.
    ///
    /// # Errors
    /// The error of the socket.
    pub async fn try_chunk(&mut self, chunk: impl AsRef<[u8]>) -> Result<()> {
        let framed = response::framed_chunk(chunk.as_ref());
        self.stream.write_all(&framed).await
    }

    /// Sends one server-sent event as one chunk.
    ///
    /// # Panics
    /// The proxy does not accept it.
    pub async fn event(&mut self, data: &str) {
        self.chunk(response::event(data)).await;
    }

    /// Sends one event of a chat stream.
    ///
    /// # Panics
    /// The proxy does not accept it.
    pub async fn token(&mut self, word: &str) {
        self.event(&response::chat_event(word)).await;
    }

    /// Sends the last events of a chat stream, and its end.
    ///
    /// # Panics
    /// The proxy does not accept them.
    pub async fn end_chat(mut self, tokens: usize) {
        for data in response::chat_end(tokens) {
            self.event(&data).await;
        }
        self.finish().await;
    }

    /// Ends a chunked response; the connection can be reused.
    ///
    /// # Panics
    /// The proxy does not accept it.
    pub async fn finish(mut self) {
        self.write("0\r\n\r\n").await;
        let _ = self.back.send((self.stream, self.reader));
    }

    /// As [`PendingRequest::finish`], when the proxy may have disconnected.
    ///
    /// # Errors
    /// The error of the socket.
    pub async fn try_finish(mut self) -> Result<()> {
        self.stream.write_all(b"0\r\n\r\n").await?;
        let _ = self.back.send((self.stream, self.reader));
        Ok(())
    }

    /// Sends exactly these bytes.
    ///
    /// # Panics
    /// The proxy does not accept them.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        wait::within(
            "the proxy to accept bytes",
            wait::PATIENCE,
            self.stream.write_all(bytes.as_ref()),
        )
        .await
        .expect("the proxy accepts the bytes");
    }

    /// Takes over the connection, as after an upgrade.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Closes the connection with a reset.
    ///
    /// # Panics
    /// The socket is closed.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("SO_LINGER");
    }

    /// Waits until the proxy closes the connection; discards what it still sends.
    pub async fn closed(&mut self) {
        let mut rest = [0; 1024];
        while self.stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    }
}

pub(super) async fn send_continue(stream: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await
}
