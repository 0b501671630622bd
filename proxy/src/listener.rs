//! Stage zero: connections and the heads of requests.
//!
//! pingora accepts connections, does TLS and speaks HTTP; this room bounds how many there are, how
//! large and how slow a head may be, and hands each request to the gateway. It never looks at what a
//! request asks for.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::header;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::clock;
use crate::config::Limits;
use crate::gateway::passed::{self, Passed};
use crate::gateway::{Gateway, Passage, Served};
use crate::record::metrics::{Counted, Gauges};
use crate::refusal::{ErrorCode, Refusal};

mod chunks;
pub mod connections;
mod head;
pub(crate) mod refused;
pub(crate) mod tls;

use connections::Connections;
use head::{Expect, Head};
use refused::{linger, refusal_of, refusal_of_parser};

/// How long a cut answer's last bytes get to leave before its HTTP/2 stream is reset.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// What is known of a connection before its first request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) peer: IpAddr,
    pub(crate) scheme: &'static str,
}

/// The application that pingora's service runs for every connection.
pub struct Listener {
    http: Arc<Http>,
    connections: Arc<Connections>,
    gauges: Gauges,
    limits: Limits,
}

/// What both versions of HTTP share.
struct Http {
    gateway: Arc<Gateway>,
    passed: Arc<HttpProxy<Passed>>,
    options: HttpServerOptions,
    header_bytes: usize,
}

impl Listener {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        passed: Arc<HttpProxy<Passed>>,
        connections: Arc<Connections>,
        gauges: &Gauges,
        limits: &Limits,
    ) -> Self {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        options.h2_idle_timeout = Some(limits.idle_timeout);
        Listener {
            http: Arc::new(Http {
                gateway,
                passed,
                options,
                header_bytes: limits.header_bytes,
            }),
            connections,
            gauges: gauges.clone(),
            limits: limits.clone(),
        }
    }
}

#[async_trait]
impl ServerApp for Listener {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let connection = Connection::of(&stream);
        let Some(_open) = self.connections.enter() else {
            let refusal = Refusal::new(
                ErrorCode::TooManyConnections,
                "as many connections as limits.connections allows are open",
            )
            .retry_after(1);
            self.http
                .refuse_head(stream, connection, &[], refusal)
                .await;
            return None;
        };
        let _counted = Counted::on(&self.gauges.connections);
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            return self.http.process_new(stream, shutdown).await;
        }
        self.http1(stream, connection, shutdown).await;
        None
    }
}

impl Listener {
    /// One HTTP/1 connection: requests one after another.
    async fn http1(&self, mut stream: Stream, connection: Connection, shutdown: &ShutdownWatch) {
        let mut stopping = shutdown.clone();
        let mut behind = BytesMut::new();
        let mut expect = match connection.scheme {
            "http" => Expect::Http1OrPreface,
            _ => Expect::Http1,
        };
        let idle = self.limits.idle_timeout;
        loop {
            let head = head::read(
                &mut stream,
                behind,
                expect,
                &self.limits,
                idle,
                &mut stopping,
            )
            .await;
            expect = Expect::Http1;
            let (bytes, end) = match head {
                Head::Complete { bytes, end } => (bytes, end),
                Head::Closed => return,
                Head::Http2(bytes) => return self.http2(stream, &bytes, shutdown).await,
                other => {
                    let (bytes, refusal) = refusal_of(other, &self.limits);
                    return self
                        .http
                        .refuse_head(stream, connection, &bytes, refusal)
                        .await;
                }
            };
            match self
                .http
                .http1_request(stream, connection, bytes, end, shutdown)
                .await
            {
                Some((next, rest)) => (stream, behind) = (next, rest),
                None => return,
            }
        }
    }

    /// A clear-text connection that began with the preface of HTTP/2.
    async fn http2(&self, stream: Stream, preface: &[u8], shutdown: &ShutdownWatch) {
        if let Some(stream) = rewound(stream, preface) {
            self.http.process_new(stream, shutdown).await;
        }
    }
}

/// A connection whose first bytes can be read once more.
fn rewound(stream: Stream, bytes: &[u8]) -> Option<Stream> {
    let mut tcp = stream.into_any().downcast::<TcpStream>().ok()?;
    tcp.rewind(bytes);
    Some(tcp)
}

