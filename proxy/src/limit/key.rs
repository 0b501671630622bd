//! The key under which a limit counts a request: the same bytes in every replica.

use std::net::IpAddr;

use super::{By, Subject};

/// A kind, so that a client named like an address has another key than the address, and the bytes of the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LimitKey<'a> {
    kind: Kind,
    bytes: Bytes<'a>,
}

/// The numbers are part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Client = 0,
    V4 = 1,
    V6 = 2,
    Platform = 3,
    Header = 4,
    NoHeader = 5,
    Route = 6,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bytes<'a> {
    Borrowed(&'a [u8]),
    V4([u8; 4]),
    /// One client has all of a /64.
    V6([u8; 8]),
}

impl<'a> LimitKey<'a> {
    pub(super) fn of(by: &By, subject: &Subject<'a>) -> Self {
        let borrowed = |kind, bytes| LimitKey {
            kind,
            bytes: Bytes::Borrowed(bytes),
        };
        match by {
            By::Client => match subject.client {
                Some(client) => borrowed(Kind::Client, client.as_bytes()),
                None => LimitKey::of_address(subject.address),
            },
            By::Address => LimitKey::of_address(subject.address),
            By::Platform => borrowed(Kind::Platform, subject.platform.as_bytes()),
            By::Route => borrowed(Kind::Route, b""),
            By::Header(name) => match subject.headers.get(name) {
                Some(value) => borrowed(Kind::Header, value.as_bytes()),
                None => borrowed(Kind::NoHeader, b""),
            },
        }
    }

    fn of_address(address: IpAddr) -> Self {
        // An IPv4 client on a dual-stack socket has its IPv4 address.
        match address.to_canonical() {
            IpAddr::V4(address) => LimitKey {
                kind: Kind::V4,
                bytes: Bytes::V4(address.octets()),
            },
            IpAddr::V6(address) => {
                let mut network = [0; 8];
                network.copy_from_slice(&address.octets()[..8]);
                LimitKey {
                    kind: Kind::V6,
                    bytes: Bytes::V6(network),
                }
            }
        }
    }

    /// The number of the kind, and the bytes.
    pub(super) fn parts(&self) -> (u8, &[u8]) {
        let bytes = match &self.bytes {
            Bytes::Borrowed(bytes) => bytes,
            Bytes::V4(octets) => &octets[..],
            Bytes::V6(network) => &network[..],
        };
        (self.kind as u8, bytes)
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_key_depends_only_on_the_request() {
        let mut headers = HeaderMap::new();
        headers.insert("x-tenant", HeaderValue::from_static("t"));
        let subject = |address: &str, client| Subject {
            address: address.parse().expect("an address"),
            client,
            platform: "api",
            headers: &headers,
        };
        let header = |name| By::Header(HeaderName::from_static(name));
        for (by, address, client, expected) in [
            (By::Client, "192.0.2.1", Some("web"), (0, &b"web"[..])),
            (By::Client, "192.0.2.1", None, (1, &[192, 0, 2, 1])),
            (
                By::Address,
                "::ffff:192.0.2.1",
                Some("web"),
                (1, &[192, 0, 2, 1]),
            ),
            (
                By::Address,
                "2001:db8::1",
                None,
                (2, b"\x20\x01\x0d\xb8\0\0\0\0"),
            ),
            (By::Platform, "192.0.2.1", None, (3, b"api")),
            (header("x-tenant"), "192.0.2.1", None, (4, b"t")),
            (header("x-other"), "192.0.2.1", None, (5, b"")),
            (By::Route, "192.0.2.1", Some("web"), (6, b"")),
        ] {
            let key = LimitKey::of(&by, &subject(address, client));
            assert_eq!(key.parts(), expected, "{by:?} {address}");
        }
    }
}
