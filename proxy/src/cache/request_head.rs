//! The head of a request, read once: what its client asks of caches (RFC 9111, sections 5.2.1 and 5.4), and
//! which of its headers are part of the key.

use http::{HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use super::harmless::is_harmless;
use super::media::{self, Wanted};
use super::{Question, control};

/// So many headers in a key cost no allocation.
const HEADERS_USUAL: usize = 16;

/// What the head of a request means for the cache.
pub(super) struct RequestHead<'a> {
    pub(super) directive: Directive,
    /// Whether only a part of the answer is asked for.
    pub(super) asks_part: bool,
    /// Whether the body is something else than the text that it stands for.
    pub(super) is_encoded: bool,
    /// In the order of their names; the values of one name are in their own.
    pub(super) keyed: SmallVec<[Keyed<'a>; HEADERS_USUAL]>,
}

/// A header that is part of the key.
pub(super) enum Keyed<'a> {
    /// A `Content-Type` that is JSON in UTF-8, as it mostly is.
    JsonType,
    Field(&'a str, &'a [u8]),
}

/// What a client asks of caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Directive {
    None,
    Refresh,
    NoStore,
}

impl Keyed<'_> {
    fn name(&self) -> &str {
        match self {
            Keyed::JsonType => "content-type",
            Keyed::Field(name, _) => name,
        }
    }
}

impl<'a> RequestHead<'a> {
    pub(super) fn read(request: &Question<'a>, ignored: &[HeaderName]) -> Self {
        let mut head = RequestHead {
            directive: Directive::None,
            asks_part: false,
            is_encoded: false,
            keyed: SmallVec::new(),
        };
        let mut has_cache_control = false;
        let mut pragma = None;
        for (name, value) in request.headers {
            match *name {
                header::RANGE => head.asks_part = true,
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
                _ if is_harmless(name.as_str()) => {}
                _ if ignored.contains(name) || !(request.goes_on)(name) => {}
                header::ACCEPT => head.keyed.extend(accepted(request, value)),
                header::CONTENT_TYPE if media::is_json(value) => head.keyed.push(Keyed::JsonType),
                _ => head
                    .keyed
                    .push(Keyed::Field(name.as_str(), value.as_bytes())),
            }
        }
        // Pragma is what clients said before there was a Cache-Control, and counts only without it.
        if !has_cache_control
            && pragma.is_some_and(|pragma| pragma.as_bytes().eq_ignore_ascii_case(b"no-cache"))
        {
            head.directive = Directive::Refresh;
        }
        // Stable, so that the values of one name stay in their order.
        head.keyed
            .sort_by(|one, other| one.name().cmp(other.name()));
        head
    }
}

/// An `Accept`, unless it asks for what is answered without one.
fn accepted<'a>(request: &Question<'a>, value: &'a HeaderValue) -> Option<Keyed<'a>> {
    match Wanted::of(request.headers.get_all(header::ACCEPT)).text() {
        Some(b"") => None,
        Some(text) => Some(Keyed::Field("accept", text)),
        None => Some(Keyed::Field("accept", value.as_bytes())),
    }
}

impl Directive {
    fn read(&mut self, value: &HeaderValue) {
        for (name, argument) in control::directives(value) {
            let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
            if is("no-store") {
                *self = Directive::NoStore;
            } else if *self == Directive::None
                && (is("no-cache") || (is("max-age") && control::is_zero(argument)))
            {
                *self = Directive::Refresh;
            }
        }
    }
}
