//! Writes entries behind the answer: requests put them into a bounded queue, and one background task encodes,
//! compresses and writes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ::redis::cmd;
use parking_lot::Mutex;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::lease::{self, Lease, Release};
use super::{EntryOutcome, SharedTier};
use crate::cache::entry;
use crate::cache::purge::PurgePosition;
use crate::cache::{CacheKey, CachedResponse};
use crate::clock;
use crate::redis::{RedisUser, Unavailable};

/// How many jobs wait at most.
const JOBS_MAX: usize = 1024;
/// How many bytes of responses wait at most. The memory tier usually holds the same bytes.
const BYTES_MAX: usize = 16 * 1024 * 1024;

/// A response to write.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: CacheKey,
    /// The purges that were known when the request was asked.
    pub(super) known: PurgePosition,
    /// The name of the entry.
    pub(super) entry: String,
    pub(super) response: CachedResponse,
    pub(super) ttl: Duration,
    /// Released afterwards.
    pub(super) lease: Option<Lease>,
}

enum Job {
    Write(Box<Write>),
    Release(Release),
}

/// The queue was full.
#[derive(Debug)]
pub(super) struct QueueFull;

/// What waits to be written.
pub(super) struct WriteQueue {
    sender: Sender<Job>,
    /// Taken by the background task, and returned when that is restarted.
    receiver: Mutex<Option<Receiver<Job>>>,
    bytes: AtomicUsize,
}

impl WriteQueue {
    pub(super) fn new() -> Self {
        let (sender, receiver) = channel(JOBS_MAX);
        WriteQueue {
            sender,
            receiver: Mutex::new(Some(receiver)),
            bytes: AtomicUsize::new(0),
        }
    }

    pub(super) fn push(&self, write: Write) -> Result<(), QueueFull> {
        let bytes = write.response.text.len();
        let waiting = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let job = Job::Write(Box::new(write));
        if waiting + bytes > BYTES_MAX || self.sender.try_send(job).is_err() {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            return Err(QueueFull);
        }
        Ok(())
    }

    pub(super) fn release(&self, release: Release) {
        // If the queue is full, the lease expires by itself.
        let _ = self.sender.try_send(Job::Release(release));
    }
}

impl SharedTier {
    /// Writes what requests put into the queue. It never ends.
    pub(crate) async fn write_queued(self: Arc<Self>) {
        let Some(receiver) = self.queue.receiver.lock().take() else {
            return std::future::pending().await;
        };
        let mut taken = TakenReceiver {
            tier: self.clone(),
            receiver: Some(receiver),
        };
        while let Some(job) = taken.next().await {
            match job {
                Job::Write(write) => {
                    let bytes = write.response.text.len();
                    let outcome = self.write(*write).await;
                    self.queue.bytes.fetch_sub(bytes, Ordering::Relaxed);
                    self.count(outcome);
                }
                Job::Release(release) => {
                    if self.redis.is_available() {
                        // If it fails, the lease expires by itself.
                        let _ = lease::release(&self.redis, &release).await;
                    }
                }
            }
        }
    }

    async fn write(&self, write: Write) -> EntryOutcome {
        let time_left = write.response.time_left(clock::unix_now(), write.ttl);
        if time_left < Duration::from_millis(1) {
            return EntryOutcome::Dropped;
        }
        if !self.redis.is_available() {
            self.redis.count_degraded(RedisUser::Cache);
            return EntryOutcome::Failed;
        }
        let Some(text) = entry::encode(&write.key, &write.response, write.known) else {
            return EntryOutcome::TooLarge;
        };
        let mut command = cmd("SET");
        command.arg(&write.entry).arg(text.as_slice()).arg("PX");
        command.arg(u64::try_from(time_left.as_millis()).unwrap_or(u64::MAX >> 1));
        let written: Result<(), Unavailable> = self.redis.command(RedisUser::Cache, &command).await;
        // The lease is released behind the entry, so that those who wait for it find it.
        drop(write.lease);
        match written {
            Ok(()) => EntryOutcome::Written,
            Err(_) => {
                self.redis.count_degraded(RedisUser::Cache);
                EntryOutcome::Failed
            }
        }
    }
}

/// The receiver while a task has it.
struct TakenReceiver {
    tier: Arc<SharedTier>,
    receiver: Option<Receiver<Job>>,
}

impl TakenReceiver {
    async fn next(&mut self) -> Option<Job> {
        self.receiver.as_mut()?.recv().await
    }
}

impl Drop for TakenReceiver {
    fn drop(&mut self) {
        *self.tier.queue.receiver.lock() = self.receiver.take();
    }
}
