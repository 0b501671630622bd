//! One exchange with an endpoint over HTTP/1.1: hyper's connection, driven by the task that asks.
//!
//! hyper's own pooled client hands each request to a task of the connection and back, which costs a
//! tenth of a request. Here the connection has no task: whoever waits for the answer drives it.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body::Body as _;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use super::connector::{Connect, Protocol};
use super::http2::Shared;
use super::pool::Pool;
use super::request_body::RequestBody;
use super::wire::Wire;
use super::{Config, pool};
use crate::clock::{self, Elapsed, Patience};

/// One open connection.
pub(super) struct Link {
    sender: SendRequest<RequestBody>,
    connection: Box<http1::Connection<Wire, RequestBody>>,
    patience: Patience,
    reuse: Reuse,
    driving: Driving,
    /// When it was last given back.
    pub(super) idle_since: Instant,
}

/// Whether hyper has something to do for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Driving {
    Needed,
    /// It has ended, or has been upgraded.
    Over,
}

/// Whether a connection may carry another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reuse {
    WhenAtEnd,
    Never,
}

/// What an endpoint answered: the head, and the body that is still to come.
pub struct Answer {
    pub head: http::response::Parts,
    pub body: AnswerBody,
    /// How long connecting took; `None` on a connection that was open already.
    pub connect: Option<Duration>,
}

/// The body of an answer. Read to its end it gives its connection back; dropped before, it closes it.
pub struct AnswerBody {
    incoming: Incoming,
    held: Held,
    /// What came with the head and has not been asked for yet.
    first: Option<Option<hyper::Result<Frame<Bytes>>>>,
    /// As the endpoint framed it, before anything was read.
    length: Option<u64>,
    home: pool::Home,
}

/// What an answer that is not at its end holds.
pub(super) enum Held {
    /// A connection of its own.
    Link(Link),
    /// A stream of a connection that others share.
    Stream {
        _place: Shared,
        patience: Patience,
    },
    Nothing,
}

/// A connection after a 101: bytes in both directions, and nobody's HTTP any more.
pub struct Tunnel {
    pub stream: TunnelStream,
    /// What the endpoint sent right behind its head.
    pub arrived: Bytes,
}

/// What an upgraded connection is read from and written to.
pub type TunnelStream = TokioIo<Wire>;

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// No connection could be opened.
    Connect(io::Error),
    /// The connection broke, or what came over it is not HTTP.
    Broken(hyper::Error),
    /// The deadline was over first.
    TimedOut,
}

/// When an answer was asked for, and until when it is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub asked: Instant,
    pub deadline: Instant,
}

impl Link {
    async fn open(connect: &Connect, uri: &Uri, timeout: Duration) -> io::Result<Self> {
        let opening = async {
            let stream = connect.open(uri, Protocol::Http1).await?;
            let handshake = http1::handshake(Wire::new(stream)).await;
            handshake.map_err(io::Error::other)
        };
        let (sender, connection) = pingora::time::timeout(timeout, opening)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connect_timeout is over"))??;
        Ok(Link {
            sender,
            connection: Box::new(connection),
            patience: Patience::default(),
            reuse: Reuse::WhenAtEnd,
            driving: Driving::Needed,
            idle_since: clock::now(),
        })
    }

    /// Lets the connection read and write. `Ready` when it has ended, or has been upgraded: then it must
    /// stay open, so hyper does not shut it down.
    fn drive(&mut self, context: &mut Context<'_>) -> Poll<()> {
        drive(&mut self.connection, &mut self.driving, context)
    }

    /// Whether another request can go over it: the endpoint has not closed it meanwhile.
    async fn is_usable(&mut self) -> bool {
        poll_fn(|context| {
            let ended = self.drive(context).is_ready();
            Poll::Ready(!ended && self.sender.is_ready())
        })
        .await
    }
}

fn drive(
    connection: &mut http1::Connection<Wire, RequestBody>,
    driving: &mut Driving,
    context: &mut Context<'_>,
) -> Poll<()> {
    // Why it has ended shows in the answer, which then is an error or has come before.
    if *driving == Driving::Needed && connection.poll_without_shutdown(context).is_ready() {
        *driving = Driving::Over;
    }
    match *driving {
        Driving::Needed => Poll::Pending,
        Driving::Over => Poll::Ready(()),
    }
}

/// Sends a request over a pooled or a new connection, and waits for the head of the answer.
///
/// # Errors
/// See [`Failure`]. A request that has not been written yet when a pooled connection turns out to be
/// closed goes over another one.
pub(super) async fn ask(
    home: pool::Home,
    config: &Config,
    connect: &Connect,
    request: Request<RequestBody>,
    wait: Wait,
) -> Result<Answer, Failure> {
    let mut request = request;
    while let Some(mut link) = Pool::take(home, config, wait.asked) {
        if !link.is_usable().await {
            continue;
        }
        match send(&mut link, request, wait.deadline).await {
            Ok(response) => return Ok(answer(response, link, home, None)),
            Err(Unsent(failure, None)) => return Err(failure),
            Err(Unsent(_, Some(unsent))) => request = *unsent,
        }
    }
    let begun = clock::now();
    let left = wait.deadline.saturating_duration_since(begun);
    let timeout = config.connect_timeout.min(left);
    let opened = Link::open(connect, request.uri(), timeout).await;
    let mut link = opened.map_err(Failure::Connect)?;
    let took = clock::now().saturating_duration_since(begun);
    match send(&mut link, request, wait.deadline).await {
        Ok(response) => Ok(answer(response, link, home, Some(took))),
        Err(Unsent(failure, _)) => Err(failure),
    }
}

