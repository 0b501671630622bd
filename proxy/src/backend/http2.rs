//! Exchanges with an endpoint over HTTP/2, which gRPC needs: the streams of few connections.
//!
//! hyper lets an HTTP/2 connection be driven by a task of its own only. Each worker has its connections,
//! and a task of theirs never leaves it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Config;
use super::client::{Answer, Broken, Failure, Wait};
use super::connector::{Connect, Protocol};
use super::pool::Home;
use super::request_body::RequestBody;
use crate::clock;

/// How many streams a connection has at once: what RFC 9113, section 6.5.2, calls the least that an
/// endpoint should allow.
const STREAMS_MAX: usize = 100;

thread_local! {
    static OPEN: RefCell<HashMap<Home, Vec<Connection>>> = RefCell::default();
}

/// One open connection.
#[derive(Clone)]
struct Connection {
    sender: SendRequest<RequestBody>,
    streams: Arc<AtomicUsize>,
}

/// A place among the streams of a connection; dropping it frees the place.
pub(super) struct Shared {
    streams: Arc<AtomicUsize>,
}

impl Connection {
    fn enter(&self) -> Shared {
        self.streams.fetch_add(1, Ordering::Relaxed);
        Shared {
            streams: self.streams.clone(),
        }
    }

    fn has_room(&self) -> bool {
        self.streams.load(Ordering::Relaxed) < STREAMS_MAX
    }

    async fn open(
        connect: &Connect,
        config: &Config,
        request: &Request<RequestBody>,
    ) -> io::Result<Self> {
        let stream = connect.open(request.uri(), Protocol::Http2).await?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .keep_alive_interval(config.pool_idle_timeout)
            .keep_alive_timeout(config.connect_timeout.max(Duration::from_secs(1)));
        let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                log::debug!("an HTTP/2 connection to a backend ended: {error}");
            }
        });
        Ok(Connection {
            sender,
            streams: Arc::default(),
        })
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a request over a shared or a new connection, and waits for the head of the answer.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn ask(
    home: Home,
    config: &Config,
    connect: &Connect,
    request: Request<RequestBody>,
    wait: Wait,
) -> Result<Answer, Failure> {
    let left = || wait.deadline.saturating_duration_since(clock::now());
    let (mut connection, took) = match open_one(home) {
        Some(connection) => (connection, None),
        None => {
            let begun = clock::now();
            let opening = Connection::open(connect, config, &request);
            let timeout = config.connect_timeout.min(left());
            let opened = clock::timeout(timeout, opening).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "connect_timeout is over");
            let connection = opened
                .unwrap_or_else(|_| Err(late()))
                .map_err(Failure::Connect)?;
            keep(home, connection.clone());
            (
                connection,
                Some(clock::now().saturating_duration_since(begun)),
            )
        }
    };
    let place = connection.enter();
    let answering = async {
        connection.sender.ready().await?;
        connection.sender.send_request(request).await
    };
    match clock::timeout(left(), answering).await {
        Ok(Ok(response)) => Ok(Answer::of_stream(response, place, home, took)),
        Ok(Err(error)) => Err(Failure::Broken(Broken::Http2(error))),
        Err(_) => Err(Failure::TimedOut),
    }
}

/// A connection with room for one more stream; those that have ended are forgotten.
fn open_one(home: Home) -> Option<Connection> {
    OPEN.with_borrow_mut(|open| {
        let connections = open.get_mut(&home)?;
        connections.retain(|connection| !connection.sender.is_closed());
        connections
            .iter()
            .find(|connection| connection.has_room())
            .cloned()
    })
}

fn keep(home: Home, connection: Connection) {
    OPEN.with_borrow_mut(|open| open.entry(home).or_default().push(connection));
}
