//! What a lookup is made with, and its result.

use std::sync::Arc;

use super::super::flight::MayLead;
use super::super::{BypassReason, CacheKey};
use super::policy::RequestCredentials;
use super::store::StoredVariant;

/// What the HTTP cache knows of a request beside its head.
#[derive(Clone, Copy, Debug)]
pub struct RequestKey {
    pub key: CacheKey,
    /// Of equal requests in flight; `None` if it shares no response.
    pub(super) flight: Option<FlightKey>,
    pub(super) credentials: RequestCredentials,
    pub(super) storing: MayStore,
}

/// The key of equal requests in flight, and whether a request may lead them.
#[derive(Clone, Copy, Debug)]
pub(super) struct FlightKey {
    pub(super) key: CacheKey,
    pub(super) may_lead: MayLead,
}

/// Whether the response to a request may be stored, as far as the request decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MayStore {
    Yes,
    No,
}

/// The result of a lookup.
#[derive(Debug)]
pub enum HttpLookup {
    /// The stored response serves the request.
    Hit(CacheKey, Arc<StoredVariant>, HitKind),
    /// It serves the request although it is stale, and is to be revalidated in the background.
    Revalidate(RequestKey, Arc<StoredVariant>),
    /// The request is forwarded. The backend may validate the response that was found.
    Forward(RequestKey, ForwardReason, Option<Arc<StoredVariant>>),
    /// The request accepts a stored response only, and there is none.
    NotCached,
    /// The cache is not involved.
    Bypass(BypassReason),
    /// The method is unsafe: a successful response invalidates what is stored.
    Unsafe,
}

impl HttpLookup {
    /// The key of the URI, if the cache is involved.
    #[must_use]
    pub fn key(&self) -> Option<CacheKey> {
        match self {
            HttpLookup::Hit(key, ..) => Some(*key),
            HttpLookup::Revalidate(request_key, _) | HttpLookup::Forward(request_key, ..) => {
                Some(request_key.key)
            }
            HttpLookup::NotCached | HttpLookup::Bypass(_) | HttpLookup::Unsafe => None,
        }
    }

    /// Why the cache is not used.
    #[must_use]
    pub fn bypass(&self) -> Option<BypassReason> {
        match self {
            HttpLookup::Bypass(reason) => Some(*reason),
            HttpLookup::Unsafe => Some(BypassReason::Method),
            _ => None,
        }
    }
}

/// How a hit may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HitKind {
    Fresh,
    Stale,
}

/// Why a request is forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardReason {
    Miss,
    /// There are responses of the URI, and the request selects none of them.
    VaryMiss,
    Stale,
    /// Its directives ask for it.
    Request,
}