/// A failure, with the request if nothing of it was written.
struct Unsent(Failure, Option<Box<Request<RequestBody>>>);

/// Sends over one connection.
async fn send(
    link: &mut Link,
    mut request: Request<RequestBody>,
    deadline: Instant,
) -> Result<Response<Incoming>, Unsent> {
    // hyper writes the request target as the URI stands: an origin server wants its path only.
    let target = request.uri().path_and_query().cloned();
    let target = target.map_or_else(Uri::default, Uri::from);
    let whole = std::mem::replace(request.uri_mut(), target);
    let mut response = std::pin::pin!(link.sender.try_send_request(request));
    let Link {
        connection,
        driving,
        patience,
        ..
    } = link;
    let answered = poll_fn(|context| {
        // The connection first: it writes the request and reads the answer.
        let _ = drive(connection, driving, context);
        match response.as_mut().poll(context) {
            Poll::Ready(answered) => Poll::Ready(Some(answered)),
            Poll::Pending => patience.poll_end(deadline, context).map(|()| None),
        }
    });
    match answered.await {
        Some(Ok(response)) => Ok(response),
        Some(Err(mut error)) => {
            let unsent = error.take_message().map(|mut request| {
                *request.uri_mut() = whole;
                Box::new(request)
            });
            Err(Unsent(Failure::Broken(error.into_error()), unsent))
        }
        None => Err(Unsent(Failure::TimedOut, None)),
    }
}

fn answer(
    response: Response<Incoming>,
    link: Link,
    home: pool::Home,
    connect: Option<Duration>,
) -> Answer {
    Answer::new(response, Held::Link(link), home, connect)
}

impl Answer {
    pub(super) fn new(
        response: Response<Incoming>,
        held: Held,
        home: pool::Home,
        connect: Option<Duration>,
    ) -> Self {
        let (head, incoming) = response.into_parts();
        let body = AnswerBody {
            length: incoming.size_hint().exact(),
            incoming,
            held,
            first: None,
            home,
        };
        Answer {
            head,
            body,
            connect,
        }
    }

    /// The connection of an endpoint that has switched protocols; `None` where there is none to be had.
    pub async fn into_tunnel(mut self) -> Option<Tunnel> {
        let Held::Link(mut link) = self.body.take_held() else {
            return None;
        };
        if self.head.status != StatusCode::SWITCHING_PROTOCOLS {
            return None;
        }
        poll_fn(|context| link.drive(context)).await;
        let parts = link.connection.into_parts();
        Some(Tunnel {
            stream: TokioIo::new(parts.io),
            arrived: parts.read_buf,
        })
    }
}

impl AnswerBody {
    /// Whether nothing more comes. Then the connection is given back, once, as idle since `now`.
    pub fn is_at_end(&mut self, now: Instant) -> bool {
        let at_end = self.first.is_none() && self.incoming.is_end_stream();
        if at_end {
            self.give_back(now);
        }
        at_end
    }

    /// The length of the body, as the endpoint framed it; `None` where its end is not known before.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The connection is of no use to another request: this one is still being sent over it, or its
    /// endpoint frames answers in more than one way.
    pub fn close_connection_at_end(&mut self) {
        if let Held::Link(link) = &mut self.held {
            link.reuse = Reuse::Never;
        }
    }

    /// Looks at what came with the head, and leaves it to be read.
    ///
    /// # Errors
    /// It cannot be read: the head was followed by something that is no body.
    pub async fn check_first(&mut self) -> Result<(), hyper::Error> {
        if self.incoming.is_end_stream() {
            return Ok(());
        }
        match self.arrived().await {
            Some(Some(Err(error))) => Err(error),
            first => {
                self.first = first;
                Ok(())
            }
        }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The deadline was over first.
    pub async fn frame(
        &mut self,
        deadline: Instant,
    ) -> Result<Option<hyper::Result<Frame<Bytes>>>, Elapsed> {
        poll_fn(|context| match self.poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Ok(frame)),
            Poll::Pending => match &mut self.held {
                Held::Link(Link { patience, .. }) | Held::Stream { patience, .. } => {
                    patience.poll_end(deadline, context).map(|()| Err(Elapsed))
                }
                Held::Nothing => Poll::Pending,
            },
        })
        .await
    }

    /// The next piece if it has arrived already: what `frame` would give without waiting.
    pub async fn arrived(&mut self) -> Option<Option<hyper::Result<Frame<Bytes>>>> {
        poll_fn(|context| match self.poll_frame(context) {
            Poll::Ready(frame) => Poll::Ready(Some(frame)),
            Poll::Pending => Poll::Ready(None),
        })
        .await
    }

    fn poll_frame(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(first);
        }
        if let Held::Link(link) = &mut self.held {
            let _ = link.drive(context);
        }
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(context));
        if frame.is_none() {
            self.give_back(clock::now());
        }
        Poll::Ready(frame)
    }

    fn give_back(&mut self, now: Instant) {
        if let Held::Link(mut link) = self.take_held()
            && link.reuse == Reuse::WhenAtEnd
        {
            link.idle_since = now;
            Pool::give_back(self.home, link);
        }
    }

    fn take_held(&mut self) -> Held {
        std::mem::replace(&mut self.held, Held::Nothing)
    }
}
