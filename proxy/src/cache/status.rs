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
    /// No lookup: `no-store`, not JSON, or a request that is not cacheable.
    Bypass,
    /// Sent once for several equal requests.
    Collapsed,
    /// The client asked for a new response.
    Refresh,
    /// The client asked for a new response, which has already been stored.
    RefreshStored,
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
        })
    }
}
