//! Purges over all replicas.
//!
//! A purge removes the entries from Redis, and is then added to the stream `weir:purges`, which each replica reads once
//! a second, to purge its memory. Until it has read the purge, a replica may write responses to requests from before to
//! Redis: those that know the purge take them for misses (`purge_log.rs`).
//!
//! A replica reads from the last entry that it has seen. If that is gone (the stream was trimmed or flushed, a failover lost
//! its end, or Redis was restored from a snapshot), it cannot know which purges it has missed, nor whether Redis has entries
//! again that were purged: it purges everything. When it connects for the first time, it purges its memory.

use std::sync::Arc;
use std::time::Duration;

use ::redis::streams::{StreamId, StreamRangeReply};
use ::redis::{FromRedisValue as _, cmd};

use super::SharedTier;
use super::purge_log::{KNOWN_MAX, Noted};
use crate::cache::purge::{InvalidPosition, PurgeRequest};
use crate::clock;
use crate::redis::{RedisUser, Unavailable};

const STREAM: &str = "weir:purges";
/// How many are read at once.
const READ_MAX: usize = 100;
/// How often the stream is read. A read that waits for the next purge would need a connection of its own: it would hold
/// up every command behind it.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many keys one step of a scan looks at.
const SCAN_KEYS: usize = 1_000;

impl SharedTier {
    /// Removes entries from Redis, and lets every replica purge its memory, which this process has done already. Returns
    /// the number of entries removed from Redis; they have been removed even if the replicas could not be notified.
    ///
    /// # Errors
    /// Redis did not reply.
    pub async fn purge(&self, purge: &PurgeRequest) -> Result<u64, Unavailable> {
        let removed = self.remove_and_announce(purge).await;
        if removed.is_err() {
            self.redis.count_degraded(RedisUser::Purge);
        }
        removed
    }

    async fn remove_and_announce(&self, purge: &PurgeRequest) -> Result<u64, Unavailable> {
        let removed = self.remove_entries(pattern(purge).as_deref()).await?;
        // Behind the removal: a replica that connects for the first time knows what it reads, and finds nothing else.
        let position = self.add(purge).await?;
        self.note(&position, purge);
        Ok(removed)
    }

