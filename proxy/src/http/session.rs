//! A request and whoever sent it, whatever version of HTTP they speak: what the stages read from and
//! write to.

use bytes::{Bytes, BytesMut};
use http::header::{self, AsHeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};
use pingora::ErrorType;
use pingora::protocols::http::ServerSession;

use super::hop_by_hop::has_option;
use super::http1::Http1;
use super::io::{AfterRequest, BodyReadError, WriteError};
use super::response_head::ResponseHead;
use super::socket::ClientStream;
use crate::refusal::{ErrorCode, Refusal};
use errand::{Begun, Errand, Gone};

mod errand;

/// A client with its request.
pub(crate) struct Session {
    client: Client,
    errand: Option<Errand>,
}

enum Client {
    Http1(Box<Http1>),
    /// pingora speaks HTTP/2.
    Http2(Box<ServerSession>),
    /// It left, and its request goes on: what is written goes nowhere.
    Gone(Box<Gone>),
}

impl Session {
    pub(crate) fn of_http1(http1: Box<Http1>) -> Self {
        Session::of(Client::Http1(http1))
    }

    /// A stream of HTTP/2. pingora believes a length of 0, and leaves a body that comes in spite of it
    /// unread; without the field, whether there is a body is for the frames to say.
    pub(crate) fn of_http2(mut http2: Box<ServerSession>) -> Self {
        let zero = |value: &HeaderValue| value.as_bytes() == b"0";
        let head = http2.req_header_mut();
        if head.headers.get(header::CONTENT_LENGTH).is_some_and(zero) {
            head.remove_header(&header::CONTENT_LENGTH);
        }
        Session::of(Client::Http2(http2))
    }

    fn of(client: Client) -> Self {
        Session {
            client,
            errand: None,
        }
    }

    /// The client of HTTP/1, unless it left.
    pub(crate) fn into_http1(self) -> Option<Box<Http1>> {
        match self.client {
            Client::Http1(http1) => Some(http1),
            Client::Http2(_) | Client::Gone(_) => None,
        }
    }

    /// The client of HTTP/2, unless it left.
    pub(crate) fn into_http2(self) -> Option<Box<ServerSession>> {
        match self.client {
            Client::Http2(http2) => Some(http2),
            Client::Http1(_) | Client::Gone(_) => None,
        }
    }

