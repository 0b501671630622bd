//! What an exchange and the cache stage share: the key of a response, and why the cache is bypassed.

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
    NoCache,
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
            BypassReason::NoCache => "no_cache",
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
