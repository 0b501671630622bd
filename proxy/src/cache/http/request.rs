//! The head of a request, read in one pass: its credentials, and headers by which some backends take it for another
//! request.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, header};
use smallvec::SmallVec;

use super::super::credentials::ends_as_credential;
use super::policy::RequestCredentials;

/// What the head of a request means for the cache beside its directives.
pub(super) struct HttpRequestHead<'a> {
    pub(super) credentials: RequestCredentials,
    pub(super) overrides: Overrides<'a>,
}

/// Headers that override the method, the path or the host of a request, in their order. They are part of the key:
/// otherwise a client could have the response to another request stored (web cache poisoning by unkeyed input).
pub(super) type Overrides<'a> = SmallVec<[(&'a HeaderName, &'a HeaderValue); 1]>;

impl<'a> HttpRequestHead<'a> {
    /// Of the headers that are forwarded as the client sent them.
    pub(super) fn read(
        headers: &'a HeaderMap,
        is_forwarded: &(dyn Fn(&HeaderName) -> bool + Sync),
    ) -> Self {
        let mut head = HttpRequestHead {
            credentials: RequestCredentials::None,
            overrides: Overrides::new(),
        };
        for (name, value) in headers {
            let found = match *name {
                header::COOKIE => RequestCredentials::Cookie,
                header::AUTHORIZATION => RequestCredentials::Authorization,
                _ => match &*as_read_by_cgi(name) {
                    text if ends_as_credential(text) => RequestCredentials::Authorization,
                    text if is_override(text) => {
                        head.overrides.push((name, value));
                        continue;
                    }
                    _ => continue,
                },
            };
            if found > head.credentials && is_forwarded(name) {
                head.credentials = found;
            }
        }
        head
    }

    /// The headers that override more than the method: a `GET` of the same URI has them, too.
    pub(super) fn overrides_of_uri(self) -> Overrides<'a> {
        let mut overrides = self.overrides;
        overrides.retain(|(name, _)| !name.as_str().contains("method"));
        overrides
    }
}

/// Which conditions the backend gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConditionsSent {
    /// Those of the client, which may make the response a part or a 304.
    Own,
    /// In their place, those of a stored response.
    Replaced,
}

/// Whether the response to a request is of use to others: the whole, whatever the client has already.
pub(super) fn is_for_whole(headers: &HeaderMap, sent: ConditionsSent) -> bool {
    let has = |name: HeaderName| headers.contains_key(name);
    let is_part =
        has(header::RANGE) || has(header::IF_NONE_MATCH) || has(header::IF_MODIFIED_SINCE);
    let may_fail = has(header::IF_MATCH) || has(header::IF_UNMODIFIED_SINCE);
    !may_fail && (sent == ConditionsSent::Replaced || !is_part)
}

/// A name as backends read it to which `_` is `-`: CGI and WSGI.
fn as_read_by_cgi(name: &HeaderName) -> Cow<'_, str> {
    match name.as_str().contains('_') {
        true => Cow::Owned(name.as_str().replace('_', "-")),
        false => Cow::Borrowed(name.as_str()),
    }
}

fn is_override(name: &str) -> bool {
    name.starts_with("x-")
        && matches!(
            name,
            "x-forwarded-path"
                | "x-forwarded-port"
                | "x-forwarded-prefix"
                | "x-forwarded-scheme"
                | "x-forwarded-server"
                | "x-forwarded-ssl"
                | "x-host"
                | "x-http-host-override"
                | "x-http-method"
                | "x-http-method-override"
                | "x-method-override"
                | "x-original-host"
                | "x-original-url"
                | "x-rewrite-url"
        )
}
