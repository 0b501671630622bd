//! The values of `Cache-Status` that weir says (RFC 9211).

use http::HeaderValue;

/// What became of a question at the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Hit,
    Miss,
    /// A miss whose answer has come whole and good already, and is kept.
    MissStored,
    /// It was not looked for: `no-store`, no question, not JSON, or a method that is never cached.
    Bypass,
    /// The client asked for a new answer.
    Refresh,
    /// The same, and the new answer is kept.
    RefreshStored,
}

impl Status {
    /// The value of the header; building it copies nothing.
    #[must_use]
    pub const fn header(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Status::Hit => "weir; hit; detail=memory",
            Status::Miss => "weir; fwd=miss",
            Status::MissStored => "weir; fwd=miss; stored",
            Status::Bypass => "weir; fwd=bypass",
            Status::Refresh => "weir; fwd=request",
            Status::RefreshStored => "weir; fwd=request; stored",
        })
    }
}
