//! Exchanges with an endpoint over HTTP/2, which gRPC needs: streams of few connections.
//!
//! hyper drives an HTTP/2 connection in a task of its own. Each worker has its own connections, whose tasks
//! never leave it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Config;
use super::connector::{Connect, UpstreamProtocol};
use super::failure::{BrokenConnection, ConnectionError, Failure, UnansweredRequest};
use super::pool::PoolKey;
use super::request_body::RequestBody;
use crate::clock;

/// Concurrent streams of a connection: the least that an endpoint should allow, by RFC 9113, section 6.5.2.
const STREAMS_MAX: usize = 100;

thread_local! {
    static OPEN: RefCell<HashMap<PoolKey, Vec<Http2Connection>>> = RefCell::default();
}

/// One open connection.
#[derive(Clone)]
struct Http2Connection {
    sender: SendRequest<RequestBody>,
    streams: Arc<AtomicUsize>,
}

/// One of the concurrent streams of a connection; dropping it frees the slot.
pub(super) struct StreamSlot {
    streams: Arc<AtomicUsize>,
}

impl Http2Connection {
    fn take_slot(&self) -> StreamSlot {
        self.streams.fetch_add(1, Ordering::Relaxed);
        StreamSlot {
            streams: self.streams.clone(),
        }
    }

    fn has_free_slot(&self) -> bool {
        self.streams.load(Ordering::Relaxed) < STREAMS_MAX
    }

    async fn open(
        connect: &Connect,
        config: &Config,
        request: &Request<RequestBody>,
    ) -> io::Result<Self> {
        let stream = connect.open(request.uri(), UpstreamProtocol::Http2).await?;
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
        Ok(Http2Connection {
            sender,
            streams: Arc::default(),
        })
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        self.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Sends a request over an open or a new connection, and waits for the head of the response. The duration is
/// what connecting took, if the connection is new.
///
/// # Errors
/// See [`UnansweredRequest`].
pub(super) async fn send(
    key: PoolKey,
    config: &Config,
    connect: &Connect,
    request: Request<RequestBody>,
    deadline: Instant,
) -> Result<(Response<Incoming>, StreamSlot, Option<Duration>), UnansweredRequest> {
    let left = || deadline.saturating_duration_since(clock::now());
    let (mut connection, took) = match open_connection(key) {
        Some(connection) => (connection, None),
        None => {
            let started_at = clock::now();
            let opening = Http2Connection::open(connect, config, &request);
            let timeout = config.connect_timeout.min(left());
            let opened = clock::timeout(timeout, opening).await;
            let late = || io::Error::new(io::ErrorKind::TimedOut, "connect_timeout exceeded");
            let connection = match opened.unwrap_or_else(|_| Err(late())) {
                Ok(connection) => connection,
                Err(error) => {
                    return Err(UnansweredRequest {
                        failure: Failure::Connect(error),
                        unsent: Some(request.into_body()),
                        connection: BrokenConnection::Other,
                    });
                }
            };
            add(key, connection.clone());
            (
                connection,
                Some(clock::now().saturating_duration_since(started_at)),
            )
        }
    };
    let slot = connection.take_slot();
    let sending = async {
        connection.sender.ready().await?;
        connection.sender.send_request(request).await
    };
    match clock::timeout(left(), sending).await {
        Ok(Ok(response)) => Ok((response, slot, took)),
        Ok(Err(error)) => {
            let failure = ConnectionError::Http2(error).into();
            Err(UnansweredRequest::other(failure))
        }
        Err(_) => Err(UnansweredRequest::other(Failure::TimedOut)),
    }
}

/// A connection with a free stream. Closed ones are removed.
fn open_connection(key: PoolKey) -> Option<Http2Connection> {
    OPEN.with_borrow_mut(|open| {
        let connections = open.get_mut(&key)?;
        connections.retain(|connection| !connection.sender.is_closed());
        connections
            .iter()
            .find(|connection| connection.has_free_slot())
            .cloned()
    })
}

fn add(key: PoolKey, connection: Http2Connection) {
    OPEN.with_borrow_mut(|open| open.entry(key).or_default().push(connection));
}
