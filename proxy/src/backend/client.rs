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
use http::{Request, Response, Uri};
use http_body::Body as _;
use http_body_util::Full;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};

use super::connector::{Connect, Stream};
use super::pool::Pool;
use super::{Config, pool};
use crate::clock::{self, Elapsed, Patience};

/// One open connection.
pub(super) struct Link {
    sender: SendRequest<Full<Bytes>>,
    connection: Pin<Box<http1::Connection<Stream, Full<Bytes>>>>,
    patience: Patience,
    /// When it was last given back.
    pub(super) idle_since: Instant,
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
    link: Option<Link>,
    home: pool::Home,
}

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
pub(super) struct Wait {
    pub(super) asked: Instant,
    pub(super) deadline: Instant,
}

impl Link {
    async fn open(connect: &Connect, uri: &Uri, timeout: Duration) -> io::Result<Self> {
        let opening = async {
            let stream = connect.open(uri).await?;
            http1::handshake(stream).await.map_err(io::Error::other)
        };
        let (sender, connection) = pingora::time::timeout(timeout, opening)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connect_timeout is over"))??;
        Ok(Link {
            sender,
            connection: Box::pin(connection),
            patience: Patience::default(),
            idle_since: clock::now(),
        })
    }

    /// Lets the connection read and write. `Ready` when it has ended.
    fn drive(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.connection.as_mut().poll(context)
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

/// Sends a request over a pooled or a new connection, and waits for the head of the answer.
///
/// # Errors
/// See [`Failure`]. A request that has not been written yet when a pooled connection turns out to be
/// closed goes over another one.
pub(super) async fn ask(
    home: pool::Home,
    config: &Config,
    connect: &Connect,
    request: Request<Full<Bytes>>,
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
struct Unsent(Failure, Option<Box<Request<Full<Bytes>>>>);

/// Sends over one connection.
async fn send(
    link: &mut Link,
    mut request: Request<Full<Bytes>>,
    deadline: Instant,
) -> Result<Response<Incoming>, Unsent> {
    // hyper writes the request target as the URI stands: an origin server wants its path only.
    let target = request.uri().path_and_query().cloned();
    let target = target.map_or_else(Uri::default, Uri::from);
    let whole = std::mem::replace(request.uri_mut(), target);
    let mut response = std::pin::pin!(link.sender.try_send_request(request));
    let (connection, patience) = (&mut link.connection, &mut link.patience);
    let answered = poll_fn(|context| {
        // The connection first: it writes the request and reads the answer. That it has ended shows
        // in the answer, which then is an error or has come before.
        let _ = connection.as_mut().poll(context);
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
    let (head, incoming) = response.into_parts();
    let link = Some(link);
    let body = AnswerBody {
        incoming,
        link,
        home,
    };
    Answer {
        head,
        body,
        connect,
    }
}

impl AnswerBody {
    /// Whether nothing more comes. Then the connection is given back, once, as idle since `now`.
    pub fn is_at_end(&mut self, now: Instant) -> bool {
        let at_end = self.incoming.is_end_stream();
        if at_end {
            self.give_back(now);
        }
        at_end
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
            Poll::Pending => match &mut self.link {
                Some(link) => link
                    .patience
                    .poll_end(deadline, context)
                    .map(|()| Err(Elapsed)),
                None => Poll::Pending,
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
        if let Some(link) = &mut self.link {
            let _ = link.drive(context);
        }
        let frame = ready!(Pin::new(&mut self.incoming).poll_frame(context));
        if frame.is_none() {
            self.give_back(clock::now());
        }
        Poll::Ready(frame)
    }

    fn give_back(&mut self, now: Instant) {
        if let Some(mut link) = self.link.take() {
            link.idle_since = now;
            Pool::give_back(self.home, link);
        }
    }
}
