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
                        // Load balancers send some that weir replaces.
                        if is_forwarded(name) {
                            head.overrides.push((name, value));
                        }
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

/// A name as backends read it to which `_` is `-`: CGI and WSGI.
fn as_read_by_cgi(name: &HeaderName) -> Cow<'_, str> {
    match name.as_str().contains('_') {
        true => Cow::Owned(name.as_str().replace('_', "-")),
        false => Cow::Borrowed(name.as_str()),
    }
}

/// Whether frameworks, or the proxies before them, read a part of the request from a header of this name: its method, its
/// scheme, its host, its path. Such names have no registry. Those that frameworks and tools document end with the same few
/// words, and so does the next one.
fn is_override(name: &str) -> bool {
    let Some(of_no_standard) = name.strip_prefix("x-") else {
        return matches!(
            name,
            "cf-visitor"
                | "cloudfront-forwarded-proto"
                | "front-end-https"
                | "surrogate-capability"
        );
    };
    let end = of_no_standard.rfind('-').map_or(0, |hyphen| hyphen + 1);
    let word = &of_no_standard[end..];
    matches!(
        word,
        "host" | "https" | "method" | "override" | "path" | "prefix" | "proto" | "protocol" | "scheme" | "ssl" | "uri"
    ) || word.ends_with("url")
        || matches!(
            of_no_standard,
            "forwarded-port" | "forwarded-server" | "original-port" | "path-info" | "script-name"
        )
        // Next.js and React Router: what their own middleware has decided about a request.
        || ["invoke-", "middleware-", "nextjs-", "now-route-", "react-router-"]
            .iter()
            .any(|start| of_no_standard.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_override_a_part_of_the_request_are_known_by_their_names() {
        let overrides = [
            // Rack, Symfony, Laravel, Express.
            "x-http-method-override x-http-method x-method-override",
            // Symfony, Laravel, Spring, Django, Werkzeug, Rack.
            "x-forwarded-host x-forwarded-port x-forwarded-prefix x-forwarded-proto x-forwarded-scheme x-forwarded-ssl",
            "x-forwarded-server x-host x-real-host x-original-host x-host-override x-http-host-override x-scheme",
            "x-url-scheme x-forwarded-protocol x-arr-ssl x-forwarded-https front-end-https cf-visitor",
            "cloudfront-forwarded-proto x-script-name x-path-info",
            // IIS, Zend, Symfony; Envoy; Traefik; nginx; Vercel.
            "x-original-url x-rewrite-url x-original-uri x-envoy-original-path x-replaced-path x-forwarded-path",
            "x-forwarded-uri x-request-uri x-proxy-url x-http-destinationurl x-matched-path x-nf-original-path",
            // Next.js, React Router.
            "x-invoke-output x-middleware-prefetch x-middleware-rewrite x-nextjs-data x-now-route-matches",
            "x-react-router-spa-mode surrogate-capability",
        ];
        for name in overrides.iter().flat_map(|names| names.split(' ')) {
            assert!(is_override(name), "{name}");
        }
        // Clients and load balancers have their own value for each request.
        let others = "accept host referer x-forwarded-for x-request-id x-real-ip x-requested-with x-amzn-trace-id \
                      x-original-forwarded-for x-b3-traceid x-forwarded-client-cert x-client-version sec-fetch-mode x-";
        for name in others.split_whitespace() {
            assert!(!is_override(name), "{name}");
        }
    }

    #[test]
    fn overrides_that_the_backend_gets_are_keyed_with_underscores_too() {
        let mut headers = HeaderMap::new();
        headers.insert("x_envoy_original_path", HeaderValue::from_static("/other"));
        headers.insert("x_http-Method_override", HeaderValue::from_static("POST"));
        headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
        let head = HttpRequestHead::read(&headers, &|name| name != "x-forwarded-proto");
        assert_eq!(head.overrides.len(), 2);
        let of_uri = head.overrides_of_uri();
        assert_eq!(
            of_uri.len(),
            1,
            "a GET of the same URI has no method override"
        );
    }
}
