//! The listener stage: connections and request heads.
//!
//! weir accepts connections, terminates TLS with rustls and speaks HTTP/1 itself; pingora speaks HTTP/2, and
//! its runtimes serve both. This module limits the number of connections and the size and duration of a
//! request head, and hands each request to the gateway as a `Session`. It never interprets the content of a
//! request.

use std::net::{SocketAddr, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pingora::server::ShutdownWatch;
use tokio_rustls::TlsAcceptor;

use crate::clock::{self, DeadlineTimer};
use crate::gateway::{Gateway, Served};
use crate::handover_flag::HandoverFlag;
use crate::http::Connection;
use crate::http::Limits;
use crate::http::connections::{Admission, Connections};
use crate::http::head::{self, Expect, HeadOutcome, IdleDrain};
use crate::http::http1::Http1;
use crate::http::refused::refusal_of;
use crate::http::session::Session;
use crate::http::socket::{ClientStream, Protocol};
use crate::refusal::{ErrorCode, Refusal};

pub(crate) mod accept;
pub(crate) mod descriptors;
pub(crate) mod handover;
mod http2;
mod linger;
pub(crate) mod tls;

use linger::{LingerTime, linger};

/// Serves every connection.
pub struct Listener {
    http: Arc<Http>,
    connections: Arc<Connections>,
    limits: Limits,
    /// How long a drain may take.
    drain: Duration,
    /// Set when another process has taken over.
    handed_over: Arc<HandoverFlag>,
}

/// What HTTP/1 and HTTP/2 connections share.
struct Http {
    gateway: Arc<Gateway>,
    /// How long a connection over HTTP/2 may have no request in flight.
    idle_timeout: Duration,
    connections: Arc<Connections>,
    header_bytes: usize,
    /// How long a client may not read its response.
    write_timeout: Duration,
}

impl Listener {
    pub(crate) fn new(
        gateway: Arc<Gateway>,
        connections: Arc<Connections>,
        limits: &Limits,
        (drain, handed_over): (Duration, Arc<HandoverFlag>),
    ) -> Self {
        Listener {
            http: Arc::new(Http {
                gateway,
                connections: connections.clone(),
                header_bytes: limits.header_bytes,
                idle_timeout: limits.idle_timeout,
                write_timeout: limits.idle_timeout,
            }),
            connections,
            limits: limits.clone(),
            drain,
            handed_over,
        }
    }

    /// Serves one connection from its first byte to its end. Large futures that are not always needed are
    /// boxed: most connections are idle most of the time.
    async fn connection(
        self: Arc<Self>,
        client: TcpStream,
        peer: SocketAddr,
        tls: Option<TlsAcceptor>,
        admission: Admission,
        shutdown: ShutdownWatch,
    ) {
        let scheme = scheme(tls.is_some());
        let Some(stream) = self.open(client, tls).await else {
            return;
        };
        let mut connection = Connection::new(peer.ip().to_canonical(), scheme);
        let open = match admission {
            Admission::Open(open) => open,
            Admission::Refused(_refused) => {
                return Box::pin(self.refuse(stream, &connection, &shutdown)).await;
            }
            Admission::Full => return,
        };
        let slot = open.into_slot();
        connection.slot = Some(slot.clone());
        match stream.protocol() {
            Protocol::Http2 => {
                self.http2(stream, Bytes::new(), connection, &shutdown)
                    .await;
            }
            Protocol::Http1 => self.http1(stream, connection, &shutdown).await,
        }
        // Detached requests may still share it.
        slot.release();
    }

    /// Opens the connection below HTTP. A TLS handshake has the same deadline as a request head.
    async fn open(&self, client: TcpStream, tls: Option<TlsAcceptor>) -> Option<ClientStream> {
        // A failure costs nothing but latency.
        let _ = client.set_nodelay(true);
        let tcp = tokio::net::TcpStream::from_std(client).ok()?;
        let Some(tls) = tls else {
            return Some(ClientStream::tcp(tcp));
        };
        let handshake = async {
            // The handshake allocates buffers, which are not needed while the client is silent.
            tcp.readable().await?;
            Box::pin(tls.accept(tcp)).await
        };
        match clock::timeout(self.limits.header_timeout, handshake).await {
            Ok(Ok(stream)) => Some(ClientStream::tls(stream)),
            Ok(Err(error)) => {
                log::debug!("a TLS handshake failed: {error}");
                None
            }
            Err(_) => None,
        }
    }

    /// Serves one HTTP/1 connection, request after request.
    async fn http1(&self, stream: ClientStream, connection: Connection, shutdown: &ShutdownWatch) {
        let mut shutdown_begun = pin!(head::shutdown_begun(shutdown.clone()));
        let mut idle_drain = IdleDrain::new(
            shutdown_begun.as_mut(),
            (self.drain, &self.handed_over),
            clock::now(),
        );
        let mut timer = DeadlineTimer::default();
        let mut http1 = Http1::new(stream, self.http.write_timeout);
        let mut expect = match connection.scheme {
            "http" => Expect::Http1OrPreface,
            _ => Expect::Http1,
        };
        loop {
            // Pipelined requests must not monopolise the worker.
            tokio::task::consume_budget().await;
            let (stream, arrived) = http1.parts_to_read();
            let head = head::read(
                stream,
                arrived,
                expect,
                &self.limits,
                &mut timer,
                &mut idle_drain,
            )
            .await;
            expect = Expect::Http1;
            let end = match head {
                HeadOutcome::Complete(end) => end,
                HeadOutcome::Closed => return,
                HeadOutcome::Http2 => {
                    let (_, preface) = http1.parts_to_read();
                    let preface = preface.split().freeze();
                    let stream = http1.into_stream();
                    return self.http2(stream, preface, connection, shutdown).await;
                }
                HeadOutcome::Invalid(error) => {
                    let refusal = refusal_of(&error, &self.limits);
                    let refusing = self.http.refuse_head(http1, &connection, refusal, shutdown);
                    return Box::pin(refusing).await;
                }
            };
            let serving = self.http.http1_request(http1, &connection, end, shutdown);
            match Box::pin(serving).await {
                Some(next) => http1 = next,
                None => return,
            }
            idle_drain.responded(clock::now());
        }
    }

    /// Serves one HTTP/2 connection, after its first bytes were `read`.
    async fn http2(
        &self,
        stream: ClientStream,
        read: Bytes,
        connection: Connection,
        shutdown: &ShutdownWatch,
    ) {
        let stream = stream.into_http2(read, self.connections.clone());
        Box::pin(http2::serve(&self.http, connection, stream, shutdown)).await;
    }

    /// Rejects a connection beyond the limit.
    async fn refuse(
        &self,
        stream: ClientStream,
        connection: &Connection,
        shutdown: &ShutdownWatch,
    ) {
        let refusal = Refusal::new(
            ErrorCode::TooManyConnections,
            "the number of open connections has reached limits.connections",
        )
        .retry_after(1);
        let http1 = Http1::new(stream, self.http.write_timeout);
        let stream = self.http.refuse_unread(http1, connection, refusal).await;
        if let Some(stream) = stream {
            linger(stream, LingerTime::Short, &self.connections, shutdown).await;
        }
    }
}

impl Http {
    /// Serves one HTTP/1 request whose head has arrived. Returns the connection when it can be reused.
    async fn http1_request(
        self: &Arc<Self>,
        mut http1: Box<Http1>,
        connection: &Connection,
        end: usize,
        shutdown: &ShutdownWatch,
    ) -> Option<Box<Http1>> {
        let started = clock::now();
        if let Err(refusal) = http1.parse_head(end) {
            self.refuse_head(http1, connection, refusal, shutdown).await;
            return None;
        }
        let mut session = Session::of_http1(http1);
        let served = self
            .gateway
            .serve(&mut session, connection, started, shutdown);
        let served = served.await;
        let http1 = session.into_http1()?;
        match served {
            Served::Whole if http1.keeps_alive() => Some(http1),
            Served::Whole if !http1.has_unread() => {
                http1.close().await;
                None
            }
            Served::Whole | Served::Unread => {
                let stream = http1.into_stream();
                linger(stream, LingerTime::Full, &self.connections, shutdown).await;
                None
            }
            Served::Broken => None,
        }
    }

    /// Rejects a request whose head is incomplete or invalid.
    async fn refuse_head(
        &self,
        http1: Box<Http1>,
        connection: &Connection,
        refusal: Refusal,
        shutdown: &ShutdownWatch,
    ) {
        let stream = self.refuse_unread(http1, connection, refusal).await;
        if let Some(stream) = stream {
            linger(stream, LingerTime::Full, &self.connections, shutdown).await;
        }
    }

    /// Rejects the request without closing the connection.
    async fn refuse_unread(
        &self,
        http1: Box<Http1>,
        connection: &Connection,
        refusal: Refusal,
    ) -> Option<ClientStream> {
        let started = clock::now();
        // All that an event can report about a request that was not parsed.
        let first_line = head::first_line(http1.raw_head());
        let mut session = Session::of_http1(http1);
        self.gateway
            .refuse_unread(&mut session, connection, &first_line, refusal, started)
            .await;
        Some(session.into_http1()?.into_stream())
    }
}

fn scheme(tls: bool) -> &'static str {
    if tls { "https" } else { "http" }
}
