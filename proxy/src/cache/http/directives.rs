//! The cache directives of requests and responses (RFC 9111, section 5.2; RFC 5861), by `Cache-Control`, or by the
//! targeted `CDN-Cache-Control` (RFC 9213), which replaces it.

use std::time::Duration;

use http::{HeaderMap, HeaderName, header};

use super::super::cache_control::{LifetimeDirectives, for_each_directive, seconds};
use super::targeted;

/// Of caches of content delivery networks and gateways.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// A directive of a response that matters by its presence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Directive {
    NoStore = 1,
    NoCache = 2,
    Private = 4,
    Public = 8,
    /// `must-revalidate` and `proxy-revalidate`: never served stale.
    MustRevalidate = 16,
    MustUnderstand = 32,
}

/// The directives of a response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ResponseDirectives {
    present: u8,
    pub(super) lifetimes: LifetimeDirectives,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    pub(super) source: DirectiveSource,
}

/// Which field the directives are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum DirectiveSource {
    #[default]
    CacheControl,
    /// A targeted field: `Cache-Control` and `Expires` are ignored (RFC 9213, section 2.2).
    Targeted,
}

impl ResponseDirectives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        // RFC 9213, section 2.2: an empty field is ignored, as an invalid one is.
        if headers.contains_key(&CDN_CACHE_CONTROL)
            && let Some(members) = targeted::parse(headers.get_all(&CDN_CACHE_CONTROL))
            && !members.is_empty()
        {
            let mut directives = ResponseDirectives {
                source: DirectiveSource::Targeted,
                ..ResponseDirectives::default()
            };
            for (name, value) in members {
                directives.read_targeted(&name, value);
            }
            return directives;
        }
        let mut directives = ResponseDirectives::default();
        for_each_directive(headers, |name, argument| directives.read(name, argument));
        directives
    }

    pub(super) fn has(&self, directive: Directive) -> bool {
        self.present & directive as u8 != 0
    }

    /// `s-maxage` takes precedence over `max-age`: every cache of weir serves several users.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.lifetimes.s_maxage.or(self.lifetimes.max_age)
    }

    fn read(&mut self, name: &[u8], argument: Option<&[u8]>) {
        self.lifetimes.read(name, argument);
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        let within = argument.and_then(seconds);
        if is("stale-while-revalidate") {
            self.stale_while_revalidate = within;
        } else if is("stale-if-error") {
            self.stale_if_error = within;
        } else if let Some(directive) = Directive::named(is) {
            self.present |= directive as u8;
        }
    }

    /// A targeted field has types: a directive with a value of another type is ignored.
    fn read_targeted(&mut self, name: &str, value: targeted::MemberValue) {
        match value {
            targeted::MemberValue::Integer(seconds) => {
                let within = u64::try_from(seconds).map(Duration::from_secs);
                let within = Some(within.unwrap_or_default());
                match name {
                    "max-age" => self.lifetimes.max_age = within,
                    "s-maxage" => self.lifetimes.s_maxage = within,
                    "stale-while-revalidate" => self.stale_while_revalidate = within,
                    "stale-if-error" => self.stale_if_error = within,
                    _ => {}
                }
            }
            targeted::MemberValue::True => {
                if let Some(directive) = Directive::named(|known| known == name) {
                    self.present |= directive as u8;
                }
            }
            targeted::MemberValue::Other => {
                // `private="set-cookie"`: the qualified forms are treated as the unqualified ones.
                if matches!(name, "private" | "no-cache") {
                    self.read_targeted(name, targeted::MemberValue::True);
                }
            }
        }
    }
}

impl Directive {
    fn named(is: impl Fn(&str) -> bool) -> Option<Self> {
        const NAMES: [(&str, Directive); 7] = [
            ("no-store", Directive::NoStore),
            ("no-cache", Directive::NoCache),
            ("private", Directive::Private),
            ("public", Directive::Public),
            ("must-revalidate", Directive::MustRevalidate),
            ("proxy-revalidate", Directive::MustRevalidate),
            ("must-understand", Directive::MustUnderstand),
        ];
        let found = NAMES.iter().find(|(name, _)| is(name));
        found.map(|(_, directive)| *directive)
    }
}

/// The directives of a request (section 5.2.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RequestDirectives {
    pub(super) storing: StoreDirective,
    pub(super) use_stored: UseStored,
    /// The highest age that is accepted.
    pub(super) max_age: Option<Duration>,
    /// How long the response must still be fresh.
    pub(super) min_fresh: Duration,
    /// How long the response may have been stale.
    pub(super) max_stale: Duration,
}

/// Whether the response may be stored, as far as the request decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StoreDirective {
    #[default]
    Allowed,
    /// `no-store`.
    Forbidden,
}

/// Whether a stored response is accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum UseStored {
    #[default]
    Allowed,
    /// `no-cache`: only if the backend validates it.
    Validated,
    /// `only-if-cached`: nothing else is.
    Only,
}

impl RequestDirectives {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut directives = RequestDirectives::default();
        for_each_directive(headers, |name, argument| directives.read(name, argument));
        // `Pragma` is the predecessor of `Cache-Control`, and counts only without it (section 5.4).
        if let Some(pragma) = headers.get(header::PRAGMA)
            && pragma.as_bytes().eq_ignore_ascii_case(b"no-cache")
            && !headers.contains_key(header::CACHE_CONTROL)
        {
            directives.use_stored = UseStored::Validated;
        }
        directives
    }

    fn read(&mut self, name: &[u8], argument: Option<&[u8]>) {
        let is = |directive: &str| name.eq_ignore_ascii_case(directive.as_bytes());
        let within = argument.and_then(seconds);
        if is("no-store") {
            self.storing = StoreDirective::Forbidden;
        } else if is("no-cache") {
            self.use_stored = UseStored::Validated;
        } else if is("only-if-cached") {
            if self.use_stored == UseStored::Allowed {
                self.use_stored = UseStored::Only;
            }
        } else if is("max-age") {
            self.max_age = Some(within.unwrap_or_default());
        } else if is("min-fresh") {
            self.min_fresh = within.unwrap_or(Duration::MAX);
        } else if is("max-stale") {
            // Without a value, any age is accepted.
            let any = argument.is_none().then_some(Duration::MAX);
            self.max_stale = any.or(within).unwrap_or_default();
        }
    }
}
