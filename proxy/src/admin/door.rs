//! Who may come in: with a token whoever shows it, without one only those who ask this machine for
//! itself.

use std::net::{IpAddr, SocketAddr};

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

    pub(super) fn check(&self, path: &str, headers: &HeaderMap) -> Entry {
        // Probes know no token, and what they learn is no secret; nor is advice for whoever gets an alert.
        if matches!(path, "/healthz" | "/readyz") || path.starts_with("/runbooks/") {
            return Entry::Granted;
        }
        match &self.token {
            Some(token) => match shown_token(headers) {
                Some(shown) if bool::from(Sha256::digest(shown).ct_eq(token)) => Entry::Granted,
                _ => Entry::NoToken,
            },
            None if self.is_own_host(headers) => Entry::Granted,
            None => Entry::ForeignHost,
        }
    }

    fn is_own_host(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let Some(name) = host.to_str().ok().map(without_port) else {
            return false;
        };
        name.eq_ignore_ascii_case("localhost")
            || name
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_loopback() || address == self.address.ip())
    }
}

/// The token of `Authorization: Bearer TOKEN` (RFC 6750, section 2.1).
fn shown_token(headers: &HeaderMap) -> Option<&[u8]> {
    let value: &HeaderValue = headers.get(AUTHORIZATION)?;
    let (scheme, token) = value.as_bytes().split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// The host of `host`, `host:port` or `[v6]:port`.
fn without_port(host: &str) -> &str {
    if let Some(inside) = host.strip_prefix('[') {
        return inside.split_once(']').map_or("", |(address, _)| address);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        let value = HeaderValue::from_str(value).expect("a header");
        HeaderMap::from_iter([(name, value)])
    }

    fn door(token: Option<&str>) -> Door {
        Door::new(token, "192.0.2.1:8081".parse().expect("an address"))
    }

    #[test]
    fn only_the_token_opens() {
        let door = door(Some("s3cret"));
        let entry = |value| door.check("/metrics", &headers(AUTHORIZATION, value));
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
        assert_eq!(door.check("/", &HeaderMap::new()), Entry::NoToken);
        assert_eq!(door.check("/healthz", &HeaderMap::new()), Entry::Granted);
        assert_eq!(door.check("/readyz", &HeaderMap::new()), Entry::Granted);
        let page = door.check("/runbooks/ErrorRate", &HeaderMap::new());
        assert_eq!(page, Entry::Granted);
        assert_eq!(door.check("/healthz/..", &HeaderMap::new()), Entry::NoToken);
    }

    #[test]
    fn without_a_token_only_this_machine_is_asked_for() {
        let door = door(None);
        let entry = |host| door.check("/metrics", &headers(HOST, host));
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
        ] {
            assert_eq!(entry(foreign), Entry::ForeignHost, "{foreign}");
        }
        assert_eq!(door.check("/", &HeaderMap::new()), Entry::ForeignHost);
        let mut twice = headers(HOST, "localhost");
        twice.append(HOST, HeaderValue::from_static("evil.example"));
        assert_eq!(door.check("/", &twice), Entry::ForeignHost);
    }
}
