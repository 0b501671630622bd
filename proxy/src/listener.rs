//! Stage zero: connections and the heads of requests.
//!
//! pingora accepts connections, does TLS and speaks HTTP/2; weir speaks HTTP/1 itself. This room bounds
//! how many connections there are, how large and how slow a head may be, and hands each request to the
//! gateway as a `session::Session`. It never looks at what a request asks for.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::HeaderValue;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{ALPN, Stream};
use pingora::server::ShutdownWatch;

use crate::clock::{self, Patience};
use crate::config::Limits;
use crate::gateway::{Gateway, Served};
use crate::record::metrics::{Counted, Gauges};
use crate::refusal::{ErrorCode, Refusal};

pub(crate) mod answer_head;
pub mod connections;
mod head;
pub(crate) mod http1;
pub(crate) mod refused;
pub(crate) mod relay;
pub(crate) mod session;
pub(crate) mod tls;

use connections::Connections;
use head::{Expect, Head};
use http1::Http1;
use refused::{linger, refusal_of};
use session::Session;

/// How long a cut answer's last bytes get to leave before its HTTP/2 stream is reset.
const BEFORE_RESET: Duration = Duration::from_millis(20);

/// What is known of a connection before its first request.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) peer: IpAddr,
    /// The peer's address as a value for `X-Forwarded-For`.
    pub(crate) peer_text: HeaderValue,
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
    options: HttpServerOptions,
    header_bytes: usize,
    /// How long a client may leave its answer unread.
    write_timeout: Duration,
}

impl Listener {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
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
                options,
                header_bytes: limits.header_bytes,
                write_timeout: limits.idle_timeout,
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
            let http1 = Http1::new(stream, self.http.write_timeout);
            self.http.refuse_head(http1, &connection, refusal).await;
            return None;
        };
        let _counted = Counted::on(&self.gauges.connections);
        if matches!(stream.selected_alpn_proto(), Some(ALPN::H2)) {
            return self.http.process_new(stream, shutdown).await;
        }
        self.http1(stream, &connection, shutdown).await;
        None
    }
}

impl Listener {
    /// One HTTP/1 connection: requests one after another.
    async fn http1(&self, stream: Stream, connection: &Connection, shutdown: &ShutdownWatch) {
        let mut stopping = pin!(head::stop(shutdown.clone()));
        let mut patience = Patience::default();
        let mut http1 = Http1::new(stream, self.http.write_timeout);
        let mut expect = match connection.scheme {
            "http" => Expect::Http1OrPreface,
            _ => Expect::Http1,
        };
        loop {
            // Requests that have arrived together must not keep the worker to themselves.
            tokio::task::consume_budget().await;
            let (stream, arrived) = http1.parts_to_read();
            let head = head::read(
                stream,
                arrived,
                expect,
                &self.limits,
                &mut patience,
                stopping.as_mut(),
            )
            .await;
            expect = Expect::Http1;
            let end = match head {
                Head::Complete(end) => end,
                Head::Closed => return,
                Head::Http2 => return self.http2(http1, shutdown).await,
                Head::Flawed(flaw) => {
                    let refusal = refusal_of(&flaw, &self.limits);
                    return self.http.refuse_head(http1, connection, refusal).await;
                }
            };
            match self
                .http
                .http1_request(http1, connection, end, shutdown)
                .await
            {
                Some(next) => http1 = next,
                None => return,
            }
        }
    }

    /// A clear-text connection that began with the preface of HTTP/2.
    async fn http2(&self, mut http1: Box<Http1>, shutdown: &ShutdownWatch) {
        let (_, preface) = http1.parts_to_read();
        let preface = preface.split();
        if let Some(stream) = rewound(http1.into_stream(), &preface) {
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
    /// again.
    async fn http1_request(
        self: &Arc<Self>,
        mut http1: Box<Http1>,
        connection: &Connection,
        end: usize,
        shutdown: &ShutdownWatch,
    ) -> Option<Box<Http1>> {
        let started = clock::now();
        if let Err(refusal) = http1.begin(end) {
            self.refuse_head(http1, connection, refusal).await;
            return None;
        }
        let mut session = Session::Http1(http1);
        let served = self
            .gateway
            .serve(&mut session, connection, started, shutdown);
        let served = served.await;
        let Session::Http1(http1) = session else {
            return None;
        };
        match served {
            Served::Whole if http1.keeps_alive() => Some(http1),
            Served::Whole => {
                http1.close().await;
                None
            }
            Served::Refused => {
                linger(http1.into_stream()).await;
                None
            }
            Served::Broken => None,
        }
    }

    /// Refuses a request whose head did not come whole, or says what cannot be.
    async fn refuse_head(&self, http1: Box<Http1>, connection: &Connection, refusal: Refusal) {
        let started = clock::now();
        // All that an event can say of a request that was not parsed.
        let first_line = head::first_line(http1.raw_head());
        let mut session = Session::Http1(http1);
        self.gateway
            .refuse_unread(&mut session, connection, &first_line, refusal, started)
            .await;
        if let Session::Http1(http1) = session {
            linger(http1.into_stream()).await;
        }
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
        session.set_write_timeout(Some(self.write_timeout));
        let mut session = Session::of_http2(Box::new(session));
        let served = self
            .gateway
            .serve(&mut session, &connection, started, shutdown);
        let served = served.await;
        let Session::Http2(mut http2) = session else {
            return None;
        };
        match served {
            Served::Whole | Served::Refused => {
                // An error means that the client is gone; the exchange has been recorded.
                let _ = http2.finish().await;
            }
            Served::Broken => {
                // A reset overtakes what the connection's own task, perhaps another worker's, has not
                // written to the socket yet. With this the client sees how far the answer came.
                tokio::time::sleep(BEFORE_RESET).await;
                http2.shutdown().await;
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
    fn new(peer: IpAddr, scheme: &'static str) -> Self {
        // An address is ASCII.
        let text = HeaderValue::try_from(peer.to_string());
        Connection {
            peer,
            peer_text: text.unwrap_or_else(|_| HeaderValue::from_static("unknown")),
            scheme,
        }
    }

    fn of(stream: &Stream) -> Self {
        let digest = stream.get_socket_digest();
        let peer = ip(digest.as_ref().and_then(|digest| digest.peer_addr()));
        Connection::new(peer, scheme(stream.get_ssl_digest().is_some()))
    }

    fn of_session(session: &ServerSession) -> Self {
        let digest = session.digest();
        let tls = digest.is_some_and(|digest| digest.ssl_digest.is_some());
        Connection::new(ip(session.client_addr()), scheme(tls))
    }
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}

fn ip(address: Option<&pingora::protocols::l4::socket::SocketAddr>) -> IpAddr {
    address
        .and_then(|address| address.as_inet())
        .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| {
            address.ip().to_canonical()
        })
}
