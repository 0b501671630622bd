//! Sends the body of a request over an HTTP/2 stream, as far as the endpoint's flow control allows.
//!
//! As over HTTP/1.1, an endpoint that accepts no more of a body may have responded already: the rest is discarded,
//! and the reading side finds the response, or the reset.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::{Reason, SendStream};
use http_body::Body as _;

use crate::backend::request_body::{RequestBody, TruncatedBody};

/// A request whose head has been sent.
pub(super) struct RequestSender {
    stream: SendStream<Bytes>,
    /// What has not been taken yet; `None` once all has been, or the endpoint accepts no more.
    body: Option<RequestBody>,
    piece: Bytes,
    /// Set when the endpoint has been sent all of the request.
    sent: Option<Arc<AtomicBool>>,
}

impl RequestSender {
    /// Of a request whose head ended the stream if it has no body.
    pub(super) fn new(stream: SendStream<Bytes>, mut body: RequestBody) -> Self {
        let sent = body.take_sent();
        let mut sender = RequestSender {
            stream,
            body: Some(body).filter(|body| !body.is_end_stream()),
            piece: Bytes::new(),
            sent,
        };
        if sender.body.is_none() {
            sender.set_sent();
        }
        sender
    }

    /// Whether all has been sent, or nothing more is accepted.
    pub(super) fn is_done(&self) -> bool {
        self.body.is_none() && self.piece.is_empty()
    }

    /// Sends what is available and accepted.
    ///
    /// # Errors
    /// The client's body ended early: the stream has been reset.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TruncatedBody>> {
        while !self.is_done() {
            if self.piece.is_empty() {
                ready!(self.poll_take(context))?;
            } else if ready!(self.poll_send(context)).is_none() {
                (self.body, self.piece) = (None, Bytes::new());
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes the next piece of the body, or ends the stream.
    fn poll_take(&mut self, context: &mut Context<'_>) -> Poll<Result<(), TruncatedBody>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(()));
        };
        match ready!(Pin::new(body).poll_frame(context)) {
            Some(Ok(frame)) => self.piece = frame.into_data().unwrap_or_default(),
            Some(Err(truncated)) => {
                // It must not be taken for a complete request.
                self.body = None;
                self.stream.send_reset(Reason::CANCEL);
                return Poll::Ready(Err(truncated));
            }
            None => {
                self.body = None;
                if self.stream.send_data(Bytes::new(), true).is_ok() {
                    self.set_sent();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Sends as much of the piece as the windows allow; `None` when the endpoint accepts no more.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Option<()>> {
        self.stream.reserve_capacity(self.piece.len());
        while self.stream.capacity() == 0 {
            match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(None),
            }
        }
        let bytes = self.stream.capacity().min(self.piece.len());
        let data = self.piece.split_to(bytes);
        let is_end = !self.piece.has_remaining()
            && self
                .body
                .as_ref()
                .is_none_or(http_body::Body::is_end_stream);
        if self.stream.send_data(data, is_end).is_err() {
            return Poll::Ready(None);
        }
        if is_end {
            self.body = None;
            self.set_sent();
        }
        Poll::Ready(Some(()))
    }

    fn set_sent(&mut self) {
        if let Some(sent) = self.sent.take() {
            sent.store(true, Ordering::Release);
        }
    }
}
