//! The lease of a key: which replica calls the backend for it (cache stampede protection over replicas).
//!
//! It is taken in the same round trip as the look-up, and released when the entry has been written or the call failed.
//! A replica that ends before that holds it until it expires. Others wait for one that was taken a short time ago, by
//! the clock of Redis: whoever has held it for longer has a slow response, or is gone.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Value;

use super::SharedTier;
use crate::random;
use crate::redis::script::{LuaScript, ScriptCall, hash};
use crate::redis::{Redis, RedisUser, Unavailable};

/// How long a lease is held at most.
const LEASE_MAX: Duration = Duration::from_secs(10);
/// How long others wait for its holder, counted from when it was taken.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(1);

/// The reply to a look-up that has taken the lease.
pub(super) const TAKEN: i64 = 1;
/// The reply to a look-up that should be repeated: another replica has taken the lease within [`WAIT_MAX`].
pub(super) const WAIT: i64 = 2;

const LOOK_UP_TEXT: &str = "\
local entry = redis.call('GET', KEYS[1])
if entry then return entry end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
if redis.call('PTTL', KEYS[2]) > tonumber(ARGV[3]) then return 2 end
return 0";
static LOOK_UP: LuaScript = LuaScript::new(LOOK_UP_TEXT, || hash(LOOK_UP_TEXT));

const RELEASE_TEXT: &str = "\
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0";
static RELEASE: LuaScript = LuaScript::new(RELEASE_TEXT, || hash(RELEASE_TEXT));

/// Identifies one holder of a lease.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseToken([u8; 16]);

impl LeaseToken {
    pub(super) fn random() -> Self {
        LeaseToken(random::bits().to_le_bytes())
    }
}

/// The lease of a key, which this replica has taken or tries to take; released when it is dropped. Boxed: most requests
/// have none.
pub(crate) struct Lease(Box<HeldLease>);

struct HeldLease {
    shared: Arc<SharedTier>,
    /// Empty if it is not released.
    name: String,
    token: LeaseToken,
}

impl Lease {
    pub(super) fn new(shared: Arc<SharedTier>, name: String) -> Self {
        Lease(Box::new(HeldLease {
            shared,
            name,
            token: LeaseToken::random(),
        }))
    }

    /// Looks up `entry`, and takes the lease if there is none: the reply is the entry, [`TAKEN`], [`WAIT`], or
    /// another number.
    pub(super) async fn look_up_or_take(&mut self, entry: &str) -> Result<Value, Unavailable> {
        let (mut lease_ms, mut late_ms) = (itoa::Buffer::new(), itoa::Buffer::new());
        let lease_ms = lease_ms.format(LEASE_MAX.as_millis());
        let late_ms = late_ms.format((LEASE_MAX - WAIT_MAX).as_millis());
        let call = ScriptCall {
            keys: &[entry, &self.0.name],
            arguments: &[&self.0.token.0, lease_ms.as_bytes(), late_ms.as_bytes()],
        };
        let redis = &self.0.shared.redis;
        redis.run(RedisUser::Cache, &LOOK_UP, &call).await
    }

    /// It was not taken.
    pub(super) fn forget(&mut self) {
        self.0.name = String::new();
    }
}

impl Drop for HeldLease {
    fn drop(&mut self) {
        if self.name.is_empty() {
            return;
        }
        let release = Release {
            lease: std::mem::take(&mut self.name),
            token: self.token,
        };
        // If too much is waiting, the lease expires by itself.
        self.shared.queue.release(release);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Lease({})", self.0.name)
    }
}

/// A lease to release.
#[derive(Debug)]
pub(super) struct Release {
    lease: String,
    token: LeaseToken,
}

/// Deletes a lease if it is still held with this token.
pub(super) async fn release(redis: &Redis, released: &Release) -> Result<(), Unavailable> {
    let call = ScriptCall {
        keys: &[&released.lease],
        arguments: &[&released.token.0],
    };
    redis
        .run::<i64>(RedisUser::Cache, &RELEASE, &call)
        .await
        .map(|_| ())
}
