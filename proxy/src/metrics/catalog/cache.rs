//! The metrics of the caches.

use super::{Definition, define};

pub const CACHE_LOOKUPS: Definition = define(
    "weir_cache_lookups_total",
    &["route", "tier", "outcome"],
    "Requests on routes with a cache: hit, by the tier that had the response; miss; collapsed, sent once for several equal requests; bypass.",
);
pub const CACHE_ENTRIES: Definition = define(
    "weir_cache_entries",
    &["tier"],
    "Stored responses; of an HTTP cache, URIs with stored responses.",
);
pub const CACHE_EVICTIONS: Definition = define(
    "weir_cache_evictions_total",
    &["route", "reason"],
    "Responses that left the memory of the cache: full, for a newer response; expired; purged through the admin API.",
);
pub const CACHE_FOLLOWERS: Definition = define(
    "weir_cache_followers",
    &["route"],
    "Requests that wait for the response to an equal request in flight, or receive it (request coalescing).",
);
pub const CACHE_BYTES: Definition = define(
    "weir_cache_bytes",
    &["tier"],
    "Bytes of stored responses, with what each entry costs.",
);
