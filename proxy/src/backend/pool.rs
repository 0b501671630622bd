//! The connection pool: idle keep-alive connections, a pool for each worker and endpoint, so that a connection
//! never changes threads and no lock is needed.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Config;
use super::http1::Http1Connection;
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

/// The idle connections of one worker to one endpoint, the one used last at the end.
pub(super) struct Pool {
    #[expect(
        clippy::vec_box,
        reason = "an exchange holds its connection in a box, which is reused with it"
    )]
    idle: Vec<Box<Http1Connection>>,
    idle_max: usize,
    idle_timeout: Duration,
}

impl Pool {
    /// The connection that was used last, if it has not been idle for too long.
    pub(super) fn take(
        key: PoolKey,
        config: &Config,
        now: Instant,
    ) -> Option<Box<Http1Connection>> {
        POOLS.with_borrow_mut(|pools| {
            let pool = pools.entry(key).or_insert_with(|| {
                sweep_periodically(config.pool_idle_timeout);
                Pool {
                    idle: Vec::new(),
                    idle_max: config.pool_idle_connections,
                    idle_timeout: config.pool_idle_timeout,
                }
            });
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

    fn sweep(&mut self, now: Instant) {
        let timeout = self.idle_timeout;
        self.idle
            .retain(|connection| now.saturating_duration_since(connection.idle_since) < timeout);
    }
}

/// Closes connections that have been idle for too long, also on a worker without requests. The task ends with
/// its worker.
fn sweep_periodically(idle_timeout: Duration) {
    let period = (idle_timeout / 2).max(Duration::from_millis(100));
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(period).await;
            POOLS.with_borrow_mut(|pools| {
                let now = clock::now();
                pools.values_mut().for_each(|pool| pool.sweep(now));
            });
        }
    });
}