impl Http {
    /// One HTTP/1 request whose head has arrived. Gives the connection back when it can be used
    /// again, with what was read behind this request.
    async fn http1_request(
        self: &Arc<Self>,
        stream: Stream,
        connection: Connection,
        bytes: BytesMut,
        end: usize,
        shutdown: &ShutdownWatch,
    ) -> Option<(Stream, BytesMut)> {
        let started = clock::now();
        let behind_head = Bytes::copy_from_slice(&bytes[end..]);
        // All that an event can say of a request that pingora's parser refuses.
        let first_line = head::first_line(&bytes[..end]);
        let mut session = ServerSession::new_http1(stream);
        session.set_keepalive(Some(0));
        session.set_pipelining_enabled(true);
        session.set_pipelined_prefix(bytes);
        if let Err(error) = session.read_request().await {
            let refusal = refusal_of_parser(&error);
            self.gateway
                .refuse_unread(&mut session, connection, &first_line, refusal, started)
                .await;
            linger(session).await;
            return None;
        }
        if session.get_header(header::TRANSFER_ENCODING).is_some() {
            // What pingora's parser leaves over of a malformed body must never be served as a
            // request; see `chunks`.
            session.set_pipelining_enabled(false);
            if let Some(flaw) = chunks::flaw(&behind_head) {
                let refusal = Refusal::new(ErrorCode::BadRequest, flaw);
                self.gateway
                    .refuse_unread(&mut session, connection, &first_line, refusal, started)
                    .await;
                linger(session).await;
                return None;
            }
        }
        match self
            .gateway
            .serve(&mut session, connection, started, shutdown)
            .await
        {
            Served::Whole => {
                let (stream, behind) = session.finish().await.ok()??.into_parts();
                Some((stream, behind.unwrap_or_default()))
            }
            Served::Refused => {
                linger(session).await;
                None
            }
            Served::Broken => None,
            Served::Pass(passage) => self
                .pass(session, &behind_head, passage, shutdown)
                .await
                .map(|s| (s, BytesMut::new())),
        }
    }

    /// Gives a request to pingora's own proxying. Its parser gets the head once more, followed by
    /// what had been read behind it.
    async fn pass(
        self: &Arc<Self>,
        session: ServerSession,
        behind_head: &[u8],
        passage: Box<Passage>,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut session = match session {
            ServerSession::H1(http1) => {
                let head = http1.get_headers_raw_bytes();
                let mut bytes = BytesMut::with_capacity(head.len() + behind_head.len());
                bytes.extend_from_slice(&head);
                bytes.extend_from_slice(behind_head);
                let mut again = ServerSession::new_http1(http1.into_inner());
                again.set_keepalive(Some(0));
                again.set_pipelined_prefix(bytes);
                again
            }
            other => other,
        };
        passed::hand_over(&mut session, passage);
        let reused = self.passed.process_new_http(session, shutdown).await?;
        Some(reused.consume().0)
    }

    /// Refuses a request whose head did not come whole.
    async fn refuse_head(
        &self,
        stream: Stream,
        connection: Connection,
        bytes: &[u8],
        refusal: Refusal,
    ) {
        let mut session = ServerSession::new_http1(stream);
        self.gateway
            .refuse_unread(&mut session, connection, bytes, refusal, clock::now())
            .await;
        linger(session).await;
    }
}

#[async_trait]
impl HttpServerApp for Http {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let started = clock::now();
        let connection = Connection::of_session(&session);
        match self
            .gateway
            .serve(&mut session, connection, started, shutdown)
            .await
        {
            Served::Whole | Served::Refused => {
                // An error means that the client is gone; the exchange has been recorded.
                let _ = session.finish().await;
            }
            Served::Broken => {
                // A reset overtakes what the connection's own task, perhaps another worker's, has not
                // written to the socket yet. With this the client sees how far the answer came.
                tokio::time::sleep(BEFORE_RESET).await;
                session.shutdown().await;
            }
            Served::Pass(passage) => {
                self.pass(session, &[], passage, shutdown).await;
            }
        }
        None
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        // h2 answers 431 by itself past this; the gateway does it, with an event, past the limit.
        let bytes = u32::try_from(self.header_bytes.saturating_mul(4)).unwrap_or(u32::MAX);
        options.max_header_list_size(bytes);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

impl Connection {
    fn of(stream: &Stream) -> Self {
        let digest = stream.get_socket_digest();
        Connection {
            peer: ip(digest.as_ref().and_then(|digest| digest.peer_addr())),
            scheme: match stream.get_ssl_digest() {
                Some(_) => "https",
                None => "http",
            },
        }
    }

    fn of_session(session: &ServerSession) -> Self {
        let tls = session
            .digest()
            .is_some_and(|digest| digest.ssl_digest.is_some());
        Connection {
            peer: ip(session.client_addr()),
            scheme: if tls { "https" } else { "http" },
        }
    }
}

fn ip(address: Option<&pingora::protocols::l4::socket::SocketAddr>) -> IpAddr {
    address
        .and_then(|address| address.as_inet())
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| {
            address.ip().to_canonical()
        })
}
