//! The lease of a key: which replica calls the backend for it (cache stampede protection over replicas).
//!
//! It is taken in the same round trip as the look-up, and released when the entry has been written or the call failed.
//! A replica that ends before that holds it until it expires.

use std::sync::Arc;
use std::time::Duration;

use ::redis::Value;

use super::SharedTier;
use crate::random;
use crate::redis::script::{LuaScript, ScriptCall, hash};
use crate::redis::{Redis, RedisUser, Unavailable};

/// How long a lease is held at most: others wait for a shorter time than this.
const LEASE_MAX: Duration = Duration::from_secs(10);

/// The reply to a look-up that has taken the lease.
pub(super) const TAKEN: i64 = 1;

const LOOK_UP_TEXT: &str = "\
local entry = redis.call('GET', KEYS[1])
if entry then return entry end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
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

/// A look-up that takes the lease if there is no entry.
pub(super) struct LookUpCall<'a> {
    pub(super) entry: &'a str,
    pub(super) lease: &'a str,
    pub(super) token: &'a LeaseToken,
}

impl LookUpCall<'_> {
    pub(super) async fn run(&self, redis: &Redis) -> Result<Value, Unavailable> {
        let mut lease_ms = itoa::Buffer::new();
        let lease_ms = lease_ms.format(LEASE_MAX.as_millis());
        let call = ScriptCall {
            keys: &[self.entry, self.lease],
            arguments: &[&self.token.0, lease_ms.as_bytes()],
        };
        redis.run(RedisUser::Cache, &LOOK_UP, &call).await
    }
}

/// The lease of a key, held by this replica; released when it is dropped.
pub(crate) struct Lease {
    shared: Arc<SharedTier>,
    name: String,
    token: LeaseToken,
}

impl Lease {
    pub(super) fn new(shared: Arc<SharedTier>, name: String, token: LeaseToken) -> Self {
        Lease {
            shared,
            name,
            token,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
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
        write!(formatter, "Lease({})", self.name)
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
