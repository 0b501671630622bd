//! A client that speaks HTTP/2: pingora's implementation, within weir's own limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp as _};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::server::ShutdownWatch;

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
/// How long an idle client has to act on the GOAWAY of a drain.
const GOAWAY_GRACE: Duration = Duration::from_millis(500);

/// One connection, as its requests see it.
struct Http2 {
    http: Arc<Http>,
    connection: Connection,
    /// Requests in flight.
    streams: AtomicUsize,
}

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
        streams: AtomicUsize::new(0),
    });
    let drained = client.drained(shutdown.clone());
    tokio::select! {
        _ = client.process_new(Box::new(stream), shutdown) => {}
        () = drained => {}
    }
}

impl Http2 {
    /// Resolves when the proxy drains and no request has arrived for a while: a client that ignores the GOAWAY
    /// would otherwise keep its connection forever.
    async fn drained(&self, shutdown: ShutdownWatch) {
        head::shutdown_begun(shutdown).await;
        let mut idle_since = None;
        loop {
            pingora::time::sleep(GOAWAY_GRACE / 10).await;
            if self.streams.load(Ordering::Relaxed) > 0 {
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

/// One request in flight.
struct InFlight<'a>(&'a AtomicUsize);

impl<'a> InFlight<'a> {
    fn on(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        InFlight(count)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[async_trait]
impl HttpServerApp for Http2 {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let started = clock::now();
        let _in_flight = InFlight::on(&self.streams);
        session.set_write_timeout(Some(self.http.write_timeout));
        let mut session = Session::of_http2(Box::new(session));
        let served = self
            .http
            .gateway
            .serve(&mut session, &self.connection, started, shutdown);
        let served = served.await;
        let mut http2 = session.into_http2()?;
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
        None
    }

    fn h2_options(&self) -> Option<H2Options> {
        let mut options = default_h2_options();
        // Beyond this, h2 itself responds 431; beyond the limit the gateway does, with an event.
        let bytes = u32::try_from(self.http.header_bytes.saturating_mul(4)).unwrap_or(u32::MAX);
        options.max_header_list_size(bytes);
        options.max_local_error_reset_streams(Some(LOCAL_RESETS_MAX));
        options.max_concurrent_reset_streams(RESET_STREAMS_MAX);
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.http.options)
    }
}
