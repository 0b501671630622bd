//! A conforming HTTP client: HTTP/1.1 with keep-alive, h2c with prior knowledge, and TLS with ALPN. Each [`Client`] is one
//! connection.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Version};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::certs::Authority;
use crate::wait::{PATIENCE, within};

mod request;

use request::Body;
pub use request::{CHAT, ClientRequest, chat_request};

/// The largest response in the tests.
const RESPONSE_BYTES_MAX: usize = 128 << 20;

/// One connection; closed when dropped.
pub struct Client {
    sender: Sender,
    driver: JoinHandle<()>,
    tls: Option<Tls>,
}

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

/// A complete response.
#[derive(Clone, Debug)]
pub struct ClientResponse {
    pub status: u16,
    pub version: Version,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// A response whose head has arrived, and whose body is still arriving.
pub struct StreamingResponse {
    pub status: u16,
    pub version: Version,
    pub headers: HeaderMap,
    incoming: Incoming,
}

/// A body that ended prematurely.
#[derive(Debug)]
pub struct Truncated {
    /// What had arrived by then.
    pub received: Vec<u8>,
    pub reason: String,
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
        let response = async {
            match &mut self.sender {
                Sender::One(sender) => {
                    sender.ready().await?;
                    sender
                        .send_request(request.into_request(Version::HTTP_11))
                        .await
                }
                Sender::Two(sender) => {
                    sender.ready().await?;
                    sender
                        .send_request(request.into_request(Version::HTTP_2))
                        .await
                }
            }
        };
        let response = within("the head of a response", PATIENCE, response).await?;
        let (head, incoming) = response.into_parts();
        Ok(StreamingResponse {
            status: head.status.as_u16(),
            version: head.version,
            headers: head.headers,
            incoming,
        })
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

impl StreamingResponse {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The next chunk of the body; `None` at its end.
    ///
    /// # Errors
    /// The body is truncated.
    ///
    /// # Panics
    /// Nothing arrives in time.
    pub async fn chunk(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = within("more of a response", PATIENCE, self.incoming.frame()).await?;
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                // Trailers are not part of the body.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    /// Reads until the body contains `text`; returns everything read.
    ///
    /// # Panics
    /// The body ends before.
    pub async fn until(&mut self, text: &str) -> String {
        let mut received = String::new();
        while !received.contains(text) {
            let chunk = self
                .chunk()
                .await
                .unwrap_or_else(|| panic!("the response ended before {text:?}: {received:?}"))
                .expect("more of the response");
            received.push_str(&String::from_utf8_lossy(&chunk));
        }
        received
    }

    /// The rest of the body.
    ///
    /// # Errors
    /// The body is truncated.
    ///
    /// # Panics
    /// The body is larger than any response in the tests.
    pub async fn rest(mut self) -> Result<Vec<u8>, Truncated> {
        let mut received = Vec::new();
        while let Some(chunk) = self.chunk().await {
            match chunk {
                Ok(chunk) => received.extend_from_slice(&chunk),
                Err(error) => {
                    return Err(Truncated {
                        received,
                        reason: error.to_string(),
                    });
                }
            }
            assert!(received.len() <= RESPONSE_BYTES_MAX, "an endless response");
        }
        Ok(received)
    }

    /// The complete response.
    ///
    /// # Panics
    /// The body is truncated.
    pub async fn whole(self) -> ClientResponse {
        let (status, version, headers) = (self.status, self.version, self.headers.clone());
        let body = self.rest().await.expect("a complete body").into();
        ClientResponse {
            status,
            version,
            headers,
            body,
        }
    }
}

impl ClientResponse {
    /// The first value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// The body is not JSON.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", self.text()))
    }

    /// The `error.code` of an error response, whose documented format is checked.
    ///
    /// # Panics
    /// The format differs.
    #[must_use]
    pub fn refusal(&self) -> String {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{} {}",
            self.status,
            self.text()
        );
        let problem = self.json();
        assert_eq!(problem["status"], self.status);
        assert_eq!(
            problem["request_id"].as_str(),
            self.header("x-request-id"),
            "{problem}"
        );
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "no {member} in {problem}");
        }
        for member in ["message", "type", "code"] {
            assert!(problem["error"][member].is_string(), "no error.{member}");
        }
        let code = problem["error"]["code"].as_str().expect("a code");
        code.to_owned()
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

impl std::fmt::Debug for StreamingResponse {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Live")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
