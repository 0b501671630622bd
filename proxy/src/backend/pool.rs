//! Idle connections, a pool a worker: a connection never changes threads, and nobody waits for a
//! lock.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Config;
use super::http1::Link;
use crate::clock;

/// Where the connections to one endpoint wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Home(u64);

impl Home {
    /// A place that no other endpoint has.
    #[must_use]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Home(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl Default for Home {
    fn default() -> Self {
        Home::new()
    }
}

thread_local! {
    static POOLS: RefCell<HashMap<Home, Pool>> = RefCell::default();
}

/// The idle connections of one worker to one endpoint, the one used last at the end.
pub(super) struct Pool {
    #[expect(
        clippy::vec_box,
        reason = "an exchange holds its link in a box, which is kept and not made anew"
    )]
    idle: Vec<Box<Link>>,
    idle_max: usize,
    idle_timeout: Duration,
}

impl Pool {
    /// The connection that was used last, if there is any.
    pub(super) fn take(home: Home, config: &Config, now: Instant) -> Option<Box<Link>> {
        POOLS.with_borrow_mut(|pools| {
            let pool = pools.entry(home).or_insert_with(|| {
                sweep_from_time_to_time(config.pool_idle_timeout);
                Pool {
                    idle: Vec::new(),
                    idle_max: config.pool_idle_connections,
                    idle_timeout: config.pool_idle_timeout,
                }
            });
            let link = pool.idle.pop()?;
            (now.saturating_duration_since(link.idle_since) < pool.idle_timeout).then_some(link)
        })
    }

    /// Keeps a connection for the next request. Past the bound it is closed.
    pub(super) fn give_back(home: Home, link: Box<Link>) {
        POOLS.with_borrow_mut(|pools| match pools.get_mut(&home) {
            Some(pool) if pool.idle.len() < pool.idle_max => pool.idle.push(link),
            _ => drop(link),
        });
    }

    fn sweep(&mut self, now: Instant) {
        let timeout = self.idle_timeout;
        self.idle
            .retain(|link| now.saturating_duration_since(link.idle_since) < timeout);
    }
}

/// Closes what has been idle for too long, also on a worker that has nothing to do. The task ends
/// with its worker.
fn sweep_from_time_to_time(idle_timeout: Duration) {
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
