//! Opens connections to an endpoint: over TCP or a Unix socket, in clear text or with TLS and verified
//! certificates, and determines the protocol of each (ALPN, RFC 7301).

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;
use std::time::Duration;

use rustix::process::{Resource, getrlimit};
use rustls_pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};

use super::address::EndpointAddress;
use super::resolve::Addresses;
use super::tls::TlsClient;
use super::wire::Wire;
use crate::clock;

/// The last file descriptors are reserved for the admin side.
const RESERVED_DESCRIPTORS: u64 = 12;

/// The protocol that a request requires of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// Any that the endpoint speaks.
    Any,
    /// Upgrades exist in HTTP/1.1 alone.
    Http1,
    /// gRPC needs HTTP/2. In clear text, the endpoint must expect it (RFC 9113, section 3.3).
    Http2,
}

/// What a connection to an endpoint is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Offer {
    Http1,
    Http2,
    /// Over TLS the endpoint chooses.
    Either,
}

/// The protocol of an open connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Negotiated {
    Http1,
    Http2,
}

/// Opens connections to one endpoint.
pub struct Connector {
    transport: Transport,
}

enum Transport {
    Tcp(Addresses),
    /// HTTP/2 is expected, but for upgrades.
    H2c(Addresses),
    Tls {
        addresses: Addresses,
        /// `None`: the host cannot be the name of a certificate.
        name: Option<ServerName<'static>>,
        client: TlsClient,
    },
    Unix(Box<Path>),
}

impl Connector {
    #[must_use]
    pub fn new(address: &EndpointAddress, client: TlsClient) -> Self {
        let addresses = |host: &str| Addresses::of(host, address.port().unwrap_or_default());
        let transport = match address {
            EndpointAddress::Http(authority) => Transport::Tcp(addresses(authority.host())),
            EndpointAddress::H2c(authority) => Transport::H2c(addresses(authority.host())),
            EndpointAddress::Https(authority) => {
                let host = authority.host();
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                Transport::Tls {
                    addresses: addresses(host),
                    name: ServerName::try_from(bare.to_owned()).ok(),
                    client,
                }
            }
            EndpointAddress::Unix(path) => Transport::Unix(path.as_path().into()),
        };
        Connector { transport }
    }

    /// What a connection for such a request offers.
    pub(super) fn offer(&self, protocol: UpstreamProtocol) -> Offer {
        match (&self.transport, protocol) {
            (_, UpstreamProtocol::Http1) => Offer::Http1,
            (_, UpstreamProtocol::Http2) | (Transport::H2c(_), _) => Offer::Http2,
            (Transport::Tls { .. }, UpstreamProtocol::Any) => Offer::Either,
            (Transport::Tcp(_) | Transport::Unix(_), UpstreamProtocol::Any) => Offer::Http1,
        }
    }

    /// Notes a request over a connection that is open already: its name stays in use.
    pub(super) fn note_use(&self) {
        match &self.transport {
            Transport::Tcp(addresses)
            | Transport::H2c(addresses)
            | Transport::Tls { addresses, .. } => addresses.note_use(),
            Transport::Unix(_) => {}
        }
    }

    /// The addresses that connections are opened to; none of a Unix socket, or of a name before its first lookup.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        match &self.transport {
            Transport::Tcp(addresses)
            | Transport::H2c(addresses)
            | Transport::Tls { addresses, .. } => addresses.known(),
            Transport::Unix(_) => Vec::new(),
        }
    }

    /// Opens a connection within `timeout`: name, connection and TLS.
    ///
    /// # Errors
    /// The endpoint has no address, refuses connections, has an untrusted certificate, does not speak the
    /// protocol, or none of it in time; or the process has reached its limit of open files.
    pub(super) async fn open(
        &self,
        offer: Offer,
        timeout: Duration,
    ) -> io::Result<(Wire, Negotiated)> {
        let opened = clock::timeout(timeout, self.open_unbounded(offer, timeout)).await;
        opened.unwrap_or_else(|_| {
            let message = "connect_timeout exceeded";
            Err(io::Error::new(io::ErrorKind::TimedOut, message))
        })
    }

    async fn open_unbounded(
        &self,
        offer: Offer,
        timeout: Duration,
    ) -> io::Result<(Wire, Negotiated)> {
        let in_clear_text = match offer {
            Offer::Http1 | Offer::Either => Negotiated::Http1,
            Offer::Http2 => Negotiated::Http2,
        };
        match &self.transport {
            Transport::Tcp(addresses) | Transport::H2c(addresses) => {
                let stream = within_limit(addresses.connect(timeout).await?)?;
                Ok((Wire::Plain(stream), in_clear_text))
            }
            Transport::Unix(path) => {
                let stream = within_limit(UnixStream::connect(path).await?)?;
                Ok((Wire::Unix(stream), in_clear_text))
            }
            Transport::Tls {
                addresses,
                name,
                client,
            } => {
                let invalid =
                    || io::Error::other("the host is no name that a certificate can have");
                let name = name.clone().ok_or_else(invalid)?;
                let stream = within_limit(addresses.connect(timeout).await?)?;
                begin_tls(stream, name, client, offer).await
            }
        }
    }
}

impl std::fmt::Debug for Connector {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Connector").finish_non_exhaustive()
    }
}

async fn begin_tls(
    stream: TcpStream,
    name: ServerName<'static>,
    client: &TlsClient,
    offer: Offer,
) -> io::Result<(Wire, Negotiated)> {
    let connector = match offer {
        Offer::Http1 => &client.http1,
        Offer::Http2 | Offer::Either => &client.any,
    };
    let stream = connector.connect(name, stream).await?;
    let negotiated = match stream.get_ref().1.alpn_protocol() {
        Some(b"h2") => Negotiated::Http2,
        _ => Negotiated::Http1,
    };
    if (offer, negotiated) == (Offer::Http2, Negotiated::Http1) {
        return Err(io::Error::other("the endpoint does not speak HTTP/2"));
    }
    Ok((Wire::Tls(Box::new(stream)), negotiated))
}

/// The stream, unless the remaining descriptors are reserved. The system assigns the lowest free one (POSIX, 2.6).
fn within_limit<S: AsFd>(stream: S) -> io::Result<S> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let ceiling = limit.saturating_sub(RESERVED_DESCRIPTORS);
    let number = stream.as_fd().as_raw_fd();
    if u64::try_from(number).is_ok_and(|number| number >= ceiling) {
        return Err(io::Error::new(
            io::ErrorKind::QuotaExceeded,
            "the remaining file descriptors are reserved for the admin side",
        ));
    }
    Ok(stream)
}
