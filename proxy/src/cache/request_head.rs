//! The head of a request, read in one pass: its cache directives (RFC 9111, sections 5.2.1 and 5.4), and the headers
//! that are part of the key.

use http::{HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use super::accept::{self, Preference};
use super::unkeyed::is_unkeyed;
use super::{CacheRequest, cache_control};
use crate::exchange::BypassReason;

/// Up to this number, the headers in a key take no allocation.
const HEADERS_USUAL: usize = 16;

/// What the head of a request means for the cache.
pub(super) struct RequestHead<'a> {
    directive: RequestDirective,
    /// Whether a part of the response is requested (`Range`).
    pub(super) is_range_request: bool,
    /// Whether the body has a content coding.
    pub(super) is_encoded: bool,
    /// In the order of their names; the values of one name in their own order.
    pub(super) keyed: SmallVec<[KeyedHeader<'a>; HEADERS_USUAL]>,
}

/// A header that is part of the key.
pub(super) enum KeyedHeader<'a> {
    /// A `Content-Type` of JSON in UTF-8, the usual one.
    JsonType,
    Field(&'a str, &'a [u8]),
}

/// What the cache directives of a request ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RequestDirective {
    None,
    Refresh,
    NoStore,
}

/// Which responses a request accepts from the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AcceptedResponse {
    Stored,
    /// A new one only, which is stored.
    New,
}

impl KeyedHeader<'_> {
    fn name(&self) -> &str {
        match self {
            KeyedHeader::JsonType => "content-type",
            KeyedHeader::Field(name, _) => name,
        }
    }
}

impl<'a> RequestHead<'a> {
    /// What the request accepts, or why the cache is not used for it, as far as its head decides.
    pub(super) fn accepted_response(&self) -> Result<AcceptedResponse, BypassReason> {
        let accepted = match self.directive {
            RequestDirective::NoStore => return Err(BypassReason::NoStore),
            RequestDirective::Refresh => AcceptedResponse::New,
            RequestDirective::None => AcceptedResponse::Stored,
        };
        if self.is_range_request {
            return Err(BypassReason::Range);
        }
        match self.is_encoded {
            true => Err(BypassReason::Encoded),
            false => Ok(accepted),
        }
    }

    pub(super) fn read(request: &CacheRequest<'a>, ignored: &[HeaderName]) -> Self {
        let mut head = RequestHead {
            directive: RequestDirective::None,
            is_range_request: false,
            is_encoded: false,
            keyed: SmallVec::new(),
        };
        let mut has_cache_control = false;
        let mut pragma = None;
        for (name, value) in request.headers {
            match *name {
                header::RANGE => head.is_range_request = true,
                header::CONTENT_ENCODING => {
                    head.is_encoded |= !value.as_bytes().eq_ignore_ascii_case(b"identity");
                }
                header::CACHE_CONTROL => {
                    has_cache_control = true;
                    head.directive.read(value);
                }
                header::PRAGMA => {
                    pragma.get_or_insert(value);
                }
                _ if is_unkeyed(name.as_str()) => {}
                _ if ignored.contains(name) || !(request.is_forwarded)(name) => {}
                header::ACCEPT => head.keyed.extend(accepted(request, value)),
                header::CONTENT_TYPE if accept::is_json(value) => {
                    head.keyed.push(KeyedHeader::JsonType);
                }
                _ => head
                    .keyed
                    .push(KeyedHeader::Field(name.as_str(), value.as_bytes())),
            }
        }
        // `Pragma` is the predecessor of `Cache-Control`, and counts only without it.
        if !has_cache_control
            && pragma.is_some_and(|pragma| pragma.as_bytes().eq_ignore_ascii_case(b"no-cache"))
        {
            head.directive = RequestDirective::Refresh;
        }
        // Stable, so that the values of one name stay in their order.
        head.keyed
            .sort_by(|one, other| one.name().cmp(other.name()));
        head
    }
}

/// An `Accept`, unless it is equal to none.
fn accepted<'a>(request: &CacheRequest<'a>, value: &'a HeaderValue) -> Option<KeyedHeader<'a>> {
    match Preference::of(request.headers.get_all(header::ACCEPT)).text() {
        Some(b"") => None,
        Some(text) => Some(KeyedHeader::Field("accept", text)),
        None => Some(KeyedHeader::Field("accept", value.as_bytes())),
    }
}

impl RequestDirective {
    fn read(&mut self, value: &HeaderValue) {
        for (name, argument) in cache_control::directives(value) {
            let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
            if is("no-store") {
                *self = RequestDirective::NoStore;
            } else if *self == RequestDirective::None
                && (is("no-cache") || (is("max-age") && cache_control::is_zero(argument)))
            {
                *self = RequestDirective::Refresh;
            }
        }
    }
}
