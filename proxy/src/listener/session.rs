//! A request and whoever sent it, whatever version of HTTP they speak: what the stages read from and
//! write to.

use bytes::{Bytes, BytesMut};
use http::header::{self, AsHeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Version};
use pingora::ErrorType;
use pingora::protocols::http::ServerSession;

use super::answer_head::AnswerHead;
use super::http1::{Http1, Unwritable};
use super::socket::ClientStream;
use crate::refusal::{ErrorCode, Refusal};

/// A client with its request.
pub(crate) enum Session {
    Http1(Box<Http1>),
    /// pingora speaks HTTP/2.
    Http2(Box<ServerSession>),
}

/// What came of a client that has sent its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    Left,
    /// More than its request.
    Sent,
}

/// Why the body of a request cannot be read on.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// Its framing is wrong, in this way.
    Malformed(&'static str),
    StoodStill,
    ClientLeft,
}

impl Session {
    /// A stream of HTTP/2. pingora believes a length of 0, and leaves a body that comes in spite of it
    /// unread; without the field, whether there is a body is for the frames to say.
    pub(crate) fn of_http2(mut http2: Box<ServerSession>) -> Self {
        let zero = |value: &HeaderValue| value.as_bytes() == b"0";
        let head = http2.req_header_mut();
        if head.headers.get(header::CONTENT_LENGTH).is_some_and(zero) {
            head.remove_header(&header::CONTENT_LENGTH);
        }
        Session::Http2(http2)
    }

    /// The head of the request.
    pub(crate) fn head(&self) -> &Parts {
        match self {
            Session::Http1(http1) => http1.head(),
            Session::Http2(http2) => http2.req_header(),
        }
    }

