//! Opens connections to endpoints: TCP, and TLS with verified certificates.

use std::io;
use std::os::fd::{AsRawFd, RawFd};

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use rustix::process::{Resource, getrlimit};
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

/// An open connection.
pub type UpstreamStream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Opens connections; cloning shares the roots that certificates are checked against.
#[derive(Clone)]
pub struct Connect {
    http1: HttpsConnector<HttpConnector>,
    http2: HttpsConnector<HttpConnector>,
}

/// The last file descriptors are reserved for the admin side.
const RESERVED_DESCRIPTORS: u64 = 12;

/// The protocol of a connection. Over TLS it is negotiated (ALPN); in clear text the endpoint must expect it
/// (RFC 9113, section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamProtocol {
    Http1,
    Http2,
}

impl Connect {
    /// Trusts the system's roots (or those of `SSL_CERT_FILE`). Without any, no `https` endpoint can be reached,
    /// which is logged.
    #[must_use]
    pub fn with_system_roots() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = rustls::RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() || ignored > 0 {
            log::warn!(
                "{} root certificates of the system are trusted, {ignored} could not be parsed",
                roots.len()
            );
        }
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let builder = || HttpsConnectorBuilder::new().with_tls_config(tls.clone());
        Connect {
            http1: builder()
                .https_or_http()
                .enable_http1()
                .wrap_connector(http.clone()),
            http2: builder()
                .https_or_http()
                .enable_http2()
                .wrap_connector(http),
        }
    }

    /// Opens a connection to the host of `uri`. The caller bounds the time.
    ///
    /// # Errors
    /// The host has no address, refuses connections, or has an untrusted certificate, or the process has reached
    /// its limit of open files.
    pub async fn open(&self, uri: &Uri, protocol: UpstreamProtocol) -> io::Result<UpstreamStream> {
        let mut connector = match protocol {
            UpstreamProtocol::Http1 => self.http1.clone(),
            UpstreamProtocol::Http2 => self.http2.clone(),
        };
        let stream = connector
            .call(uri.clone())
            .await
            .map_err(io::Error::other)?;
        // The system assigns the lowest free descriptor (POSIX, 2.6).
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let ceiling = limit.saturating_sub(RESERVED_DESCRIPTORS);
        if u64::try_from(descriptor(&stream)).is_ok_and(|number| number >= ceiling) {
            return Err(io::Error::other(
                "the remaining file descriptors are reserved for the admin side",
            ));
        }
        Ok(stream)
    }
}

fn descriptor(stream: &UpstreamStream) -> RawFd {
    match stream {
        MaybeHttpsStream::Http(tcp) => tcp.inner().as_raw_fd(),
        MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner().as_raw_fd(),
    }
}
