//! The address of an endpoint, and the protocol that it implies.

use std::path::PathBuf;
use std::sync::Arc;

use http::uri::Authority;

/// One instance of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointConfig {
    pub address: EndpointAddress,
    /// The text that appears in events: `http://HOST:PORT`, or `unix:/PATH`.
    pub text: Arc<str>,
}

/// Where an endpoint listens: no path, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointAddress {
    Http(Authority),
    /// HTTP/2 or HTTP/1.1, as TLS negotiates it (ALPN).
    Https(Authority),
    /// HTTP/2 in clear text by prior knowledge (RFC 9113, section 3.3).
    H2c(Authority),
    /// HTTP/1.1 over a Unix domain socket, as sidecars use it.
    Unix(PathBuf),
}

impl EndpointAddress {
    /// Host and port, as written; a Unix socket has none.
    #[must_use]
    pub fn authority(&self) -> Option<&Authority> {
        match self {
            EndpointAddress::Http(authority)
            | EndpointAddress::Https(authority)
            | EndpointAddress::H2c(authority) => Some(authority),
            EndpointAddress::Unix(_) => None,
        }
    }

    /// The port, by default that of the scheme.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        let default = match self {
            EndpointAddress::Https(_) => 443,
            _ => 80,
        };
        let authority = self.authority()?;
        Some(authority.port_u16().unwrap_or(default))
    }
}
