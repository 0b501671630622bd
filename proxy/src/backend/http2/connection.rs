//! An HTTP/2 connection to an endpoint, and its task.

use std::future::{pending, poll_fn};
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::backend::Config;
use crate::backend::failure::ConnectionError;
use crate::backend::wire::Wire;
use crate::clock;

/// Concurrent streams of a connection: the least that an endpoint should allow, by RFC 9113, section 6.5.2.
const STREAMS_MAX: usize = 100;
/// What an endpoint may send of a response before weir has forwarded any of it.
const STREAM_WINDOW_BYTES: u32 = 256 * 1024;
/// Clients that read slowly do not stall the other streams of their connection.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX as u32;
/// The fields of a response, as over HTTP/1.1.
const HEADER_BYTES_MAX: u32 = 64 * 1024;
/// How long a connection without streams may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An open connection, for new streams. Dropping it closes the connection after the last one.
pub(in crate::backend) struct Http2Connection {
    state: Arc<ConnectionState>,
}

/// What the pool, the streams and the task of a connection share.
struct ConnectionState {
    /// `None` once it takes no more streams.
    opener: Mutex<Option<StreamOpener>>,
    streams: AtomicUsize,
    /// Pieces of responses that have arrived.
    heard: AtomicUsize,
    idle_since: Mutex<Instant>,
}

/// Opens streams of a connection.
struct StreamOpener {
    sender: SendRequest<Bytes>,
    in_use: ConnectionLease,
}

/// The task of a connection ends when the last one is dropped.
type ConnectionLease = Arc<oneshot::Sender<()>>;

/// One of the concurrent streams of a connection; dropping it frees the slot.
pub(in crate::backend) struct StreamSlot {
    state: Arc<ConnectionState>,
    heard_before: usize,
    _in_use: ConnectionLease,
}

/// How often the task checks that the endpoint is still there, while streams are open.
#[derive(Clone, Copy)]
struct PingSchedule {
    interval: Duration,
    timeout: Duration,
}

impl Http2Connection {
    /// Begins HTTP/2 on an open connection, and spawns its task.
    ///
    /// # Errors
    /// The connection broke.
    pub(in crate::backend) async fn begin(wire: Wire, config: &Config) -> io::Result<Self> {
        let (sender, mut connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_header_list_size(HEADER_BYTES_MAX)
            .handshake(wire)
            .await
            .map_err(io::Error::other)?;
        let ping_pong = connection.ping_pong();
        let (in_use, released) = oneshot::channel();
        let opener = StreamOpener {
            sender,
            in_use: Arc::new(in_use),
        };
        let state = Arc::new(ConnectionState {
            opener: Mutex::new(Some(opener)),
            streams: AtomicUsize::new(0),
            heard: AtomicUsize::new(0),
            idle_since: Mutex::new(clock::now()),
        });
        let pings = PingSchedule {
            interval: config.pool_idle_timeout,
            timeout: config.connect_timeout.max(Duration::from_secs(1)),
        };
        let shared = Arc::downgrade(&state);
        tokio::spawn(async move {
            drive(connection, ping_pong, &shared, pings, released).await;
            if let Some(state) = shared.upgrade() {
                state.retire();
            }
        });
        Ok(Http2Connection { state })
    }

    /// A slot for another stream, with its sender; `None` if the connection takes no more, now or ever.
    pub(in crate::backend) fn take_slot(&self) -> Option<(SendRequest<Bytes>, StreamSlot)> {
        let state = &self.state;
        let opener = state.opener.lock();
        let opener = opener.as_ref()?;
        let streams_max = STREAMS_MAX.min(opener.sender.current_max_send_streams());
        if state.streams.load(Ordering::Relaxed) >= streams_max {
            return None;
        }
        state.streams.fetch_add(1, Ordering::Relaxed);
        let slot = StreamSlot {
            heard_before: state.heard.load(Ordering::Relaxed),
            state: state.clone(),
            _in_use: opener.in_use.clone(),
        };
        Some((opener.sender.clone(), slot))
    }

    /// The sender of a new stream, once the connection is ready for one.
    ///
    /// # Errors
    /// The connection was closed: nothing of the request has been sent.
    pub(in crate::backend) async fn ready(
        mut sender: SendRequest<Bytes>,
        slot: &StreamSlot,
    ) -> Result<SendRequest<Bytes>, ConnectionError> {
        match poll_fn(|context| sender.poll_ready(context)).await {
            Ok(()) => Ok(sender),
            Err(error) => {
                log::debug!("an HTTP/2 connection to a backend takes no more streams: {error}");
                slot.state.retire();
                Err(ConnectionError::Unprocessed)
            }
        }
    }

    /// Whether it takes no more streams.
    pub(in crate::backend) fn is_retired(&self) -> bool {
        self.state.opener.lock().is_none()
    }

    /// Whether it has had no stream for this time.
    pub(in crate::backend) fn is_idle_for(&self, time: Duration, now: Instant) -> bool {
        let idle_since = *self.state.idle_since.lock();
        self.state.streams.load(Ordering::Relaxed) == 0
            && now.saturating_duration_since(idle_since) >= time
    }
}

impl ConnectionState {
    fn retire(&self) {
        let opener = self.opener.lock().take();
        drop(opener);
    }
}

impl Drop for Http2Connection {
    fn drop(&mut self) {
        self.state.retire();
    }
}

impl StreamSlot {
    /// A piece of a response has arrived.
    pub(super) fn note_heard(&self) {
        self.state.heard.fetch_add(1, Ordering::Relaxed);
    }

    /// The request has got no response. If no other one has, either, the endpoint may hang, or the connection may be
    /// half-open: the next request uses another one.
    pub(super) fn note_unanswered(&self) {
        if self.state.heard.load(Ordering::Relaxed) == self.heard_before {
            self.state.retire();
        }
    }
}

impl Drop for StreamSlot {
    fn drop(&mut self) {
        *self.state.idle_since.lock() = clock::now();
        self.state.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reads and writes frames until the connection ends, the endpoint responds to no ping, or nobody needs the
/// connection. An endpoint that does not read cannot hold it open.
async fn drive(
    mut connection: Connection<Wire, Bytes>,
    ping_pong: Option<PingPong>,
    state: &Weak<ConnectionState>,
    pings: PingSchedule,
    released: oneshot::Receiver<()>,
) {
    tokio::select! {
        ended = &mut connection => if let Err(error) = ended {
            log::debug!("an HTTP/2 connection to a backend ended: {error}");
        },
        () = unreachable(ping_pong, state, pings) => {
            log::debug!("an HTTP/2 connection to a backend responds to no ping");
        }
        _ = released => {
            let _ = clock::timeout(CLOSE_TIMEOUT, connection).await;
        }
    }
}

/// Resolves when the endpoint does not respond to a ping.
async fn unreachable(
    ping_pong: Option<PingPong>,
    state: &Weak<ConnectionState>,
    pings: PingSchedule,
) {
    let Some(mut ping_pong) = ping_pong else {
        return pending().await;
    };
    loop {
        tokio::time::sleep(pings.interval).await;
        let Some(state) = state.upgrade() else {
            return pending().await;
        };
        let is_idle = state.streams.load(Ordering::Relaxed) == 0;
        drop(state);
        if is_idle {
            continue;
        }
        let ping = ping_pong.ping(Ping::opaque());
        if !matches!(clock::timeout(pings.timeout, ping).await, Ok(Ok(_))) {
            return;
        }
    }
}
