//! One request that the test itself answers, byte by byte where it wants to.

use std::io::Result;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use super::response::{self, BackendResponse};
use super::wire::{Reader, ReceivedRequest};
use crate::wait;

/// A request that waits for its answer. Dropped, it closes the connection.
#[derive(Debug)]
pub struct PendingRequest {
    seen: ReceivedRequest,
    stream: TcpStream,
    reader: Reader,
    back: oneshot::Sender<(TcpStream, Reader)>,
}

impl PendingRequest {
    pub(super) fn new(
        seen: ReceivedRequest,
        stream: TcpStream,
        reader: Reader,
    ) -> (Self, oneshot::Receiver<(TcpStream, Reader)>) {
        let (back, returned) = oneshot::channel();
        let call = PendingRequest {
            seen,
            stream,
            reader,
            back,
        };
        (call, returned)
    }

    /// What was asked.
    #[must_use]
    pub fn seen(&self) -> &ReceivedRequest {
        &self.seen
    }

    /// Answers as a function would.
    ///
    /// # Panics
    /// When the proxy does not take the answer.
    pub async fn respond(mut self, answer: BackendResponse) {
        let reset = answer.ends_with_reset();
        let whole = answer
            .send(&mut self.stream, &self.seen)
            .await
            .expect("the proxy takes the answer");
        if reset {
            self.reset();
        } else if whole {
            let _ = self.back.send((self.stream, self.reader));
        }
    }

    /// Sends the head of a chunked answer.
    ///
    /// # Panics
    /// When the proxy does not take it.
    pub async fn begin(&mut self, content_type: &str) {
        let headers = [
            ("content-type".to_owned(), content_type.to_owned()),
            ("transfer-encoding".to_owned(), "chunked".to_owned()),
        ];
        self.write(response::head(200, &headers)).await;
    }

    /// Sends the head of a stream of events.
    ///
    /// # Panics
    /// When the proxy does not take it.
    pub async fn begin_event_stream(&mut self) {
        self.begin("text/event-stream").await;
    }

    /// Sends one chunk.
    ///
    /// # Panics
    /// When the proxy does not take it.
    pub async fn chunk(&mut self, piece: impl AsRef<[u8]>) {
        self.write(response::chunk(piece.as_ref())).await;
    }

    /// As [`Call::chunk`], where the proxy may have gone.
    ///
    /// # Errors
    /// What the socket says.
    pub async fn try_chunk(&mut self, piece: impl AsRef<[u8]>) -> Result<()> {
        let framed = response::chunk(piece.as_ref());
        self.stream.write_all(&framed).await
    }

    /// Sends one server-sent event as one chunk.
    ///
    /// # Panics
    /// When the proxy does not take it.
    pub async fn event(&mut self, data: &str) {
        self.chunk(response::event(data)).await;
    }

    /// Sends one event of a chat stream.
    ///
    /// # Panics
    /// When the proxy does not take it.
    pub async fn word(&mut self, word: &str) {
        self.event(&response::chat_event(word)).await;
    }

    /// Sends the last events of a chat stream, and its end.
    ///
    /// # Panics
    /// When the proxy does not take them.
    pub async fn end_chat(mut self, tokens: usize) {
        for data in response::chat_end(tokens) {
            self.event(&data).await;
        }
        self.finish().await;
    }

    /// Ends a chunked answer; the connection may carry another request.
    ///
    /// # Panics
    /// When the proxy does not take the end.
    pub async fn finish(mut self) {
        self.write("0\r\n\r\n").await;
        let _ = self.back.send((self.stream, self.reader));
    }

    /// Sends exactly these bytes.
    ///
    /// # Panics
    /// When the proxy does not take them.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        wait::within(
            "the proxy to take bytes",
            wait::PATIENCE,
            self.stream.write_all(bytes.as_ref()),
        )
        .await
        .expect("the proxy takes the bytes");
    }

    /// Takes the connection over, as after an upgrade.
    #[must_use]
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Closes with a reset.
    ///
    /// # Panics
    /// When the socket is gone.
    pub fn reset(self) {
        self.stream.set_zero_linger().expect("SO_LINGER");
    }

    /// Waits until the proxy closes this connection; whatever it still sends is dropped.
    pub async fn closed(&mut self) {
        let mut rest = [0; 1024];
        while self.stream.read(&mut rest).await.is_ok_and(|read| read > 0) {}
    }
}

pub(super) async fn send_continue(stream: &mut (impl AsyncWrite + Unpin)) -> Result<()> {
    stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await
}
