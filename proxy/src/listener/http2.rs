//! A client that speaks HTTP/2: pingora's, with bounds of weir's own.

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

/// How long a cut answer's last bytes get to leave before its HTTP/2 stream is reset.
const BEFORE_RESET: Duration = Duration::from_millis(20);
/// How many streams of a connection may be reset for what its client does wrong (CVE-2025-8671).
const LOCAL_RESETS_MAX: usize = 12;
/// When the proxy stops, an idle client has this long to take note of it.
const FAREWELL: Duration = Duration::from_millis(500);

/// One connection, for its requests.
struct Http2 {
    http: Arc<Http>,
    connection: Connection,
    /// Requests in work.
    streams: AtomicUsize,
}

/// Serves one connection to its end.
pub(super) async fn serve(
    http: &Arc<Http>,
    connection: Connection,
    stream: ClientStream,
    stopping: &ShutdownWatch,
) {
    let client = Arc::new(Http2 {
        http: http.clone(),
        connection,
        streams: AtomicUsize::new(0),
    });
    let over = client.over(stopping.clone());
    tokio::select! {
        _ = client.process_new(Box::new(stream), stopping) => {}
        () = over => {}
    }
}

impl Http2 {
    /// Ends when the proxy has stopped and nothing has been asked for a while: a client that does not
    /// answer the GOAWAY would keep its connection for ever.
    async fn over(&self, stopping: ShutdownWatch) {
        head::stop(stopping).await;
        let mut idle_since = None;
        loop {
            pingora::time::sleep(FAREWELL / 10).await;
            if self.streams.load(Ordering::Relaxed) > 0 {
                idle_since = None;
                continue;
            }
            let now = clock::now();
            let since = *idle_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= FAREWELL {
                return;
            }
        }
    }
}

/// One request in work.
struct Working<'a>(&'a AtomicUsize);

impl<'a> Working<'a> {
    fn on(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Working(count)
    }
}

impl Drop for Working<'_> {
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
        let _working = Working::on(&self.streams);
        session.set_write_timeout(Some(self.http.write_timeout));
        let mut session = Session::of_http2(Box::new(session));
        let served = self
            .http
            .gateway
            .serve(&mut session, &self.connection, started, shutdown);
        let served = served.await;
        let mut http2 = session.into_http2()?;
        match served {
            Served::Whole | Served::Refused => {
                // An error means that the client is gone; the exchange has been recorded. What was not
                // read of a body is given up with RST_STREAM(NO_ERROR) (RFC 9113, section 8.1).
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
        let bytes = u32::try_from(self.http.header_bytes.saturating_mul(4)).unwrap_or(u32::MAX);
        options.max_header_list_size(bytes);
        options.max_local_error_reset_streams(Some(LOCAL_RESETS_MAX));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.http.options)
    }
}
