//! The values of `Cache-Status` (RFC 9211).

use http::HeaderValue;

use crate::exchange::BypassReason;

/// What the cache did for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    Hit,
    Miss,
    /// A miss whose response has already been stored.
    MissStored,
    /// No lookup.
    Bypass(BypassReason),
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
            CacheStatus::Miss => "weir; fwd=miss",
            CacheStatus::MissStored => "weir; fwd=miss; stored",
            CacheStatus::Bypass(reason) => bypass(reason),
            CacheStatus::Refresh => "weir; fwd=request",
            CacheStatus::RefreshStored => "weir; fwd=request; stored",
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
