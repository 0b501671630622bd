//! Who may come in: with a token whoever shows it, without one only those who ask this machine for
//! itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// The check of one listener.
#[derive(Clone)]
pub(super) struct Door {
    /// The digest of the token: digests are of one length, so comparing them tells nothing.
    token: Option<[u8; 32]>,
    address: SocketAddr,
}

/// Whether a request may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Granted,
    /// The token is missing or wrong.
    NoToken,
    /// The name that was asked for is not this machine's: a page in a browser whose name was made to
    /// lead here (DNS rebinding).
    ForeignHost,
}

impl Door {
    pub(super) fn new(token: Option<&str>, address: SocketAddr) -> Self {
        Door {
            token: token.map(|token| Sha256::digest(token).into()),
            address,
        }
    }

    /// `target` is what the request line asks for: in its absolute form it names a host, too (RFC 9112,
    /// section 3.2.2).
    pub(super) fn check(&self, target: &Uri, headers: &HeaderMap) -> Entry {
        let path = target.path();
        // Probes know no token, and what they learn is no secret; nor is advice for whoever gets an alert.
        if matches!(path, "/healthz" | "/readyz") || path.starts_with("/runbooks/") {
            return Entry::Granted;
        }
        match &self.token {
            Some(token) => match shown_token(headers) {
                Some(shown) if bool::from(Sha256::digest(shown).ct_eq(token)) => Entry::Granted,
                _ => Entry::NoToken,
            },
            None if self.is_for_here(target, headers) => Entry::Granted,
            None => Entry::ForeignHost,
        }
    }

    fn is_for_here(&self, target: &Uri, headers: &HeaderMap) -> bool {
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

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
fn shown_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value: &HeaderValue = headers.get(AUTHORIZATION)?;
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

enum Host<'h> {
    Name(&'h str),
    Address(IpAddr),
}

/// The host of `host`, `host:port` or `[v6]:port` (RFC 9110, section 7.2), and nothing else: a user
/// before it or a text after it would let another name look like this machine's.
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

    fn at(target: &str) -> Uri {
        target.parse().expect("a target")
    }

    fn door(token: Option<&str>) -> Door {
        Door::new(token, "192.0.2.1:8081".parse().expect("an address"))
    }

    #[test]
    fn only_the_token_opens() {
        let door = door(Some("s3cret"));
        let entry = |value| door.check(&at("/metrics"), &headers(AUTHORIZATION, value));
        assert_eq!(entry("Bearer s3cret"), Entry::Granted);
        assert_eq!(entry("bearer s3cret"), Entry::Granted);
        for wrong in [
            "Bearer s3cre",
            "Bearer s3cret2",
            "Bearer ",
            "Bearer",
            "Basic s3cret",
            "",
            "é",
        ] {
            assert_eq!(entry(wrong), Entry::NoToken, "{wrong}");
        }
        assert_eq!(door.check(&at("/"), &HeaderMap::new()), Entry::NoToken);
        assert_eq!(
            door.check(&at("/healthz"), &HeaderMap::new()),
            Entry::Granted
        );
        assert_eq!(
            door.check(&at("/readyz"), &HeaderMap::new()),
            Entry::Granted
        );
        let page = door.check(&at("/runbooks/ErrorRate"), &HeaderMap::new());
        assert_eq!(page, Entry::Granted);
        assert_eq!(
            door.check(&at("/healthz/.."), &HeaderMap::new()),
            Entry::NoToken
        );
    }

    #[test]
    fn the_host_of_the_target_counts_whatever_the_header_says() {
        let door = door(None);
        for (target, entry) in [
            ("http://localhost:8081/metrics", Entry::Granted),
            ("http://127.0.0.1/metrics", Entry::Granted),
            ("http://evil.example/metrics", Entry::ForeignHost),
            (
                "http://localhost:8081@evil.example/metrics",
                Entry::ForeignHost,
            ),
            ("http://user@localhost/metrics", Entry::ForeignHost),
            ("http://evil.example/healthz", Entry::Granted),
        ] {
            let checked = door.check(&at(target), &headers(HOST, "localhost"));
            assert_eq!(checked, entry, "{target}");
        }
        let absolute = at("http://localhost/metrics");
        let checked = door.check(&absolute, &headers(HOST, "evil.example"));
        assert_eq!(checked, Entry::ForeignHost);
    }

    #[test]
    fn without_a_token_only_this_machine_is_asked_for() {
        let door = door(None);
        let entry = |host| door.check(&at("/metrics"), &headers(HOST, host));
        for own in [
            "localhost",
            "LOCALHOST:8081",
            "127.0.0.1:8081",
            "127.0.0.1",
            "[::1]:8081",
            "[::1]",
            "192.0.2.1:8081",
        ] {
            assert_eq!(entry(own), Entry::Granted, "{own}");
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
            assert_eq!(entry(foreign), Entry::ForeignHost, "{foreign}");
        }
        assert_eq!(door.check(&at("/"), &HeaderMap::new()), Entry::ForeignHost);
        let mut twice = headers(HOST, "localhost");
        twice.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(door.check(&at("/"), &twice), Entry::ForeignHost);
    }
}
