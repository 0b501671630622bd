//! One exchange with an endpoint: over HTTP/1.1 by weir's own connections (`http1.rs`), over HTTP/2 by
//! hyper's (`http2.rs`). Whoever waits for an answer drives its connection.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::{Frame, Incoming};

use super::connector::Connect;
use super::early::Early;
use super::http1::Link;
use super::http2::Shared;
use super::pool::Pool;
use super::request_body::{CutShort, RequestBody};
use super::wire::Wire;
use super::{Config, pool};
use crate::clock::{self, Elapsed, Patience};
use crate::http::response_body::{NextPiece, PiecesAhead, ResponseBody};

pub use crate::http::response_body::Piece;

/// What an endpoint answered: the head, and the body that is still to come.
pub struct Answer {
    pub head: http::response::Parts,
    pub body: AnswerBody,
    /// How long connecting took; `None` on a connection that was open already.
    pub connect: Option<Duration>,
}

/// The body of an answer. Read to its end it gives its connection back; dropped before, it closes it.
pub struct AnswerBody {
    source: Source,
    /// What was looked at and put back, the next of it last.
    ahead: PiecesAhead<Broken>,
    /// As the endpoint framed it, before anything was read.
    length: Option<u64>,
    home: pool::Home,
}

/// What an answer that is not at its end comes from.
enum Source {
    /// A connection of its own.
    Link(Box<Link>),
    /// A stream of a connection that others share.
    Stream {
        incoming: Incoming,
        _place: Shared,
        patience: Patience,
    },
    Nothing,
}

/// What went wrong on an open connection.
#[derive(Debug)]
pub enum Broken {
    /// It was closed before the answer had come whole.
    Closed,
    Io(io::Error),
    /// What came over it is not HTTP.
    Malformed(&'static str),
    /// The body of the request did not come whole from the client.
    CutShort(CutShort),
    Http2(hyper::Error),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Closed => {
                formatter.write_str("it closed the connection before its answer was whole")
            }
            Broken::Io(error) => error.fmt(formatter),
            Broken::Malformed(flaw) => formatter.write_str(flaw),
            Broken::CutShort(cut_short) => cut_short.fmt(formatter),
            Broken::Http2(error) => error.fmt(formatter),
        }
    }
}

impl std::error::Error for Broken {}

/// A connection after a 101: bytes in both directions, and nobody's HTTP any more.
pub struct Tunnel {
    pub stream: Wire,
    /// What the endpoint sent right behind its head.
    pub arrived: Bytes,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection could be opened.
    Connect(io::Error),
    /// The connection broke, or what came over it is not HTTP.
    Broken(Broken),
    /// The deadline was over first.
    TimedOut,
}

/// When an answer was asked for, and until when it is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub asked: Instant,
    pub deadline: Instant,
}

/// Sends a request over a pooled or a new connection, and waits for the head of the answer. What comes
/// before it goes to `early`.
///
/// # Errors
/// See [`Failure`]. A request of which nothing was written when a pooled connection turns out to be closed
/// goes over another one.
pub(super) async fn ask(
    home: pool::Home,
    config: &Config,
    connect: &Connect,
    request: Request<RequestBody>,
    wait: Wait,
    early: Option<&Early>,
) -> Result<Answer, Failure> {
    let (head, mut body) = request.into_parts();
    while let Some(mut link) = Pool::take(home, config, wait.asked) {
        if !link.is_usable().await {
            continue;
        }
        link.begin(&head, body);
        match link.answered(wait.deadline, early).await {
            Ok(head) => return Ok(Answer::of_link(head, link, home, None)),
            Err(Failure::Broken(broken @ (Broken::Closed | Broken::Io(_)))) => {
                match link.take_unsent() {
                    Some(unsent) => body = unsent,
                    None => return Err(Failure::Broken(broken)),
                }
            }
            Err(failure) => return Err(failure),
        }
    }
    let begun = clock::now();
    let left = wait.deadline.saturating_duration_since(begun);
    let timeout = config.connect_timeout.min(left);
    let opened = Link::open(connect, &head.uri, timeout).await;
    let mut link = opened.map_err(Failure::Connect)?;
    let took = clock::now().saturating_duration_since(begun);
    link.begin(&head, body);
    drop(head);
    let head = link.answered(wait.deadline, early).await?;
    Ok(Answer::of_link(head, link, home, Some(took)))
}

