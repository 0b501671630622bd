//! What an exchange records of the cache stage.

/// What the cache stage found.
#[derive(Clone, Copy, Debug)]
pub struct CacheNote {
    pub outcome: CacheOutcome,
    pub tier: CacheTier,
    /// Age of the stored response in whole seconds; 0 unless it is a hit.
    pub age_s: u64,
    /// The key under which the response is looked up and stored; none if the cache is bypassed.
    pub key: Option<CacheKey>,
    /// Why the cache is bypassed, if the client has not asked for a new response.
    pub bypass: Option<BypassReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheOutcome {
    Hit,
    Miss,
    /// An equal request in flight was sent for this one, too.
    Collapsed,
    /// A stored response must not be used.
    Bypass,
}

impl CacheOutcome {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheOutcome::Hit => "hit",
            CacheOutcome::Miss => "miss",
            CacheOutcome::Collapsed => "collapsed",
            CacheOutcome::Bypass => "bypass",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheTier {
    Memory,
    Redis,
    None,
}

impl CacheTier {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheTier::Memory => "memory",
            CacheTier::Redis => "redis",
            CacheTier::None => "none",
        }
    }
}

/// The key of a stored response: a hash of everything that may change the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheKey(pub [u8; 32]);

/// The first bytes of a key, which name a response in events and in a purge. Two responses never share them by chance.
pub type CacheKeyId = [u8; 16];

impl CacheKey {
    /// What names the response in an event and in a purge.
    #[must_use]
    pub fn id(&self) -> &CacheKeyId {
        self.0.first_chunk().unwrap_or(&[0; 16])
    }
}

/// Why neither a stored response is looked up nor the response stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BypassReason {
    /// The route has no cache, or the response is that of another backend.
    Uncached,
    /// Only the responses to some methods are stored.
    Method,
    /// The operation creates something, or the path is no known operation.
    Operation,
    /// The request has `Cache-Control: no-store`.
    NoStore,
    /// A part of the response is requested.
    Range,
    /// The body has a content coding.
    Encoded,
    /// The body is not a JSON object, or ambiguous.
    Body,
    /// The response depends on more than the request.
    Stateful,
    /// `cache.unless.temperature_above`.
    Temperature,
    /// `cache.unless.tools`.
    Tools,
}

impl BypassReason {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            BypassReason::Uncached => "no_cache",
            BypassReason::Method => "method",
            BypassReason::Operation => "operation",
            BypassReason::NoStore => "no_store",
            BypassReason::Range => "range",
            BypassReason::Encoded => "encoded",
            BypassReason::Body => "body",
            BypassReason::Stateful => "stateful",
            BypassReason::Temperature => "temperature",
            BypassReason::Tools => "tools",
        }
    }
}
