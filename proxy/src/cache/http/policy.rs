//! Which responses are stored (RFC 9111, section 3), and which requests a stored one may serve.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};

use super::directives::{
    Directive, RequestDirectives, ResponseDirectives, StoreDirective, UseStored,
};
use super::freshness::{LifetimeBasis, StoredFreshness, is_heuristically_cacheable};
use super::vary::Variant;

/// Whether a request has credentials that the backend sees: `Authorization`, an API key, or a cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestCredentials {
    None,
    /// `Cookie`, and nothing else.
    Cookie,
    Authorization,
}

/// Whether a response may be stored whose own request had these credentials (section 3.5; weir treats cookies alike).
pub(super) fn is_for_credentials(
    credentials: RequestCredentials,
    directives: &ResponseDirectives,
    variant: &Variant,
) -> bool {
    directives.has(Directive::Public)
        || directives.has(Directive::MustRevalidate)
        || directives.lifetimes.s_maxage.is_some()
        || match credentials {
            RequestCredentials::None => true,
            RequestCredentials::Cookie => variant.names().any(|name| *name == header::COOKIE),
            RequestCredentials::Authorization => false,
        }
}

/// Whether a stored response may be served to a request with these credentials. A response that states how long it is
/// fresh, and neither that it is private nor that it varies by `Cookie`, does not depend on cookies; browsers send them
/// with requests for static files, too.
pub(super) fn serves(
    credentials: RequestCredentials,
    directives: &ResponseDirectives,
    variant: &Variant,
    basis: LifetimeBasis,
) -> bool {
    credentials == RequestCredentials::Cookie && basis == LifetimeBasis::Stated
        || is_for_credentials(credentials, directives, variant)
}

/// Why a response is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotStored {
    /// The request forbids it, or is no `GET`.
    Request,
    /// Informational, partial, a 304, about its own request only, or one that `must-understand` excludes.
    Status,
    /// `no-store` or `private`.
    Forbidden,
    /// Its request had credentials, and it is not explicitly public.
    Credentials,
    /// It sets a cookie, which is for one client only.
    SetCookie,
    /// No other request can be known to select it.
    Varies,
    TooLarge,
    /// It could not be used without the backend, and not be validated.
    Useless,
}

/// Why a response with this head must not be stored, if so.
pub(super) fn not_storable(
    status: StatusCode,
    headers: &HeaderMap,
    directives: &ResponseDirectives,
) -> Option<NotStored> {
    let is_final = status.as_u16() >= 200;
    let is_part = matches!(
        status,
        StatusCode::PARTIAL_CONTENT | StatusCode::NOT_MODIFIED
    );
    if !is_final || is_part || is_about_request(status) {
        return Some(NotStored::Status);
    }
    let is_understood = is_understood(status);
    if directives.has(Directive::MustUnderstand) && !is_understood {
        return Some(NotStored::Status);
    }
    // Section 5.2.2.3: a cache that understands the status ignores `no-store` beside `must-understand`.
    let is_overridden = directives.has(Directive::MustUnderstand) && is_understood;
    if directives.has(Directive::Private) || directives.has(Directive::NoStore) && !is_overridden {
        return Some(NotStored::Forbidden);
    }
    if headers.contains_key(header::SET_COOKIE) {
        return Some(NotStored::SetCookie);
    }
    None
}

/// Whether a status is about the connection, the rate or the headers of its own request, which are no part of the key: one
/// client with a bad `Range` could replace the page for all (cache-poisoned denial of service). RFC 6585 forbids storing
/// 428, 429, 431 and 511.
fn is_about_request(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        407 | 408 | 411 | 412 | 413 | 416 | 417 | 421 | 426 | 428 | 429 | 431 | 511
    )
}

/// Whether weir implements the caching of a status: all that RFC 9110 defines, but for 206 and 304.
fn is_understood(status: StatusCode) -> bool {
    is_heuristically_cacheable(status)
        || matches!(
            status.as_u16(),
            201 | 202
                | 205
                | 302
                | 303
                | 305
                | 307
                | 400..=403
                | 406
                | 409
                | 415
                | 422
                | 500
                | 502..=505
        )
}

/// How a stored response may be used for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Fresh,
    /// Stale, which the request accepts (`max-stale`).
    Stale,
    /// Stale, which the response allows for the time in which it is revalidated (RFC 5861, section 3).
    WhileRevalidating,
    /// Only if the backend validates it: it is stale.
    Validated,
    /// Only if the backend validates it: the request asks for that.
    ValidatedByRequest,
}

/// How a stored response may be used for a request (RFC 9111, sections 4.2.4 and 5.2.1).
pub(super) fn usable(
    freshness: &StoredFreshness,
    stored: &ResponseDirectives,
    request: &RequestDirectives,
    now: Duration,
) -> Use {
    if request.use_stored == UseStored::Validated
        || request
            .max_age
            .is_some_and(|max_age| freshness.age(now) > max_age || max_age.is_zero())
    {
        return Use::ValidatedByRequest;
    }
    if freshness.is_fresh(now) {
        return match freshness.fresh_for(now) >= request.min_fresh {
            true => Use::Fresh,
            false => Use::ValidatedByRequest,
        };
    }
    if stored.has(Directive::NoCache)
        || stored.has(Directive::MustRevalidate)
        || stored.lifetimes.s_maxage.is_some()
        || !request.min_fresh.is_zero()
    {
        return Use::Validated;
    }
    let stale_for = freshness.stale_for(now);
    if stale_for <= request.max_stale && !request.max_stale.is_zero() {
        return Use::Stale;
    }
    match stale_for < freshness.stale_while_revalidate {
        true => Use::WhileRevalidating,
        false => Use::Validated,
    }
}

/// Whether a request lets its response be stored.
pub(super) fn may_store(request: &RequestDirectives) -> bool {
    request.storing == StoreDirective::Allowed
}