impl Answer {
    fn of_link(
        head: http::response::Parts,
        link: Box<Link>,
        home: pool::Home,
        connect: Option<Duration>,
    ) -> Self {
        let body = AnswerBody {
            length: link.length(),
            source: Source::Link(link),
            ahead: PiecesAhead::new(),
            home,
        };
        Answer {
            head,
            body,
            connect,
        }
    }

    /// An answer over HTTP/2, in its place among the streams of a connection.
    pub(super) fn of_stream(
        response: Response<Incoming>,
        place: Shared,
        home: pool::Home,
        connect: Option<Duration>,
    ) -> Self {
        let (head, incoming) = response.into_parts();
        let body = AnswerBody {
            length: incoming.size_hint().exact(),
            source: Source::Stream {
                incoming,
                _place: place,
                patience: Patience::default(),
            },
            ahead: PiecesAhead::new(),
            home,
        };
        Answer {
            head,
            body,
            connect,
        }
    }

    /// The connection of an endpoint that has switched protocols; `None` where there is none to be had.
    pub async fn take_tunnel(&mut self) -> Option<Tunnel> {
        let Source::Link(link) = self.body.take_source() else {
            return None;
        };
        if self.head.status != StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        let (stream, arrived) = link.into_wire().await?;
        Some(Tunnel { stream, arrived })
    }
}

impl AnswerBody {
    fn has_no_more(&self) -> bool {
        match &self.source {
            Source::Link(link) => link.is_at_end(),
            Source::Stream { incoming, .. } => incoming.is_end_stream(),
            Source::Nothing => true,
        }
    }

    /// The length of the body, as the endpoint framed it; `None` where its end is not known before.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Looks at what came with the head, and leaves it to be read.
    ///
    /// # Errors
    /// It cannot be read: the head was followed by something that is no body.
    pub async fn check_first(&mut self) -> Result<(), Broken> {
        if self.has_no_more() {
            return Ok(());
        }
        match self.arrived().await {
            Some(Some(Err(broken))) => Err(broken),
            first => {
                self.ahead.extend(first);
                Ok(())
            }
        }
    }

    fn poll_piece(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Piece, Broken>>> {
        if let Some(piece) = self.ahead.pop() {
            return Poll::Ready(piece);
        }
        let piece = match &mut self.source {
            Source::Link(link) => ready!(link.poll_piece(context)),
            Source::Stream { incoming, .. } => {
                let frame = ready!(Pin::new(incoming).poll_frame(context));
                frame.map(|frame| frame.map(Piece::from).map_err(Broken::Http2))
            }
            Source::Nothing => None,
        };
        if piece.is_none() {
            self.give_back(clock::now());
        }
        Poll::Ready(piece)
    }

    fn give_back(&mut self, now: Instant) {
        if let Source::Link(mut link) = self.take_source()
            && link.is_reusable()
        {
            link.rest(now);
            Pool::give_back(self.home, link);
        }
    }

    fn take_source(&mut self) -> Source {
        std::mem::replace(&mut self.source, Source::Nothing)
    }
}

impl ResponseBody for AnswerBody {
    type Error = Broken;

    fn is_at_end(&mut self, now: Instant) -> bool {
        let at_end = self.ahead.is_empty() && self.has_no_more();
        if at_end {
            self.give_back(now);
        }
        at_end
    }

    fn close_connection_at_end(&mut self) {
        if let Source::Link(link) = &mut self.source {
            link.close_at_end();
        }
    }

    async fn arrived(&mut self) -> Option<NextPiece<Broken>> {
        poll_fn(|context| match self.poll_piece(context) {
            Poll::Ready(piece) => Poll::Ready(Some(piece)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    async fn next(&mut self, deadline: Instant) -> Result<NextPiece<Broken>, Elapsed> {
        poll_fn(|context| match self.poll_piece(context) {
            Poll::Ready(piece) => Poll::Ready(Ok(piece)),
            Poll::Pending => {
                let late = match &mut self.source {
                    Source::Link(link) => link.poll_end(deadline, context),
                    Source::Stream { patience, .. } => patience.poll_end(deadline, context),
                    Source::Nothing => Poll::Pending,
                };
                late.map(|()| Err(Elapsed))
            }
        })
        .await
    }

    fn put_back(&mut self, pieces: PiecesAhead<Broken>) {
        self.ahead.extend(pieces);
    }
}

impl From<Frame<Bytes>> for Piece {
    fn from(frame: Frame<Bytes>) -> Self {
        match frame.into_data() {
            Ok(data) => Piece::Data(data),
            // A frame is either.
            Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
        }
    }
}
