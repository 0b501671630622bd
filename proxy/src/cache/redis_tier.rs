//! Stored responses in Redis, shared by all replicas: the tier below the memory.
//!
//! A response is written behind the answer (`write_behind.rs`), with what its freshness leaves as its time to live.
//! One round trip looks up an entry and, if there is none, takes a lease (`lease.rs`): of the replicas that miss at the
//! same time, one calls the backend, and the others wait for its entry for a short time. The entry of a streamed response
//! is written when the stream has ended, so that waiting for it would only delay the first token: such a request neither
//! takes a lease nor waits. Purges reach all replicas through a stream (`purge.rs`). Whatever fails in Redis is a miss.
//!
//! The name of an entry is `weir:{KEY}:ROUTE:SETTINGS:entry`: the key is the hash tag, so that an entry and its lease
//! are in one slot, and responses of other settings are never mixed up.

use std::sync::Arc;
use std::time::Duration;

use ::redis::{Value, cmd};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::entry::{self, InvalidEntry};
use super::purge::PurgePosition;
use super::{CacheKey, CachedResponse};
use crate::redis::{Redis, RedisUser, Unavailable};
use crate::{clock, redis};

mod host;
mod lease;
pub(crate) mod metrics;
pub mod purge;
mod purge_log;
#[cfg(test)]
mod tests;
mod write_behind;

pub(crate) use lease::Lease;
use metrics::{EntryMetrics, EntryOutcome};
use purge_log::PurgeLog;
use write_behind::{Write, WriteQueue};

/// The first wait between two look-ups, and the longest. Redis is polled: a notification, or a command that blocks, would
/// need a connection of its own for each key that is waited for.
const POLL_FIRST: Duration = Duration::from_millis(10);
const POLL_MAX: Duration = Duration::from_millis(100);

/// What all routes share: the connection, and the queue of entries to write.
pub struct SharedTier {
    redis: Arc<Redis>,
    queue: WriteQueue,
    log: Mutex<PurgeLog>,
    /// Of this host, among those with replicas.
    host: Box<str>,
    metrics: std::sync::OnceLock<EntryMetrics>,
}

/// The tier of one route.
pub(crate) struct RedisTier {
    shared: Arc<SharedTier>,
    route: Box<str>,
    /// The end of the names of this route's entries: route, settings.
    suffix: Box<str>,
    ttl: Duration,
}

/// Whether a look-up that finds nothing takes the lease, or waits for the replica that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseUse {
    Taken,
    None,
}

/// The result of a look-up.
#[derive(Debug)]
pub(crate) enum RedisLookup {
    Hit(CachedResponse),
    /// With the lease, if this replica is the one that calls the backend.
    Miss(Option<Lease>),
    /// Redis did not reply: this request goes on without it.
    Degraded,
}

impl SharedTier {
    #[must_use]
    pub(crate) fn new(config: &redis::Config) -> Arc<Self> {
        Arc::new(SharedTier {
            redis: Redis::new(config),
            queue: WriteQueue::new(),
            log: Mutex::default(),
            host: host::identity(),
            metrics: std::sync::OnceLock::new(),
        })
    }

    pub(crate) fn redis(&self) -> &Arc<Redis> {
        &self.redis
    }

    /// Exposes the metrics from now on.
    pub(crate) fn expose(&self, metrics: EntryMetrics) {
        // The metrics of an earlier call are the same series.
        let _ = self.metrics.set(metrics);
    }

    fn count(&self, outcome: EntryOutcome) {
        if let Some(metrics) = self.metrics.get() {
            metrics.count(outcome);
        }
    }
}

impl RedisTier {
    /// What distinguishes this host from others.
    pub(crate) fn host(&self) -> &str {
        &self.shared.host
    }

    /// The tier of the route of this name. `settings` is a digest of everything besides the request that a response
    /// depends on.
    #[must_use]
    pub(crate) fn new(
        shared: &Arc<SharedTier>,
        route: &str,
        settings: &str,
        ttl: Duration,
    ) -> Self {
        RedisTier {
            shared: shared.clone(),
            route: route.into(),
            suffix: format!("{route}:{settings}").into(),
            ttl,
        }
    }

