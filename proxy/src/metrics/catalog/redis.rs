//! The metrics of Redis.

use super::{Definition, define};

pub const CACHE_REDIS_ENTRIES: Definition = define(
    "weir_cache_redis_entries_total",
    &["outcome"],
    "Entries of the cache in Redis: written, failed, dropped before they were written, too large, or invalid when they were read.",
);
pub const REDIS_COMMANDS: Definition = define(
    "weir_redis_commands_total",
    &["user", "outcome"],
    "Commands to Redis by what uses them: ok, error, timeout, or skipped because Redis is known to be unavailable.",
);
pub const REDIS_DEGRADED: Definition = define(
    "weir_redis_degraded_total",
    &["user"],
    "How often something went on without Redis because it was unavailable.",
);
