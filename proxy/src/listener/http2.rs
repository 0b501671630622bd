//! A client that speaks HTTP/2: pingora's implementation, within weir's own limits.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{
    H2Accept, H2Options, HttpSession, default_h2_options, handshake,
};
use pingora::protocols::{Digest, GetProxyDigest, GetSocketDigest, GetTimingDigest, Ssl};
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;

use super::Http;
use crate::clock;
use crate::gateway::Served;
use crate::http::session::Session;
use crate::http::socket::ClientStream;
use crate::http::{Connection, head};

/// How long the last bytes of a truncated response have to be sent before its HTTP/2 stream is reset.
const BEFORE_RESET: Duration = Duration::from_millis(20);
/// How many streams of a connection may be reset for protocol errors of its client (MadeYouReset,
/// CVE-2025-8671).
const LOCAL_RESETS_MAX: usize = 12;
/// How many streams that were reset within the last second are remembered. The body of a request that was rejected
/// early may still arrive: on a remembered stream it is ignored, on a forgotten one it is a protocol error of the client.
const RESET_STREAMS_MAX: usize = 4096;
/// How many malformed requests end a connection.
const MALFORMED_MAX: usize = 32;
/// How long an idle client has to act on the GOAWAY of a drain.
const GOAWAY_GRACE: Duration = Duration::from_millis(500);

/// One connection, as its requests see it.
struct Http2 {
    http: Arc<Http>,
    connection: Connection,
    streams: OpenStreams,
    malformed: AtomicUsize,
}

/// What accepting a request leaves the connection in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AcceptOutcome {
    /// The request is served in a task of its own, or was malformed: the next one is waited for.
    Continue,
    /// The client has closed the connection, or has sent too many malformed requests.
    Close,
}

/// Whether the client has been sent a GOAWAY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    NotBegun,
    Begun,
}

/// The requests in flight.
#[derive(Default)]
struct OpenStreams {
    count: AtomicUsize,
    /// Notified when the last one has ended.
    ended: Notify,
}

/// One request in flight.
struct InFlight(Arc<Http2>);

/// Serves one connection to its end.
pub(super) async fn serve(
    http: &Arc<Http>,
    connection: Connection,
    stream: ClientStream,
    shutdown: &ShutdownWatch,
) {
    let client = Arc::new(Http2 {
        http: http.clone(),
        connection,
        streams: OpenStreams::default(),
        malformed: AtomicUsize::new(0),
    });
    let drained = client.drained(shutdown.clone());
    tokio::select! {
        () = client.accept_streams(stream, shutdown) => {}
        () = drained => {}
    }
}

impl Http2 {
    /// Accepts requests until the client closes the connection or has been idle for too long. After the beginning of a
    /// shutdown, requests that crossed the GOAWAY are still served (RFC 9113, section 6.8).
    async fn accept_streams(self: &Arc<Self>, stream: ClientStream, shutdown: &ShutdownWatch) {
        let digest = Arc::new(Digest {
            ssl_digest: stream.get_ssl_digest(),
            timing_digest: stream.get_timing_digest(),
            proxy_digest: stream.get_proxy_digest(),
            socket_digest: stream.get_socket_digest(),
        });
        let options = h2_options(self.http.header_bytes);
        let mut connection = match handshake(Box::new(stream), Some(options)).await {
            Ok(connection) => connection,
            Err(error) => {
                log::debug!("an HTTP/2 handshake failed: {error}");
                return;
            }
        };
        let mut shutdown_begun = pin!(head::shutdown_begun(shutdown.clone()));
        let mut drain = Drain::NotBegun;
        let mut accepted = AcceptOutcome::Continue;
        while accepted == AcceptOutcome::Continue {
            // Waiting for a request drives the connection; it can be cancelled.
            accepted = tokio::select! {
                biased;
                () = &mut shutdown_begun, if drain == Drain::NotBegun => {
                    connection.graceful_shutdown();
                    drain = Drain::Begun;
                    AcceptOutcome::Continue
                }
                request = HttpSession::from_h2_conn(&mut connection, digest.clone()) => {
                    self.accept(request, shutdown)
                }
                () = self.idle(), if drain == Drain::NotBegun => AcceptOutcome::Close,
            };
        }
    }

