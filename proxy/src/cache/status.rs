//! The values of `Cache-Status` (RFC 9211).

use http::HeaderValue;

use crate::exchange::BypassReason;

/// What the cache did for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    Hit,
    /// Stored by another replica, perhaps.
    HitRedis,
    Miss,
    /// A miss whose response has already been stored.
    MissStored,
    /// No lookup.
    Bypass(BypassReason),
    /// Sent once for several equal requests.
    Collapsed,
    /// The client asked for a new response.
    Refresh,
    /// The client asked for a new response, which has already been stored.
    RefreshStored,
    /// An HTTP cache served a stale response, as the response or the request allows.
    StaleHit,
    /// The stored responses of the URI are for other requests (`Vary`).
    VaryMiss,
    VaryMissStored,
    /// The stored response was stale.
    Stale,
    StaleStored,
    /// The stored response was stale, and the backend has validated it.
    Validated,
    /// The client asked for a validation, which the backend confirmed.
    RefreshValidated,
    /// The stored response was stale, and is served because the backend failed.
    StaleIfError,
    /// The method is not one that is served from a cache.
    Method,
}

impl CacheStatus {
    /// The value of the header, without a copy.
    #[must_use]
    pub const fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            CacheStatus::Hit => "weir; hit; detail=memory",
            CacheStatus::HitRedis => "weir; hit; detail=redis",
            CacheStatus::Miss => "weir; fwd=miss",
            CacheStatus::MissStored => "weir; fwd=miss; stored",
            CacheStatus::Collapsed => "weir; fwd=miss; collapsed",
            CacheStatus::Bypass(reason) => bypass(reason),
            CacheStatus::Refresh => "weir; fwd=request",
            CacheStatus::RefreshStored => "weir; fwd=request; stored",
            CacheStatus::StaleHit => "weir; hit; detail=stale",
            CacheStatus::VaryMiss => "weir; fwd=vary-miss",
            CacheStatus::VaryMissStored => "weir; fwd=vary-miss; stored",
            CacheStatus::Stale => "weir; fwd=stale",
            CacheStatus::StaleStored => "weir; fwd=stale; stored",
            CacheStatus::Validated => "weir; fwd=stale; fwd-status=304",
            CacheStatus::RefreshValidated => "weir; fwd=request; fwd-status=304",
            CacheStatus::StaleIfError => "weir; fwd=stale; detail=stale-if-error",
            CacheStatus::Method => "weir; fwd=method",
        })
    }
}

const fn bypass(reason: BypassReason) -> &'static str {
    match reason {
        BypassReason::NoCache => "weir; fwd=bypass",
        BypassReason::Method => "weir; fwd=bypass; detail=method",
        BypassReason::Operation => "weir; fwd=bypass; detail=operation",
        BypassReason::NoStore => "weir; fwd=bypass; detail=no_store",
        BypassReason::Range => "weir; fwd=bypass; detail=range",
        BypassReason::Encoded => "weir; fwd=bypass; detail=encoded",
        BypassReason::Body => "weir; fwd=bypass; detail=body",
        BypassReason::Stateful => "weir; fwd=bypass; detail=stateful",
        BypassReason::Temperature => "weir; fwd=bypass; detail=temperature",
        BypassReason::Tools => "weir; fwd=bypass; detail=tools",
    }
}
