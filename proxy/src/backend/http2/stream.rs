//! One exchange: a stream of a connection.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::request;
use http::{StatusCode, response};
use http_body::Body as _;

use super::connection::StreamSlot;
use super::head;
use super::request_sender::RequestSender;
use crate::backend::failure::{ConnectionError, Failure};
use crate::backend::informational::InformationalResponses;
use crate::backend::request_body::RequestBody;
use crate::clock::DeadlineTimer;
use crate::http::framing;
use crate::http::response_body::Piece;

/// Informational responses to one request.
const INFORMATIONAL_MAX: usize = 100;

/// An exchange over a stream. Dropping it before its end resets the stream.
pub(in crate::backend) struct Http2Stream {
    request: RequestSender,
    response: ResponseState,
    /// As the head announces it.
    length: Option<u64>,
    /// What has arrived of the body.
    bytes: u64,
    informational: usize,
    timer: DeadlineTimer,
    slot: StreamSlot,
}

enum ResponseState {
    Awaited(ResponseFuture),
    Arriving(RecvStream),
    /// The body and the trailers have been read.
    Ended,
}

impl Http2Stream {
    /// Opens a stream, and sends the head of the request.
    ///
    /// # Errors
    /// The head cannot be sent, or the connection was closed.
    pub(in crate::backend) fn begin(
        mut sender: SendRequest<Bytes>,
        slot: StreamSlot,
        head: request::Parts,
        body: RequestBody,
    ) -> Result<Box<Self>, ConnectionError> {
        let head = head::of_request(head, body.size_hint().exact())
            .map_err(|_| ConnectionError::Malformed("the request has no valid host"))?;
        let sent = sender.send_request(head, body.is_end_stream());
        let (response, stream) = sent.map_err(ConnectionError::of_http2)?;
        Ok(Box::new(Http2Stream {
            request: RequestSender::new(stream, body),
            response: ResponseState::Awaited(response),
            length: None,
            bytes: 0,
            informational: 0,
            timer: DeadlineTimer::default(),
            slot,
        }))
    }

    /// Sends the request, and waits for the head of the response until the deadline. Informational responses go to
    /// `informational`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub(in crate::backend) async fn response_head(
        &mut self,
        deadline: Instant,
        informational: Option<&InformationalResponses>,
    ) -> Result<response::Parts, Failure> {
        poll_fn(|context| match self.poll_head(context, informational) {
            Poll::Ready(head) => Poll::Ready(head.map_err(Failure::Connection)),
            Poll::Pending => {
                let late = self.timer.poll_end(deadline, context);
                late.map(|()| Err(Failure::TimedOut))
            }
        })
        .await
    }

    fn poll_head(
        &mut self,
        context: &mut Context<'_>,
        informational: Option<&InformationalResponses>,
    ) -> Poll<Result<response::Parts, ConnectionError>> {
        self.send(context)?;
        let ResponseState::Awaited(response) = &mut self.response else {
            return Poll::Ready(Err(ConnectionError::Closed));
        };
        while let Poll::Ready(Some(Ok(head))) = response.poll_informational(context) {
            self.slot.note_heard();
            if head.status() == StatusCode::SWITCHING_PROTOCOLS {
                // RFC 9113, section 8.6: HTTP/2 has none.
                let flaw = "a 101 over HTTP/2";
                return Poll::Ready(Err(ConnectionError::Malformed(flaw)));
            }
            self.informational += 1;
            if self.informational > INFORMATIONAL_MAX {
                let flaw = "too many informational responses";
                return Poll::Ready(Err(ConnectionError::Malformed(flaw)));
            }
            if let Some(informational) = informational {
                let (head, ()) = head.into_parts();
                informational.push(head.status, head.headers);
            }
        }
        let response = ready!(Pin::new(response).poll(context));
        let (head, body) = response.map_err(ConnectionError::of_http2)?.into_parts();
        self.slot.note_heard();
        self.length = match body.is_end_stream() {
            true => Some(0),
            false => framing::content_length(&head.headers).ok().flatten(),
        };
        self.response = ResponseState::Arriving(body);
        Poll::Ready(Ok(head))
    }

    /// The next piece of the body; `None` at its end.
    pub(in crate::backend) fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Piece, ConnectionError>>> {
        if let Err(broken) = self.send(context) {
            return Poll::Ready(Some(Err(broken)));
        }
        let ResponseState::Arriving(body) = &mut self.response else {
            return Poll::Ready(None);
        };
        let read = match ready!(body.poll_data(context)) {
            Some(Ok(data)) => {
                self.slot.note_heard();
                self.bytes += data.len() as u64;
                // The windows are those of a body that is forwarded.
                let _ = body.flow_control().release_capacity(data.len());
                return Poll::Ready(Some(Ok(Piece::Data(data))));
            }
            Some(Err(error)) => Err(error),
            None => ready!(body.poll_trailers(context)),
        };
        Poll::Ready(match read {
            Ok(Some(trailers)) => Some(Ok(Piece::Trailers(trailers))),
            Ok(None) => {
                self.response = ResponseState::Ended;
                None
            }
            // The response is complete, and the endpoint does not need the rest of the request (RFC 9113, section
            // 8.1).
            Err(error) if error.reason() == Some(Reason::NO_ERROR) && self.has_whole_length() => {
                self.response = ResponseState::Ended;
                None
            }
            Err(error) => Some(Err(match ConnectionError::of_http2(error) {
                // It has been processed in part.
                ConnectionError::Unprocessed => ConnectionError::Closed,
                error => error,
            })),
        })
    }

    fn has_whole_length(&self) -> bool {
        self.length.is_none_or(|length| length == self.bytes)
    }

    /// Sends what is available of the request.
    fn send(&mut self, context: &mut Context<'_>) -> Result<(), ConnectionError> {
        match self.request.poll(context) {
            Poll::Ready(Err(truncated)) => Err(ConnectionError::RequestBody(truncated)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Ready at the deadline.
    pub(in crate::backend) fn poll_end(
        &mut self,
        deadline: Instant,
        context: &mut Context<'_>,
    ) -> Poll<()> {
        self.timer.poll_end(deadline, context)
    }

    /// Whether anything of the response has arrived.
    pub(in crate::backend) fn has_received(&self) -> bool {
        self.informational > 0 || !matches!(self.response, ResponseState::Awaited(_))
    }

    /// Whether the response is complete.
    pub(in crate::backend) fn is_at_end(&self) -> bool {
        match &self.response {
            ResponseState::Awaited(_) => false,
            ResponseState::Arriving(body) => body.is_end_stream(),
            ResponseState::Ended => true,
        }
    }

    /// The length of the body, where it is known.
    pub(in crate::backend) fn length(&self) -> Option<u64> {
        self.length
    }
}

impl Drop for Http2Stream {
    fn drop(&mut self) {
        if matches!(self.response, ResponseState::Awaited(_)) {
            self.slot.note_unanswered();
        }
    }
}