    /// Looks up a response. It may be cancelled at any time.
    pub(crate) async fn look_up(&self, key: &CacheKey, lease_use: LeaseUse) -> RedisLookup {
        let names = Names::new(key, &self.suffix);
        let looked_up = match lease_use {
            LeaseUse::Taken => self.look_up_or_lead(key, names).await,
            LeaseUse::None => {
                let mut get = cmd("GET");
                get.arg(&names.entry);
                let entry = self.shared.redis.command(RedisUser::Cache, &get).await;
                entry.map(|entry: Option<Vec<u8>>| match entry {
                    Some(entry) => self.found(key, &entry),
                    None => RedisLookup::Miss(None),
                })
            }
        };
        looked_up.unwrap_or_else(|_| {
            self.shared.redis.count_degraded(RedisUser::Cache);
            RedisLookup::Degraded
        })
    }

    /// Looks up a response, or takes the lease. If another replica has it, waits for the response for a short time.
    async fn look_up_or_lead(
        &self,
        key: &CacheKey,
        names: Names,
    ) -> Result<RedisLookup, Unavailable> {
        // If this is cancelled, or a reply is late, the lease may have been taken: it is released.
        let mut lease = Lease::new(self.shared.clone(), names.lease);
        let deadline = Instant::now() + lease::WAIT_MAX;
        let mut wait = POLL_FIRST;
        loop {
            let asked_at = Instant::now();
            let reply = lease.look_up_or_take(&names.entry).await;
            if matches!(reply, Err(Unavailable::Skipped)) {
                // Nothing was sent: there is no lease to release.
                lease.forget();
            }
            let reply = reply?;
            if let Value::BulkString(entry) = &reply {
                lease.forget();
                return Ok(self.found(key, entry));
            }
            if reply == Value::Int(lease::TAKEN) {
                return Ok(RedisLookup::Miss(Some(lease)));
            }
            // A slow Redis is not asked again.
            let is_slow = asked_at.elapsed() > self.shared.redis.config().timeout / 2;
            let is_late = is_slow || Instant::now() + wait > deadline;
            if is_late || reply != Value::Int(lease::WAIT) {
                lease.forget();
                return Ok(RedisLookup::Miss(None));
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(POLL_MAX);
        }
    }

    fn found(&self, key: &CacheKey, entry: &[u8]) -> RedisLookup {
        match entry::decode(key, entry) {
            // Another replica, or the one that Redis was before it restarted, has written it all the same.
            Ok((_, known)) if self.is_purged(key, known) => RedisLookup::Miss(None),
            Ok((response, _)) if response.is_fresh(clock::unix_now(), self.ttl) => {
                RedisLookup::Hit(response)
            }
            Ok(_) => RedisLookup::Miss(None),
            Err(error) => {
                self.shared.count(EntryOutcome::Invalid);
                if error != InvalidEntry::OtherVersion {
                    log::debug!("an entry in Redis is ignored: {error}");
                }
                RedisLookup::Miss(None)
            }
        }
    }

    fn is_purged(&self, key: &CacheKey, known: PurgePosition) -> bool {
        self.shared.log.lock().is_purged(known, &self.route, key)
    }

    /// Writes the response to a request that was asked at `asked_at` in the background, and releases its lease afterwards.
    /// It is dropped if too much is waiting to be written, or if it has been purged since.
    pub(crate) fn write_behind(
        &self,
        key: CacheKey,
        response: CachedResponse,
        lease: Option<Lease>,
        asked_at: std::time::Instant,
    ) {
        let known = self.shared.log.lock().known_at(asked_at);
        if self.is_purged(&key, known) {
            self.shared.count(EntryOutcome::Dropped);
            return;
        }
        let write = Write {
            key,
            known,
            entry: Names::new(&key, &self.suffix).entry,
            response,
            ttl: self.ttl,
            lease,
        };
        if self.shared.queue.push(write).is_err() {
            self.shared.count(EntryOutcome::Dropped);
        }
    }
}

impl std::fmt::Debug for SharedTier {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("SharedTier")
            .field("redis", &self.redis)
            .finish_non_exhaustive()
    }
}

/// The names of an entry and its lease.
struct Names {
    entry: String,
    lease: String,
}

impl Names {
    fn new(key: &CacheKey, suffix: &str) -> Self {
        let key = base16ct::lower::encode_string(&key.0);
        Names {
            entry: format!("weir:{{{key}}}:{suffix}:entry"),
            lease: format!("weir:{{{key}}}:{suffix}:lease"),
        }
    }
}