    /// Removes entries, and leases: the response that the holder of a lease gets will not be stored. Returns the number
    /// of entries.
    async fn remove_entries(&self, pattern: Option<&str>) -> Result<u64, Unavailable> {
        let Some(pattern) = pattern else {
            return Ok(0);
        };
        let mut cursor = 0_u64;
        let mut removed = 0;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(pattern);
            scan.arg("COUNT").arg(SCAN_KEYS);
            let (next, keys): (u64, Vec<Vec<u8>>) =
                self.redis.command(RedisUser::Purge, &scan).await?;
            let is_entry = |key: &Vec<u8>| key.ends_with(b":entry");
            let (entries, leases): (Vec<_>, Vec<_>) = keys.into_iter().partition(is_entry);
            removed += self.unlink(entries).await?;
            self.unlink(leases).await?;
            if next == 0 {
                return Ok(removed);
            }
            cursor = next;
        }
    }

    async fn unlink(&self, keys: Vec<Vec<u8>>) -> Result<u64, Unavailable> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut unlink = cmd("UNLINK");
        unlink.arg(keys);
        self.redis.command(RedisUser::Purge, &unlink).await
    }

    /// Adds a purge to the stream; returns the position behind it.
    async fn add(&self, purge: &PurgeRequest) -> Result<String, Unavailable> {
        let mut add = cmd("XADD");
        add.arg(STREAM)
            .arg("MAXLEN")
            .arg("~")
            .arg(KNOWN_MAX)
            .arg("*");
        add.arg("route").arg(purge.route.as_deref().unwrap_or(""));
        add.arg("key").arg(purge.key.as_deref().unwrap_or(""));
        self.redis.command(RedisUser::Purge, &add).await
    }

    /// From now on, entries of responses that were asked before this purge are misses.
    fn note(&self, position: &str, purge: &PurgeRequest) -> Noted {
        match position.parse() {
            Ok(position) => self.log.lock().note(position, purge.clone(), clock::now()),
            // Not an id of Redis. The memory is purged, which is always safe.
            Err(InvalidPosition) => Noted::New,
        }
    }

    /// Calls `purge_memory` for the purges of all replicas. It never ends.
    pub(crate) async fn follow_purges(self: Arc<Self>, purge_memory: impl Fn(&PurgeRequest)) {
        let mut position = None;
        loop {
            if self.redis.is_available() {
                // After an error, the next read begins where this one did.
                if let Ok(next) = self.read_purges(position.as_deref(), &purge_memory).await {
                    position = Some(next);
                }
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// Reads from `position` on; returns the position behind what was read.
    async fn read_purges(
        &self,
        position: Option<&str>,
        purge_memory: &impl Fn(&PurgeRequest),
    ) -> Result<String, Unavailable> {
        let Some(mut position) = position.map(str::to_owned) else {
            return self.begin(purge_memory).await;
        };
        loop {
            let mut read = cmd("XRANGE");
            read.arg(STREAM).arg(&position).arg("+");
            read.arg("COUNT").arg(READ_MAX + 1);
            let reply: StreamRangeReply = self.redis.command(RedisUser::Purge, &read).await?;
            let mut purges = reply.ids.into_iter();
            let first = purges.next();
            if first.is_none_or(|first| first.id != position) {
                self.remove_and_announce(&PurgeRequest::default()).await?;
                let begun = self.begin(purge_memory).await?;
                log::info!(
                    "purges may have been missed: every response in memory and in Redis is purged"
                );
                return Ok(begun);
            }
            let mut count = 0;
            for announced in purges {
                let purge = purge_of(&announced);
                // This replica's own purges are known, and have purged its memory.
                if self.note(&announced.id, &purge) == Noted::New {
                    purge_memory(&purge);
                }
                position = announced.id;
                count += 1;
            }
            if count < READ_MAX {
                return Ok(position);
            }
        }
    }

    /// Notes the last purges of the stream, purges the whole memory, and returns the end of the stream. An empty stream gets a
    /// purge, so that there is a position at which to read on.
    async fn begin(&self, purge_memory: &impl Fn(&PurgeRequest)) -> Result<String, Unavailable> {
        let mut last = cmd("XREVRANGE");
        last.arg(STREAM)
            .arg("+")
            .arg("-")
            .arg("COUNT")
            .arg(KNOWN_MAX);
        let reply: StreamRangeReply = self.redis.command(RedisUser::Purge, &last).await?;
        if reply.ids.len() >= KNOWN_MAX
            && let Some(Ok(oldest)) = reply.ids.last().map(|oldest| oldest.id.parse())
        {
            // There may have been older ones.
            self.log.lock().forget(oldest);
        }
        for announced in &reply.ids {
            self.note(&announced.id, &purge_of(announced));
        }
        let position = match reply.ids.into_iter().next() {
            Some(last) => last.id,
            None => self.add(&purge_of_nothing()).await?,
        };
        purge_memory(&PurgeRequest::default());
        Ok(position)
    }
}

/// This is neither a key nor a path.
fn purge_of_nothing() -> PurgeRequest {
    PurgeRequest {
        route: None,
        key: Some("none".to_owned()),
    }
}

fn purge_of(announced: &StreamId) -> PurgeRequest {
    PurgeRequest {
        route: field(announced, "route"),
        key: field(announced, "key"),
    }
}

fn field(purge: &StreamId, name: &str) -> Option<String> {
    let value = purge.map.get(name)?;
    let text = String::from_redis_value_ref(value).ok()?;
    (!text.is_empty()).then_some(text)
}

/// The names of the entries to remove and of their leases, for `MATCH`; `None` for the path of an HTTP cache, whose
/// responses are in memory only.
fn pattern(purge: &PurgeRequest) -> Option<String> {
    let key = purge.key.as_deref().unwrap_or_default();
    if !key.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let route = purge.route.as_deref();
    let route = route.map_or_else(|| "*".to_owned(), literal);
    // The digest of the settings has 16 digits, `entry` and `lease` have 5: behind one route's name, nothing else matches.
    Some(format!("weir:{{{key}*}}:{route}:????????????????:?????"))
}

/// A text that matches nothing but itself.
fn literal(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^') {
            literal.push('\\');
        }
        literal.push(character);
    }
    literal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_what_is_purged_alone() {
        let purge = |route: Option<&str>, key: Option<&str>| PurgeRequest {
            route: route.map(str::to_owned),
            key: key.map(str::to_owned),
        };
        for (purge, expected) in [
            (purge(None, None), Some("weir:{*}:*:????????????????:?????")),
            (
                purge(Some("chat"), None),
                Some("weir:{*}:chat:????????????????:?????"),
            ),
            (
                purge(None, Some("0a1b")),
                Some("weir:{0a1b*}:*:????????????????:?????"),
            ),
            (
                purge(Some("a*[b]"), Some("0a")),
                Some("weir:{0a*}:a\\*\\[b\\]:????????????????:?????"),
            ),
            (purge(None, Some("/a.css")), None),
            (purge_of_nothing(), None),
        ] {
            assert_eq!(pattern(&purge).as_deref(), expected);
        }
    }
}
