//! A conforming HTTP client: HTTP/1.1 with keep-alive, h2c with prior knowledge, and TLS with ALPN. Each [`Client`] is one
//! connection.

use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::TryFutureExt as _;
use futures_util::future::BoxFuture;
use http::Version;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::backend::{Backend, PendingRequest};
use crate::certs::Authority;
use crate::wait::{PATIENCE, within};

mod request;
mod response;

use request::Body;
pub use request::{CHAT, ClientRequest, chat_request};
pub use response::{ClientResponse, StreamingResponse, Truncated};

/// One connection; closed when dropped.
pub struct Client {
    sender: Sender,
    driver: JoinHandle<()>,
    tls: Option<Tls>,
}

/// The wait for the head of a response.
pub type ResponseHead = BoxFuture<'static, Result<StreamingResponse, hyper::Error>>;

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

/// What a TLS handshake negotiated.
#[derive(Clone, Debug)]
pub struct Tls {
    /// The negotiated protocol: `h2`, `http/1.1`.
    pub alpn: Option<String>,
    /// The certificate of the server.
    pub leaf: CertificateDer<'static>,
}

/// Sends a request over HTTP/1.1 on a new connection.
///
/// # Panics
/// There is no complete response.
pub async fn send(address: SocketAddr, request: ClientRequest) -> ClientResponse {
    Client::h1(address).await.send(request).await
}

impl Client {
    /// HTTP/1.1 without TLS.
    ///
    /// # Panics
    /// The connection cannot be opened.
    pub async fn h1(address: SocketAddr) -> Self {
        Self::http1(connect(address).await, None).await
    }

    /// HTTP/2 without TLS, with prior knowledge.
    ///
    /// # Panics
    /// The connection cannot be opened.
    pub async fn h2(address: SocketAddr) -> Self {
        Self::http2(connect(address).await, None).await
    }

    /// TLS, trusting only `authority`; the server chooses a protocol of `alpn`.
    ///
    /// # Panics
    /// The handshake fails.
    pub async fn tls(address: SocketAddr, authority: &Authority, alpn: &[&str]) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(authority.certificate().clone())
            .expect("the authority's certificate");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").expect("a server name");
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, connect(address).await)
            .await
            .expect("a TLS handshake");
        let (_, session) = stream.get_ref();
        let alpn = session
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned());
        let leaf = session.peer_certificates().expect("a certificate")[0]
            .clone()
            .into_owned();
        let http2 = alpn.as_deref() == Some("h2");
        let tls = Some(Tls { alpn, leaf });
        if http2 {
            Self::http2(stream, tls).await
        } else {
            Self::http1(stream, tls).await
        }
    }

    async fn http1<S>(stream: S, tls: Option<Tls>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("an HTTP/1.1 connection");
        let driver = tokio::spawn(async move {
            let _ = connection.with_upgrades().await;
        });
        Client {
            sender: Sender::One(sender),
            driver,
            tls,
        }
    }

    async fn http2<S>(stream: S, tls: Option<Tls>) -> Self
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .expect("an HTTP/2 connection");
        let driver = tokio::spawn(async move {
            let _ = connection.await;
        });
        Client {
            sender: Sender::Two(sender),
            driver,
            tls,
        }
    }

    /// # Panics
    /// The connection does not use TLS.
    #[must_use]
    pub fn negotiated(&self) -> &Tls {
        self.tls.as_ref().expect("a connection over TLS")
    }

    /// Sends a request, and waits for the head of the response.
    ///
    /// # Errors
    /// The connection ends first.
    ///
    /// # Panics
    /// Neither happens in time, or the request is invalid.
    pub async fn try_open(
        &mut self,
        request: ClientRequest,
    ) -> Result<StreamingResponse, hyper::Error> {
        let response = async { self.begin(request).await?.await };
        within("the head of a response", PATIENCE, response).await
    }

    /// Sends a request, and returns the wait for the head of its response. Over HTTP/2, many may be in flight.
    ///
    /// # Errors
    /// The connection has ended.
    pub async fn begin(&mut self, request: ClientRequest) -> Result<ResponseHead, hyper::Error> {
        let sent: BoxFuture<'static, _> = match &mut self.sender {
            Sender::One(sender) => {
                sender.ready().await?;
                Box::pin(sender.send_request(request.into_request(Version::HTTP_11)))
            }
            Sender::Two(sender) => {
                sender.ready().await?;
                Box::pin(sender.send_request(request.into_request(Version::HTTP_2)))
            }
        };
        let response = sent.map_ok(|response| {
            let (head, incoming) = response.into_parts();
            StreamingResponse {
                status: head.status.as_u16(),
                version: head.version,
                headers: head.headers,
                incoming,
            }
        });
        Ok(Box::pin(response))
    }

    /// Opens a chat stream whose first token has arrived.
    ///
    /// # Panics
    /// As [`Client::open`], and if the backend gets no request.
    pub async fn begin_stream(
        &mut self,
        backend: &Backend,
        token: &str,
    ) -> (StreamingResponse, PendingRequest) {
        let request = ClientRequest::chat_stream("hi");
        let (mut streaming, mut call) = backend.open_stream(self, request).await;
        call.token(token).await;
        streaming.until(token).await;
        (streaming, call)
    }

    /// As [`Client::try_open`].
    ///
    /// # Panics
    /// Also if the connection ends first.
    pub async fn open(&mut self, request: ClientRequest) -> StreamingResponse {
        self.try_open(request)
            .await
            .expect("the head of a response")
    }

    /// Sends a request, and reads the complete response.
    ///
    /// # Panics
    /// The response is incomplete.
    pub async fn send(&mut self, request: ClientRequest) -> ClientResponse {
        self.open(request).await.whole().await
    }

    /// Waits until a request can be sent; false when the server has closed the connection, or announced its end.
    pub async fn is_open(&mut self) -> bool {
        match &mut self.sender {
            Sender::One(sender) => sender.ready().await.is_ok(),
            Sender::Two(sender) => sender.ready().await.is_ok(),
        }
    }

    /// Whether the server closes the connection in time.
    pub async fn closed(&mut self) -> bool {
        tokio::time::timeout(PATIENCE, &mut self.driver)
            .await
            .is_ok()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn connect(address: SocketAddr) -> TcpStream {
    let stream = within("a connection", PATIENCE, TcpStream::connect(address))
        .await
        .expect("a connection to the proxy");
    stream.set_nodelay(true).expect("TCP_NODELAY");
    stream
}

impl std::fmt::Debug for Client {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Client")
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}
