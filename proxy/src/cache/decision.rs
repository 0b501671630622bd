//! What the cache may do for a request, as its head and its body decide.

use http::{HeaderMap, HeaderName, Method};

use super::cacheable::{self, PathMatch};
use super::request_head::{AcceptedResponse, RequestHead};
use super::statefulness::Statefulness;
use super::{ResponseCache, canonical, key};
use crate::exchange::{BypassReason, CacheKey};
use crate::model::json::Visitor;
use crate::model::operation::Operation;

/// What a key is computed from.
#[derive(Clone, Copy)]
pub struct CacheRequest<'a> {
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    pub query: &'a str,
    /// The host that is forwarded as `X-Forwarded-Host`; empty if there is none.
    pub host: &'a [u8],
    pub headers: &'a HeaderMap,
    /// Whether a header is forwarded as the client sent it, and does not belong to a verified signature.
    pub is_forwarded: &'a (dyn Fn(&HeaderName) -> bool + Sync),
    pub body: &'a [u8],
    /// The verified client, or else the address as text.
    pub client: &'a str,
    /// The model operation, if it is known.
    pub operation: Option<Operation>,
    /// How the route matched the path.
    pub path_match: PathMatch,
}

/// What the cache may do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheDecision {
    /// Look for a stored response, and store a new one.
    Lookup(CacheKey),
    /// `no-cache`, `max-age=0` or `Pragma: no-cache`: forward the request, and store the response.
    Refresh(CacheKey),
    /// Neither.
    Bypass(BypassReason),
}

impl CacheDecision {
    /// The key under which the response is stored.
    #[must_use]
    pub const fn key(&self) -> Option<CacheKey> {
        match self {
            CacheDecision::Lookup(key) | CacheDecision::Refresh(key) => Some(*key),
            CacheDecision::Bypass(_) => None,
        }
    }

    /// Why the cache is not used.
    #[must_use]
    pub const fn bypass(&self) -> Option<BypassReason> {
        match self {
            CacheDecision::Lookup(_) | CacheDecision::Refresh(_) => None,
            CacheDecision::Bypass(reason) => Some(*reason),
        }
    }
}

impl ResponseCache {
    /// Decides what may be done for a request. If the body is parsed for its key, its values are passed to `visitor`,
    /// but the end only of a complete JSON object.
    #[must_use]
    pub fn decide<V: Visitor>(&self, request: &CacheRequest<'_>, visitor: &mut V) -> CacheDecision {
        match self.key(request, visitor) {
            Ok((key, AcceptedResponse::Stored)) => CacheDecision::Lookup(key),
            Ok((key, AcceptedResponse::New)) => CacheDecision::Refresh(key),
            Err(reason) => CacheDecision::Bypass(reason),
        }
    }

    /// The key of a request, and what the client accepts.
    fn key<V: Visitor>(
        &self,
        request: &CacheRequest<'_>,
        visitor: &mut V,
    ) -> Result<(CacheKey, AcceptedResponse), BypassReason> {
        if request.method != Method::POST {
            return Err(BypassReason::Method);
        }
        if !cacheable::is_cacheable(request.path, request.operation, request.path_match) {
            return Err(BypassReason::Operation);
        }
        let head = RequestHead::read(request, &self.ignored);
        let accepted = head.accepted_response()?;
        let key = |body: &[u8], bypass: Option<BypassReason>| match bypass {
            None => Ok(key::of(request, self.scope, &head.keyed, body)),
            Some(reason) => Err(reason),
        };
        let operation = request.operation;
        let key = match &self.body_settings {
            None => canonical::canonical(request.body, Statefulness::new(operation), visitor, key),
            Some(settings) => {
                canonical::canonical(request.body, settings.rules(operation), visitor, key)
            }
        };
        Ok((key.unwrap_or(Err(BypassReason::Body))?, accepted))
    }
}