    pub(crate) fn header(&self, name: impl AsHeaderName) -> Option<&HeaderValue> {
        self.head().headers.get(name)
    }

    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Session::Http2(_))
    }

    /// The length of the body that the head announces.
    pub(crate) fn announced_bytes(&self) -> Option<u64> {
        match self {
            Session::Http1(http1) => http1.announced_bytes(),
            Session::Http2(_) => {
                let value = self.header(header::CONTENT_LENGTH)?;
                value.to_str().ok()?.trim().parse().ok()
            }
        }
    }

    /// Whether the head says that a body comes whose length it does not know.
    pub(crate) fn has_open_body(&self) -> bool {
        match self {
            Session::Http1(http1) => http1.is_chunked(),
            Session::Http2(http2) => {
                let known = self.header(header::CONTENT_LENGTH).is_some();
                let http2 = http2.as_http2();
                !known && http2.is_some_and(|http2| !http2.is_body_empty())
            }
        }
    }

    /// Whether there is no body at all.
    pub(crate) fn is_body_empty(&mut self) -> bool {
        match self {
            Session::Http1(http1) => http1.is_body_done(),
            Session::Http2(http2) => http2.is_body_empty(),
        }
    }

    /// Whether the body has been read to its end.
    pub(crate) fn is_body_done(&mut self) -> bool {
        match self {
            Session::Http1(http1) => http1.is_body_done(),
            Session::Http2(http2) => http2.is_body_done(),
        }
    }

    /// Whether nothing of the body has to be waited for.
    pub(crate) fn has_body_arrived(&self) -> bool {
        match self {
            Session::Http1(http1) => http1.has_body_arrived(),
            Session::Http2(_) => false,
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
    /// See [`Unreadable`].
    pub(crate) async fn read_body(&mut self) -> Result<Option<Bytes>, Unreadable> {
        match self {
            Session::Http1(http1) => http1.read_body().await,
            Session::Http2(http2) => {
                let piece = http2.read_request_body().await;
                piece.map_err(|error| match error.etype() {
                    ErrorType::InvalidHTTPHeader | ErrorType::InternalError => {
                        Unreadable::Malformed("its frames do not fit together")
                    }
                    ErrorType::ReadTimedout => Unreadable::StoodStill,
                    _ => Unreadable::ClientLeft,
                })
            }
        }
    }

    /// Refuses a body whose beginning, as far as it has arrived, is malformed.
    ///
    /// # Errors
    /// `bad_request`.
    pub(crate) fn check_arrived_body(&self) -> Result<(), Refusal> {
        match self {
            Session::Http1(http1) => match http1.flaw_of_chunks() {
                Some(flaw) => Err(Refusal::new(ErrorCode::BadRequest, flaw)),
                None => Ok(()),
            },
            Session::Http2(_) => Ok(()),
        }
    }

    /// Ends when the client leaves; asked only when the body has been read.
    pub(crate) async fn left(&mut self) {
        match self {
            Session::Http1(http1) => http1.left().await,
            Session::Http2(http2) => {
                let _ = http2.read_body_or_idle(true).await;
            }
        }
    }

    /// Ends when the client leaves, or sends more than its request; asked only when the body has been
    /// read.
    pub(crate) async fn left_or_sent(&mut self) -> After {
        match self {
            Session::Http1(http1) => http1.left_or_sent().await,
            Session::Http2(_) => {
                self.left().await;
                After::Left
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
        head: &AnswerHead,
    ) -> Result<(), Unwritable> {
        match self {
            Session::Http1(http1) => http1.write_informational(head).await,
            Session::Http2(_) => Ok(()),
        }
    }

    /// The connection after an upgrade: bytes in both directions, and those that are read already.
    pub(crate) fn tunnel(&mut self) -> Option<(&mut ClientStream, BytesMut)> {
        match self {
            Session::Http1(http1) => Some(http1.tunnel()),
            Session::Http2(_) => None,
        }
    }

    /// Tells the client to send its body.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn write_continue(&mut self) -> Result<(), Unwritable> {
        match self {
            Session::Http1(http1) => http1.write_continue().await,
            Session::Http2(http2) => {
                let written = http2.write_continue_response().await;
                written.map_err(|_| Unwritable)
            }
        }
    }

    /// Begins the answer. Over HTTP/1 the head leaves with the first piece of the body, or when it
    /// is flushed.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn write_head(&mut self, head: AnswerHead) -> Result<(), Unwritable> {
        match self {
            Session::Http1(http1) => {
                http1.write_head(&head);
                Ok(())
            }
            Session::Http2(http2) => {
                let written = http2.write_response_header(head.into_pingora()).await;
                written.map_err(|_| Unwritable)
            }
        }
    }

    /// Writes an answer that is nothing but its head. Over HTTP/2 its frame ends the stream: what a gRPC
    /// server says with it are trailers.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn write_bare_head(&mut self, head: AnswerHead) -> Result<(), Unwritable> {
        match self {
            Session::Http1(http1) => {
                http1.write_head(&head);
                http1.write_body(Bytes::new(), true).await
            }
            Session::Http2(http2) => match &mut **http2 {
                ServerSession::H2(http2) => {
                    let written = http2.write_response_header(head.into_pingora(), true);
                    written.map_err(|_| Unwritable)
                }
                _ => Err(Unwritable),
            },
        }
    }

    /// Writes a piece of the answer.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn write_body(&mut self, data: Bytes, last: bool) -> Result<(), Unwritable> {
        match self {
            Session::Http1(http1) => http1.write_body(data, last).await,
            Session::Http2(_) if data.is_empty() && !last => Ok(()),
            Session::Http2(http2) => {
                let written = http2.write_response_body(data, last).await;
                written.map_err(|_| Unwritable)
            }
        }
    }

    /// Writes what comes behind the answer.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<(), Unwritable> {
        match self {
            Session::Http1(http1) => http1.write_trailers(&trailers).await,
            Session::Http2(http2) => {
                let written = http2.write_response_trailers(trailers).await;
                written.map_err(|_| Unwritable)
            }
        }
    }

    /// Whether the head of the answer has left for the client.
    pub(crate) fn has_begun_answer(&self) -> bool {
        match self {
            Session::Http1(http1) => http1.has_begun_answer(),
            Session::Http2(http2) => http2.response_written().is_some(),
        }
    }

    /// Sends what has been written and not yet left.
    ///
    /// # Errors
    /// The client is gone, or did not read for too long.
    pub(crate) async fn flush(&mut self) -> Result<(), Unwritable> {
        match self {
            Session::Http1(http1) => http1.flush().await,
            Session::Http2(_) => Ok(()),
        }
    }

    /// The connection ends with this answer, and the answer says so.
    pub(crate) fn close_after_answer(&mut self) {
        match self {
            Session::Http1(http1) => http1.close_after_answer(),
            Session::Http2(http2) => http2.set_keepalive(None),
        }
    }
}

/// Whether `Connection` has this option (RFC 9110, section 7.6.1).
pub(super) fn has_option(headers: &HeaderMap, option: &[u8]) -> bool {
    let lines = headers.get_all(header::CONNECTION).iter();
    let mut options = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    options.any(|named| named.trim_ascii().eq_ignore_ascii_case(option))
}
