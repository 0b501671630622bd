//! Authentication of the admin API: with a token, requests that carry it; without one, only requests that name
//! this host (a defence against DNS rebinding).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue, ORIGIN};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The authentication of one listener.
#[derive(Clone)]
pub(super) struct Auth {
    /// The digest of the token: digests have one length, so comparing them leaks nothing.
    token: Option<[u8; 32]>,
    address: SocketAddr,
}

/// Whether a request is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Granted,
    /// There is no token.
    NoToken,
    /// There is a token, and it is not the configured one.
    WrongToken,
    /// The requested host is not this one: a page in a browser whose name resolves here (DNS rebinding).
    ForeignHost,
}

impl Auth {
    pub(super) fn new(token: Option<&str>, address: SocketAddr) -> Self {
        Auth {
            token: token.map(|token| Sha256::digest(token).into()),
            address,
        }
    }

    /// `target` is that of the request line: its absolute form names a host, too (RFC 9112, section 3.2.2).
    pub(super) fn check(&self, target: &Uri, headers: &HeaderMap) -> Access {
        let path = target.path();
        // Probes have no token, and neither their responses nor runbooks are secret.
        if matches!(path, "/healthz" | "/readyz") || path.starts_with("/runbooks/") {
            return Access::Granted;
        }
        match &self.token {
            Some(token) => match bearer_token(headers) {
                Some(given) if bool::from(Sha256::digest(given).ct_eq(token)) => Access::Granted,
                Some(_) => Access::WrongToken,
                None => Access::NoToken,
            },
            None if self.names_this_host(target, headers) => Access::Granted,
            None => Access::ForeignHost,
        }
    }

    fn names_this_host(&self, target: &Uri, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let named = target.authority();
        host.to_str().is_ok_and(|host| self.is_own(host))
            && named.is_none_or(|named| self.is_own(named.as_str()))
    }

    fn is_own(&self, host: &str) -> bool {
        match host_of(host) {
            Some(Host::Name(name)) => name.eq_ignore_ascii_case("localhost"),
            Some(Host::Address(address)) => address.is_loopback() || address == self.address.ip(),
            None => false,
        }
    }
}

/// Whether a request may change something: it was not sent by a page of another site (cross-site request forgery).
/// Browsers send `Sec-Fetch-Site`, older ones only `Origin`.
pub(super) fn is_same_site(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return true;
    };
    let origin = origin.to_str().ok();
    let origin = origin.and_then(|origin| Some(origin.split_once("://")?.1.as_bytes()));
    headers
        .get(HOST)
        .is_some_and(|host| origin == Some(host.as_bytes()))
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
fn bearer_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value: &HeaderValue = headers.get(AUTHORIZATION)?;
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

enum Host<'h> {
    Name(&'h str),
    Address(IpAddr),
}

