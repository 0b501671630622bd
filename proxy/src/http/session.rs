//! A request and its client, over HTTP/1 or HTTP/2: what the stages read from and write to.

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
use detached::{DetachPermit, Detached, HeadSent};

mod detached;

pub(crate) use detached::Continuation;

/// A client with its request.
pub(crate) struct Session {
    client: Client,
    permit: Option<DetachPermit>,
}

enum Client {
    Http1(Box<Http1>),
    /// pingora speaks HTTP/2.
    Http2(Box<ServerSession>),
    /// It has disconnected, and its request continues: what is written is discarded.
    Detached(Box<Detached>),
}

impl Session {
    pub(crate) fn of_http1(http1: Box<Http1>) -> Self {
        Session::of(Client::Http1(http1))
    }

    /// An HTTP/2 stream. pingora trusts a length of 0 and leaves a body that arrives nevertheless unread;
    /// without the field, the frames decide whether there is a body.
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
            permit: None,
        }
    }

    /// The HTTP/1 client, unless it has disconnected.
    pub(crate) fn into_http1(self) -> Option<Box<Http1>> {
        match self.client {
            Client::Http1(http1) => Some(http1),
            Client::Http2(_) | Client::Detached(_) => None,
        }
    }

    /// The HTTP/2 client, unless it has disconnected.
    pub(crate) fn into_http2(self) -> Option<Box<ServerSession>> {
        match self.client {
            Client::Http2(http2) => Some(http2),
            Client::Http1(_) | Client::Detached(_) => None,
        }
    }

    /// The head of the request.
    pub(crate) fn head(&self) -> &Parts {
        match &self.client {
            Client::Http1(http1) => http1.head(),
            Client::Http2(http2) => http2.req_header(),
            Client::Detached(detached) => &detached.head,
        }
    }

    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&HeaderValue> {
        self.head().headers.get(name)
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.client, Client::Http2(_))
    }

    /// The length of the body as the head announces it.
    pub(crate) fn announced_bytes(&self) -> Option<u64> {
        match &self.client {
            Client::Http1(http1) => http1.announced_bytes(),
            Client::Http2(_) => {
                let value = self.header(header::CONTENT_LENGTH)?;
                value.to_str().ok()?.trim().parse().ok()
            }
            Client::Detached(_) => None,
        }
    }

    /// Whether the head announces a body of unknown length.
    pub(crate) fn has_open_body(&self) -> bool {
        match &self.client {
            Client::Http1(http1) => http1.is_chunked(),
            Client::Http2(http2) => {
                let known = self.header(header::CONTENT_LENGTH).is_some();
                let http2 = http2.as_http2();
                !known && http2.is_some_and(|http2| !http2.is_body_empty())
            }
            Client::Detached(_) => false,
        }
    }

    /// Whether there is no body at all.
    pub(crate) fn is_body_empty(&mut self) -> bool {
        match &mut self.client {
            Client::Http1(http1) => http1.is_body_done(),
            Client::Http2(http2) => http2.is_body_empty(),
            Client::Detached(_) => true,
        }
    }

    /// Whether the body has been read to its end.
    pub(crate) fn is_body_done(&mut self) -> bool {
        match &mut self.client {
            Client::Http1(http1) => http1.is_body_done(),
            Client::Http2(http2) => http2.is_body_done(),
            Client::Detached(_) => true,
        }
    }

    /// Whether the body arrived together with its head.
    pub(crate) fn has_body_arrived(&self) -> bool {
        match &self.client {
            Client::Http1(http1) => http1.has_body_arrived(),
            Client::Http2(_) => false,
            Client::Detached(_) => true,
        }
    }

    /// Whether the client waits for `100 Continue` before it sends its body (RFC 9110, section 10.1.1).
    pub(crate) fn expects_continue(&self) -> bool {
        let expects = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
        self.head().version != Version::HTTP_10 && self.header(header::EXPECT).is_some_and(expects)
    }

    /// The protocol that the client requests an upgrade to (RFC 9110, section 7.8): only HTTP/1.1 has upgrades,
    /// and only with the `upgrade` connection option. Upgrading to cleartext HTTP/2
    /// (RFC 7540) is obsolete since RFC 9113: such a request is served over HTTP/1.1.
    pub(crate) fn upgrade(&self) -> Option<&HeaderValue> {
        let head = self.head();
        let protocol = head.headers.get(header::UPGRADE)?;
        let mut protocols = protocol.as_bytes().split(|byte| *byte == b',');
        let h2c = protocols.any(|name| name.trim_ascii().eq_ignore_ascii_case(b"h2c"));
        let requested = head.version == Version::HTTP_11 && has_option(&head.headers, b"upgrade");
        (requested && !h2c).then_some(protocol)
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
                        BodyReadError::Malformed("its frames are inconsistent")
                    }
                    ErrorType::ReadTimedout => BodyReadError::Stalled,
                    _ => BodyReadError::ClientLeft,
                })
            }
            Client::Detached(_) => Ok(None),
        }
    }

    /// Rejects a body if the part that has arrived is malformed.
    ///
    /// # Errors
    /// `bad_request`.
    pub(crate) fn check_arrived_body(&self) -> Result<(), Refusal> {
        match &self.client {
            Client::Http1(http1) => match http1.chunk_error() {
                Some(flaw) => Err(Refusal::new(ErrorCode::BadRequest, flaw)),
                None => Ok(()),
            },
            Client::Http2(_) | Client::Detached(_) => Ok(()),
        }
    }

    /// Resolves when the client has disconnected. A request that may continue without its client is detached instead,
    /// and this never resolves. Only for a request whose body has been read.
    pub(crate) async fn client_left(&mut self) {
        match &mut self.client {
            Client::Http1(http1) => http1.client_left().await,
            Client::Http2(http2) => {
                let _ = http2.read_body_or_idle(true).await;
            }
            Client::Detached(_) => {}
        }
        let _ = self.detach();
        if let Client::Detached(detached) = &self.client {
            detached.unwanted().await;
        }
    }

    /// Resolves when the client disconnects or sends more than its request. Only for a request whose body has been
    /// read.
    pub(crate) async fn left_or_sent(&mut self) -> AfterRequest {
        match &mut self.client {
            Client::Http1(http1) => http1.left_or_sent().await,
            Client::Http2(_) | Client::Detached(_) => {
                self.client_left().await;
                AfterRequest::Left
            }
        }
    }

    /// Forwards an informational response (RFC 9110, section 15.2). An HTTP/1.0 client would mistake it for
    /// the response; pingora's HTTP/2 cannot send it.
    ///
    /// # Errors
    /// The client has disconnected, or did not read for too long.
    pub(crate) async fn write_informational(
        &mut self,
        head: &ResponseHead,
    ) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => http1.write_informational(head).await,
            Client::Http2(_) | Client::Detached(_) => Ok(()),
        };
        self.or_detach(written)
    }

    /// The connection after an upgrade, and the bytes already read from it.
    pub(crate) fn tunnel(&mut self) -> Option<(&mut ClientStream, BytesMut)> {
        match &mut self.client {
            Client::Http1(http1) => Some(http1.tunnel()),
            Client::Http2(_) | Client::Detached(_) => None,
        }
    }

    /// Sends `100 Continue`.
    ///
    /// # Errors
    /// The client has disconnected.
    pub(crate) async fn write_continue(&mut self) -> Result<(), WriteError> {
        match &mut self.client {
            Client::Http1(http1) => http1.write_continue().await,
            Client::Http2(http2) => {
                let written = http2.write_continue_response().await;
                written.map_err(|_| WriteError)
            }
            Client::Detached(_) => Ok(()),
        }
    }

    /// Begins the response. Over HTTP/1 the head is sent with the first piece of the body, or when it is
    /// flushed.
    ///
    /// # Errors
    /// The client has disconnected.
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
            Client::Detached(_) => Ok(()),
        };
        self.or_detach(written)
    }

    /// Writes a response that consists of its head only. Over HTTP/2 its frame ends the stream: for gRPC it is a
    /// trailers-only response.
    ///
    /// # Errors
    /// The client has disconnected, or did not read for too long.
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
            Client::Detached(_) => Ok(()),
        };
        self.or_detach(written)
    }

    /// Writes a piece of the response body.
    ///
    /// # Errors
    /// The client has disconnected, or did not read for too long.
    pub(crate) async fn write_body(&mut self, data: Bytes, last: bool) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => http1.write_body(data, last).await,
            Client::Http2(http2) => {
                let written = http2.write_response_body(data, last).await;
                written.map_err(|_| WriteError)
            }
            Client::Detached(detached) => detached.write(),
        };
        self.or_detach(written)
    }

    /// Writes the trailers of the response.
    ///
    /// # Errors
    /// The client has disconnected, or did not read for too long.
    pub(crate) async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => http1.write_trailers(&trailers).await,
            Client::Http2(http2) => {
                let written = http2.write_response_trailers(trailers).await;
                written.map_err(|_| WriteError)
            }
            Client::Detached(_) => Ok(()),
        };
        self.or_detach(written)
    }

    /// Whether the head of the response has been sent.
    pub(crate) fn has_begun_response(&self) -> bool {
        match &self.client {
            Client::Http1(http1) => http1.has_begun_response(),
            Client::Http2(http2) => http2.response_written().is_some(),
            Client::Detached(detached) => detached.begun == HeadSent::Yes,
        }
    }

    /// Flushes buffered bytes to the client.
    ///
    /// # Errors
    /// The client has disconnected, or did not read for too long.
    pub(crate) async fn flush(&mut self) -> Result<(), WriteError> {
        let written = match &mut self.client {
            Client::Http1(http1) => http1.flush().await,
            Client::Http2(_) | Client::Detached(_) => return Ok(()),
        };
        self.or_detach(written)
    }

    /// Closes the connection after this response, and announces that in the response.
    pub(crate) fn close_after_response(&mut self) {
        match &mut self.client {
            Client::Http1(http1) => http1.close_after_response(),
            Client::Http2(http2) => http2.set_keepalive(None),
            Client::Detached(_) => {}
        }
    }
}
