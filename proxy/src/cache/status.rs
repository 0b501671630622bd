//! The values of `Cache-Status` (RFC 9211).

use http::HeaderValue;

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
    Bypass,
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
    /// The method is not one that is served from a cache: the request is forwarded.
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
            CacheStatus::Bypass => "weir; fwd=bypass",
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