    /// The head of the request.
    pub(crate) fn head(&self) -> &Parts {
        match &self.client {
            Client::Http1(http1) => http1.head(),
            Client::Http2(http2) => http2.req_header(),
            Client::Gone(gone) => &gone.head,
        }
    }

    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&HeaderValue> {
        self.head().headers.get(name)
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.client, Client::Http2(_))
    }

    /// The length of the body that the head announces.
    pub(crate) fn announced_bytes(&self) -> Option<u64> {
        match &self.client {
            Client::Http1(http1) => http1.announced_bytes(),
            Client::Http2(_) => {
                let value = self.header(header::CONTENT_LENGTH)?;
                value.to_str().ok()?.trim().parse().ok()
            }
            Client::Gone(_) => None,
        }
    }

    /// Whether the head says that a body comes whose length it does not know.
    pub(crate) fn has_open_body(&self) -> bool {
        match &self.client {
            Client::Http1(http1) => http1.is_chunked(),
            Client::Http2(http2) => {
                let known = self.header(header::CONTENT_LENGTH).is_some();
                let http2 = http2.as_http2();
                !known && http2.is_some_and(|http2| !http2.is_body_empty())
            }
            Client::Gone(_) => false,
        }
    }

    /// Whether there is no body at all.
    pub(crate) fn is_body_empty(&mut self) -> bool {
        match &mut self.client {
            Client::Http1(http1) => http1.is_body_done(),
            Client::Http2(http2) => http2.is_body_empty(),
            Client::Gone(_) => true,
        }
    }

    /// Whether the body has been read to its end.
    pub(crate) fn is_body_done(&mut self) -> bool {
        match &mut self.client {
            Client::Http1(http1) => http1.is_body_done(),
            Client::Http2(http2) => http2.is_body_done(),
            Client::Gone(_) => true,
        }
    }

    /// Whether nothing of the body has to be waited for.
    pub(crate) fn has_body_arrived(&self) -> bool {
        match &self.client {
            Client::Http1(http1) => http1.has_body_arrived(),
            Client::Http2(_) => false,
            Client::Gone(_) => true,
        }
    }

    /// Whether the client waits for a word before it sends its body (RFC 9110, section 10.1.1).
    pub(crate) fn expects_continue(&self) -> bool {
        let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        self.head().version != Version::HTTP_10 && self.header(header::EXPECT).is_some_and(expects)
    }

    /// The protocol that the client asks to be upgraded to, if it does (RFC 9110, section 7.8): only
    /// HTTP/1.1 has upgrades, and only where `Connection` says so. HTTP/2 in clear text by upgrade
    /// (RFC 7540) is gone since RFC 9113: such a request is served over HTTP/1.1.
    pub(crate) fn upgrade(&self) -> Option<&HeaderValue> {
        let head = self.head();
        let protocol = head.headers.get(header::UPGRADE)?;
        let mut protocols = protocol.as_bytes().split(|byte| *byte == b',');
        let h2c = protocols.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"));
        let asked = head.version == Version::HTTP_11 && has_option(&head.headers, b"upgrade");
        (asked && !h2c).then_some(protocol)
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// See [`BodyReadError`].
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>, BodyReadError> {
        match &mut self.client {
            Client::Http1(http1) => http1.read_body().await,
            Client::Http2(http2) => {
                let piece = http2.read_request_body().await;
                piece.map_err(|error| match error.etype() {
                    ErrorType::InvalidHTTPHeader | ErrorType::InternalError => {
                        BodyReadError::Malformed("its frames do not fit together")
                    }
                    ErrorType::ReadTimedout => BodyReadError::Stalled,
                    _ => BodyReadError::ClientLeft,
                })
            }
            Client::Gone(_) => Ok(None),
        }
    }

    /// Refuses a body whose beginning, as far as it has arrived, is malformed.
    ///
    /// # Errors
    /// `bad_request`.
    pub(crate) fn check_arrived_body(&self) -> Result<(), Refusal> {
        match &self.client {
            Client::Http1(http1) => match http1.flaw_of_chunks() {
                Some(flaw) => Err(Refusal::new(ErrorCode::BadRequest, flaw)),
                None => Ok(()),
            },
            Client::Http2(_) | Client::Gone(_) => Ok(()),
        }
    }

    /// Ends when the client leaves, unless the request goes on without it; asked only when the body has
    /// been read.
    pub(crate) async fn left(&mut self) {
        match &mut self.client {
            Client::Http1(http1) => http1.left().await,
            Client::Http2(http2) => {
                let _ = http2.read_body_or_idle(true).await;
            }
            Client::Gone(_) => {}
        }
        if self.let_go().is_some() || self.is_client_gone() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends when the client leaves, or sends more than its request; asked only when the body has been
    /// read.
    pub(crate) async fn left_or_sent(&mut self) -> AfterRequest {
        match &mut self.client {
            Client::Http1(http1) => http1.left_or_sent().await,
            Client::Http2(_) | Client::Gone(_) => {
                self.left().await;
                AfterRequest::Left
            }
        }
    }

    /// Passes on what the backend says before its answer (RFC 9110, section 15.2). A client of HTTP/1.0
    /// would take it for the answer; pingora's HTTP/2 cannot send it.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn write_informational(
        &mut self,
        head: &ResponseHead,
    ) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => http1.write_informational(head).await,
            Client::Http2(_) | Client::Gone(_) => Ok(()),
        };
        self.or_go_on(written)
    }

    /// The connection after an upgrade: bytes in both directions, and those that are read already.
    pub(crate) fn tunnel(&mut self) -> Option<(&mut ClientStream, BytesMut)> {
        match &mut self.client {
            Client::Http1(http1) => Some(http1.tunnel()),
            Client::Http2(_) | Client::Gone(_) => None,
        }
    }

    /// Tells the client to send its body.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn write_continue(&mut self) -> Result<(), WriteError> {
        match &mut self.client {
            Client::Http1(http1) => http1.write_continue().await,
            Client::Http2(http2) => {
                let written = http2.write_continue_response().await;
                written.map_err(|_| WriteError)
            }
            Client::Gone(_) => Ok(()),
        }
    }

    /// Begins the answer. Over HTTP/1 the head leaves with the first piece of the body, or when it
    /// is flushed.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn write_head(&mut self, head: ResponseHead) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => {
                http1.write_head(&head);
                return Ok(());
            }
            Client::Http2(http2) => {
                let written = http2.write_response_header(head.into_pingora()).await;
                written.map_err(|_| WriteError)
            }
            Client::Gone(_) => Ok(()),
        };
        self.or_go_on(written)
    }

    /// Writes an answer that is nothing but its head. Over HTTP/2 its frame ends the stream: what a gRPC
    /// server says with it are trailers.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn write_bare_head(&mut self, head: ResponseHead) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => {
                http1.write_head(&head);
                http1.write_body(Bytes::new(), true).await
            }
            Client::Http2(http2) => match &mut **http2 {
                ServerSession::H2(http2) => {
                    let written = http2.write_response_header(head.into_pingora(), true);
                    written.map_err(|_| WriteError)
                }
                _ => Err(WriteError),
            },
            Client::Gone(_) => Ok(()),
        };
        self.or_go_on(written)
    }

    /// Writes a piece of the answer.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn write_body(&mut self, data: Bytes, last: bool) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => http1.write_body(data, last).await,
            Client::Http2(http2) => {
                let written = http2.write_response_body(data, last).await;
                written.map_err(|_| WriteError)
            }
            Client::Gone(_) => Ok(()),
        };
        self.or_go_on(written)
    }

    /// Writes what comes behind the answer.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => http1.write_trailers(&trailers).await,
            Client::Http2(http2) => {
                let written = http2.write_response_trailers(trailers).await;
                written.map_err(|_| WriteError)
            }
            Client::Gone(_) => Ok(()),
        };
        self.or_go_on(written)
    }

    /// Whether the head of the answer has left for the client.
    pub(crate) fn has_begun_answer(&self) -> bool {
        match &self.client {
            Client::Http1(http1) => http1.has_begun_answer(),
            Client::Http2(http2) => http2.response_written().is_some(),
            Client::Gone(gone) => gone.begun == Begun::Yes,
        }
    }

    /// Sends what has been written and not yet left.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn flush(&mut self) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => http1.flush().await,
            Client::Http2(_) | Client::Gone(_) => return Ok(()),
        };
        self.or_go_on(written)
    }

    /// The connection ends with this answer, and the answer says so.
    pub(crate) fn close_after_answer(&mut self) {
        match &mut self.client {
            Client::Http1(http1) => http1.close_after_answer(),
            Client::Http2(http2) => http2.set_keepalive(None),
            Client::Gone(_) => {}
        }
    }
}
