//! Opens connections to endpoints: TCP, TLS with verified certificates, within a time for all of it,
//! which is noted on the connection.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Extensions, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::clock;

/// What all connectors share: the roots that certificates are checked against.
#[derive(Clone)]
pub struct Connect {
    tls: Arc<ClientConfig>,
}

impl Connect {
    /// Trusts the system's roots (or those of `SSL_CERT_FILE`). A system without any trusts nobody:
    /// then no `https` endpoint can be reached, and the log says why.
    #[must_use]
    pub fn with_system_roots() -> Self {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = rustls::RootCertStore::empty();
        let (_, ignored) = roots.add_parsable_certificates(found.certs);
        if roots.is_empty() || ignored > 0 {
            log::warn!(
                "{} root certificates of the system are trusted, {ignored} could not be read",
                roots.len()
            );
        }
        let tls = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Connect { tls: Arc::new(tls) }
    }

    pub(super) fn connector(&self, timeout: Duration) -> Connector {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        let inner = HttpsConnectorBuilder::new()
            .with_tls_config((*self.tls).clone())
            .https_or_http()
            .enable_all_versions()
            .wrap_connector(http);
        Connector { inner, timeout }
    }

    /// The same trust for pingora's own proxying.
    #[must_use]
    pub fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }
}

/// The connector of one backend.
#[derive(Clone)]
pub struct Connector {
    inner: HttpsConnector<HttpConnector>,
    timeout: Duration,
}

/// How long a connection took to open; told once, to the first exchange on it.
#[derive(Clone, Debug)]
struct OpenedIn {
    took: Duration,
    told: Arc<AtomicBool>,
}

/// How long opening the connection of this answer took; `None` when it was open already.
#[must_use]
pub fn time_of_new_connection(extensions: &Extensions) -> Option<Duration> {
    let opened = extensions.get::<OpenedIn>()?;
    let told = opened.told.swap(true, Ordering::Relaxed);
    (!told).then_some(opened.took)
}

type Inner = MaybeHttpsStream<TokioIo<TcpStream>>;
type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An open connection that knows how long opening it took.
pub struct Timed {
    stream: Inner,
    opened: OpenedIn,
}

impl Service<Uri> for Connector {
    type Response = Timed;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Timed, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let begun = clock::now();
        let connecting = self.inner.call(uri);
        let timeout = self.timeout;
        Box::pin(async move {
            let stream = pingora::time::timeout(timeout, connecting)
                .await
                .map_err(|_| {
                    io::Error::new(io::ErrorKind::TimedOut, "connect_timeout is over")
                })??;
            let opened = OpenedIn {
                took: clock::now().saturating_duration_since(begun),
                told: Arc::default(),
            };
            Ok(Timed { stream, opened })
        })
    }
}

impl Connection for Timed {
    fn connected(&self) -> Connected {
        self.stream.connected().extra(self.opened.clone())
    }
}

impl Read for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl Write for Timed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