    fn accept(
        self: &Arc<Self>,
        request: pingora::Result<Option<H2Accept>>,
        shutdown: &ShutdownWatch,
    ) -> AcceptOutcome {
        match request {
            Ok(Some(H2Accept::Session(session))) => {
                let request = InFlight::begin(self);
                let shutdown = shutdown.clone();
                tokio::spawn(async move { request.serve(session, &shutdown).await });
                AcceptOutcome::Continue
            }
            // pingora has responded with 400, or reset the stream.
            Ok(Some(H2Accept::Rejected)) => {
                let gateway = &self.http.gateway;
                gateway.record_malformed(&self.connection, clock::now());
                match self.malformed.fetch_add(1, Ordering::Relaxed) {
                    earlier if earlier + 1 >= MALFORMED_MAX => AcceptOutcome::Close,
                    _ => AcceptOutcome::Continue,
                }
            }
            Ok(None) => AcceptOutcome::Close,
            Err(error) => {
                if is_flood(&error) {
                    self.http.connections.flooded();
                }
                log::debug!("an HTTP/2 connection ended: {error}");
                AcceptOutcome::Close
            }
        }
    }

    /// Resolves when no request has been in flight for the idle timeout.
    async fn idle(&self) {
        while self.streams.count.load(Ordering::Relaxed) > 0 {
            self.streams.ended.notified().await;
        }
        pingora::time::sleep(self.http.idle_timeout).await;
    }

    /// Resolves when the proxy drains and no request has arrived for a while: a client that ignores the GOAWAY
    /// would otherwise keep its connection forever.
    async fn drained(&self, shutdown: ShutdownWatch) {
        head::shutdown_begun(shutdown).await;
        let mut idle_since = None;
        loop {
            pingora::time::sleep(GOAWAY_GRACE / 10).await;
            if self.streams.count.load(Ordering::Relaxed) > 0 {
                idle_since = None;
                continue;
            }
            let now = clock::now();
            let since = *idle_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= GOAWAY_GRACE {
                return;
            }
        }
    }
}

/// Whether `h2` has closed the connection for a flood. It bounds the streams that are reset before they are accepted, which a
/// proxy that got no processor for a moment finds all at once.
fn is_flood(error: &pingora::Error) -> bool {
    let cause = error.cause.as_deref();
    let h2 = cause.and_then(|cause| cause.downcast_ref::<h2::Error>());
    h2.is_some_and(|h2| !h2.is_remote() && h2.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM))
}

impl InFlight {
    fn begin(client: &Arc<Http2>) -> Self {
        client.streams.count.fetch_add(1, Ordering::Relaxed);
        InFlight(client.clone())
    }

    async fn serve(self, session: HttpSession, shutdown: &ShutdownWatch) {
        let started = clock::now();
        let Http2 {
            http, connection, ..
        } = &*self.0;
        let mut session = ServerSession::new_http2(session);
        session.set_write_timeout(Some(http.write_timeout));
        let mut session = Session::of_http2(Box::new(session));
        let served = http
            .gateway
            .serve(&mut session, connection, started, shutdown);
        let served = served.await;
        let Some(mut http2) = session.into_http2() else {
            return;
        };
        match served {
            Served::Whole | Served::Unread => {
                // An error means that the client has disconnected; the exchange has been recorded. The unread rest
                // of a body is abandoned with RST_STREAM(NO_ERROR) (RFC 9113, section 8.1).
                let _ = http2.finish().await;
            }
            Served::Broken => {
                // A reset overtakes bytes that the connection's own task has not written to the socket
                // yet. The delay lets them reach the client.
                tokio::time::sleep(BEFORE_RESET).await;
                http2.shutdown().await;
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let streams = &self.0.streams;
        if streams.count.fetch_sub(1, Ordering::Relaxed) == 1 {
            streams.ended.notify_one();
        }
    }
}

fn h2_options(header_bytes: usize) -> H2Options {
    let mut options = default_h2_options();
    // Beyond this, h2 itself responds 431; beyond the limit the gateway does, with an event.
    let bytes = u32::try_from(header_bytes.saturating_mul(4)).unwrap_or(u32::MAX);
    options.max_header_list_size(bytes);
    options.max_local_error_reset_streams(Some(LOCAL_RESETS_MAX));
    options.max_concurrent_reset_streams(RESET_STREAMS_MAX);
    options
}
