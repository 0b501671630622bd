//! The connection pool: a pool for each worker and endpoint, so that a connection never changes threads and no lock
//! is needed. HTTP/1.1 connections are in it while they are idle (keep-alive), those of HTTP/2 while they take
//! streams.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;

use super::Config;
use super::connector::Negotiated;
use super::http1::Http1Connection;
use super::http2::{Http2Connection, StreamSlot};
use crate::clock;

/// The pool of one endpoint, on each worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PoolKey(u64);

impl PoolKey {
    /// A key that no other endpoint has.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        PoolKey(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for PoolKey {
    fn default() -> Self {
        PoolKey::new()
    }
}

thread_local! {
    static POOLS: RefCell<HashMap<PoolKey, Pool>> = RefCell::default();
}

/// Held while a connection is opened that other requests can share.
pub(super) type OpeningLock = Arc<tokio::sync::Mutex<()>>;

/// The connections of one worker to one endpoint.
pub(super) struct Pool {
    /// The one used last at the end.
    #[expect(
        clippy::vec_box,
        reason = "an exchange holds its connection in a box, which is reused with it"
    )]
    idle: Vec<Box<Http1Connection>>,
    http2: Vec<Http2Connection>,
    /// What the endpoint chose last, where it can choose.
    negotiated: Option<Negotiated>,
    opening: OpeningLock,
    idle_max: usize,
    idle_timeout: Duration,
    used_at: Instant,
    /// How long an unused pool is kept: requests are shorter, and return their connections to it.
    unused_max: Duration,
}

impl Pool {
    fn new(config: &Config, now: Instant) -> Self {
        Pool {
            idle: Vec::new(),
            http2: Vec::new(),
            negotiated: None,
            opening: OpeningLock::default(),
            idle_max: config.pool_idle_connections,
            idle_timeout: config.pool_idle_timeout,
            used_at: now,
            unused_max: config.pool_idle_timeout + config.total_timeout,
        }
    }

    fn with<T>(
        key: PoolKey,
        config: &Config,
        now: Instant,
        access: impl FnOnce(&mut Pool) -> T,
    ) -> T {
        POOLS.with_borrow_mut(|pools| {
            let pool = pools.entry(key).or_insert_with(|| {
                sweep_periodically(key, config.pool_idle_timeout);
                Pool::new(config, now)
            });
            pool.used_at = now;
            access(pool)
        })
    }

    /// The HTTP/1.1 connection that was used last, if it has not been idle for too long.
    pub(super) fn take(
        key: PoolKey,
        config: &Config,
        now: Instant,
    ) -> Option<Box<Http1Connection>> {
        Pool::with(key, config, now, |pool| {
            let connection = pool.idle.pop()?;
            (now.saturating_duration_since(connection.idle_since) < pool.idle_timeout)
                .then_some(connection)
        })
    }

    /// Keeps a connection for the next request. Beyond `pool_idle_connections` it is closed.
    pub(super) fn give_back(key: PoolKey, connection: Box<Http1Connection>) {
        POOLS.with_borrow_mut(|pools| match pools.get_mut(&key) {
            Some(pool) if pool.idle.len() < pool.idle_max => pool.idle.push(connection),
            _ => drop(connection),
        });
    }

    /// A slot for a stream of an HTTP/2 connection, with its sender.
    pub(super) fn take_stream(key: PoolKey) -> Option<(SendRequest<Bytes>, StreamSlot)> {
        POOLS.with_borrow_mut(|pools| {
            let pool = pools.get_mut(&key)?;
            pool.http2.retain(|connection| !connection.is_retired());
            let mut connections = pool.http2.iter();
            connections.find_map(Http2Connection::take_slot)
        })
    }

    /// Adds a new connection for the requests that follow.
    pub(super) fn add_http2(
        key: PoolKey,
        config: &Config,
        connection: Http2Connection,
        now: Instant,
    ) {
        Pool::with(key, config, now, |pool| pool.http2.push(connection));
    }

    /// Whether the endpoint, which can choose, chose HTTP/2.
    pub(super) fn expects_http2(key: PoolKey) -> bool {
        POOLS.with_borrow(|pools| {
            let pool = pools.get(&key);
            pool.is_some_and(|pool| pool.negotiated == Some(Negotiated::Http2))
        })
    }

    /// Notes what the endpoint chose.
    pub(super) fn note_negotiated(
        key: PoolKey,
        config: &Config,
        negotiated: Negotiated,
        now: Instant,
    ) {
        Pool::with(key, config, now, |pool| pool.negotiated = Some(negotiated));
    }

    pub(super) fn opening(key: PoolKey, config: &Config, now: Instant) -> OpeningLock {
        Pool::with(key, config, now, |pool| pool.opening.clone())
    }

    /// Closes connections that have been idle for too long.
    fn sweep(&mut self, now: Instant) {
        let timeout = self.idle_timeout;
        self.idle
            .retain(|connection| now.saturating_duration_since(connection.idle_since) < timeout);
        self.http2
            .retain(|connection| !connection.is_retired() && !connection.is_idle_for(timeout, now));
    }

    fn is_unused(&self, now: Instant) -> bool {
        self.idle.is_empty()
            && self.http2.is_empty()
            && now.saturating_duration_since(self.used_at) >= self.unused_max
    }
}

/// Closes connections that have been idle for too long, also on a worker without requests. The task ends with
/// its worker, or when the pool has not been used for long: its backend may be gone.
fn sweep_periodically(key: PoolKey, idle_timeout: Duration) {
    let period = (idle_timeout / 2).max(Duration::from_millis(100));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(period).await;
            let is_removed = POOLS.with_borrow_mut(|pools| {
                let now = clock::now();
                let Some(pool) = pools.get_mut(&key) else {
                    return true;
                };
                pool.sweep(now);
                let is_unused = pool.is_unused(now);
                if is_unused {
                    pools.remove(&key);
                }
                is_unused
            });
            if is_removed {
                return;
            }
        }
    });
}