/// The host of `host`, `host:port` or `[v6]:port` (RFC 9110, section 7.2), and nothing else: user information
/// before it or text after it could make another name look like this host.
fn host_of(text: &str) -> Option<Host<'_>> {
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => {
            let (address, after) = inside.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (Host::Address(address.into()), after)
        }
        None => {
            let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let host = match host.parse::<Ipv4Addr>() {
                Ok(address) => Host::Address(address.into()),
                Err(_) => Host::Name(host),
            };
            (host, port)
        }
    };
    let is_port = |digits: &str| {
        digits.bytes().all(|byte| byte.is_ascii_digit())
            && digits.parse::<u16>().is_ok_and(|port| port > 0)
    };
    match port.strip_prefix(':') {
        None if port.is_empty() => Some(host),
        Some(digits) if is_port(digits) => Some(host),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a header");
        HeaderMap::from_iter([(name, value)])
    }

    #[test]
    fn a_page_of_another_site_may_change_nothing() {
        let request = |fields: &[(&'static str, &'static str)]| {
            let fields = fields.iter().map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            });
            is_same_site(&HeaderMap::from_iter(fields))
        };
        let host = ("host", "localhost:8081");
        assert!(request(&[host]), "no browser");
        for site in ["same-origin", "none"] {
            assert!(request(&[host, ("sec-fetch-site", site)]), "{site}");
        }
        for site in ["cross-site", "same-site", ""] {
            let same = ("origin", "http://localhost:8081");
            assert!(!request(&[host, same, ("sec-fetch-site", site)]), "{site}");
        }
        assert!(request(&[host, ("origin", "http://localhost:8081")]));
        for origin in ["null", "", "http://localhost", "http://evil.example"] {
            assert!(!request(&[host, ("origin", origin)]), "{origin}");
            assert!(!request(&[("origin", origin)]), "{origin}");
        }
    }

    fn at(target: &str) -> Uri {
        target.parse().expect("a target")
    }

    fn auth(token: Option<&str>) -> Auth {
        Auth::new(token, "192.0.2.1:8081".parse().expect("an address"))
    }

    #[test]
    fn only_the_token_is_accepted() {
        let auth = auth(Some("s3cret"));
        let access = |value| auth.check(&at("/metrics"), &headers(AUTHORIZATION, value));
        assert_eq!(access("Bearer s3cret"), Access::Granted);
        assert_eq!(access("bearer s3cret"), Access::Granted);
        for wrong in ["Bearer s3cre", "Bearer s3cret2", "Bearer "] {
            assert_eq!(access(wrong), Access::WrongToken, "{wrong}");
        }
        for missing in ["Bearer", "Basic s3cret", "", "é"] {
            assert_eq!(access(missing), Access::NoToken, "{missing}");
        }
        assert_eq!(auth.check(&at("/"), &HeaderMap::new()), Access::NoToken);
        assert_eq!(
            auth.check(&at("/healthz"), &HeaderMap::new()),
            Access::Granted
        );
        assert_eq!(
            auth.check(&at("/readyz"), &HeaderMap::new()),
            Access::Granted
        );
        let page = auth.check(&at("/runbooks/ErrorRate"), &HeaderMap::new());
        assert_eq!(page, Access::Granted);
        assert_eq!(
            auth.check(&at("/healthz/.."), &HeaderMap::new()),
            Access::NoToken
        );
    }

    #[test]
    fn the_host_of_an_absolute_target_is_checked_as_well_as_the_header() {
        let auth = auth(None);
        for (target, access) in [
            ("http://localhost:8081/metrics", Access::Granted),
            ("http://127.0.0.1/metrics", Access::Granted),
            ("http://evil.example/metrics", Access::ForeignHost),
            (
                "http://localhost:8081@evil.example/metrics",
                Access::ForeignHost,
            ),
            ("http://user@localhost/metrics", Access::ForeignHost),
            ("http://evil.example/healthz", Access::Granted),
        ] {
            let checked = auth.check(&at(target), &headers(HOST, "localhost"));
            assert_eq!(checked, access, "{target}");
        }
        let absolute = at("http://localhost/metrics");
        let checked = auth.check(&absolute, &headers(HOST, "evil.example"));
        assert_eq!(checked, Access::ForeignHost);
    }

    #[test]
    fn without_a_token_only_requests_for_this_host_are_accepted() {
        let auth = auth(None);
        let access = |host| auth.check(&at("/metrics"), &headers(HOST, host));
        for own in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1:8081",
            "127.0.0.1",
            "[::1]:8081",
            "[::1]",
            "192.0.2.1:8081",
        ] {
            assert_eq!(access(own), Access::Granted, "{own}");
        }
        for foreign in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.2",
            "",
            "[::1",
            "[::2]",
            "::1",
            "é",
            "localhost@evil.example",
            "localhost:8081@evil.example",
            "localhost:8081@evil.example:80",
            "evil.example@localhost",
            "user:password@localhost:8081",
            "@localhost",
            "localhost:",
            "localhost:0",
            "localhost:65536",
            "localhost:+80",
            "localhost: 80",
            "localhost:80:80",
            "localhost:8081/",
            "localhost/evil.example",
            "localhost?evil.example",
            "localhost#evil.example",
            "localhost\\evil.example",
            "localhost evil.example",
            "localhost,evil.example",
            " localhost",
            "localhost.",
            "localhost%2eevil.example",
            "127.1",
            "0177.0.0.1",
            "0x7f.0.0.1",
            "2130706433",
            "127.0.0.1.",
            "[127.0.0.1]",
            "[localhost]",
            "[::1]evil.example",
            "[::1].evil.example",
            "[::1]:",
            "[::1]:8081@evil.example",
            "[::1%25lo]",
            "[::1]]",
            "[]",
            "::1:8081",
            ":8081",
        ] {
            assert_eq!(access(foreign), Access::ForeignHost, "{foreign}");
        }
        assert_eq!(auth.check(&at("/"), &HeaderMap::new()), Access::ForeignHost);
        let mut twice = headers(HOST, "localhost");
        twice.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(auth.check(&at("/"), &twice), Access::ForeignHost);
    }
}
