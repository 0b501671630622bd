//! Stage six: which endpoint, and the exchange with it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

/// One checked backend.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: Arc<str>,
    pub endpoints: Vec<Endpoint>,
    /// Put before the path of every request: `/v1`; empty: nothing.
    pub path_prefix: String,
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    /// Between two chunks of an answer.
    pub idle_timeout: Duration,
    pub total_timeout: Duration,
    pub pool_idle_connections: usize,
    pub pool_idle_timeout: Duration,
    /// Set towards the backend; a value is marked sensitive.
    pub request_headers: Vec<(HeaderName, HeaderValue)>,
}

/// `http://host:port` or `https://host:port`: no path, no query.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub uri: Uri,
    /// As the event shows it.
    pub text: Arc<str>,
}

pub mod client;
pub mod connector;
pub mod outgoing;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use crate::clock;
use crate::exchange::UpstreamNote;
use crate::refusal::{ErrorCode, Refusal};
use connector::Connect;

/// A backend that can be asked.
pub struct Backend {
    config: Arc<Config>,
    next: AtomicUsize,
    /// Tells the pools of a worker apart.
    id: u64,
    connect: Connect,
}

impl Backend {
    #[must_use]
    pub fn new(config: Arc<Config>, connect: Connect) -> Self {
        static IDS: AtomicU64 = AtomicU64::new(0);
        Backend {
            config,
            next: AtomicUsize::new(0),
            id: IDS.fetch_add(1, Ordering::Relaxed),
            connect,
        }
    }

    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The endpoint whose turn it is.
    ///
    /// # Errors
    /// `no_endpoint` when the backend has none.
    pub fn pick(&self) -> Result<&Endpoint, Refusal> {
        let endpoints = &self.config.endpoints;
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        match endpoints.len() {
            0 => Err(Refusal::new(
                ErrorCode::NoEndpoint,
                format!("backend {} has no endpoint", self.config.name),
            )),
            count => Ok(&endpoints[turn % count]),
        }
    }

    /// Asks an endpoint and waits for the head of its answer. What happened is noted in `note`.
    /// Dropping the future ends the exchange and closes its connection.
    ///
    /// # Errors
    /// `upstream_connect`, `upstream_timeout` or `upstream_reset`.
    pub async fn ask(
        &self,
        request: Request<Full<Bytes>>,
        note: &mut UpstreamNote,
    ) -> Result<Response<Incoming>, Refusal> {
        let client = client::of_this_worker(self.id, &self.config, &self.connect);
        note.attempts += 1;
        let asked = clock::now();
        let wait = self
            .config
            .first_byte_timeout
            .min(self.config.total_timeout);
        let outcome = pingora::time::timeout(wait, client.request(request)).await;
        let elapsed = clock::now().saturating_duration_since(asked);
        match outcome {
            Ok(Ok(response)) => {
                note.connect = connector::time_of_new_connection(response.extensions());
                note.first_byte = Some(elapsed);
                Ok(response)
            }
            Ok(Err(error)) => Err(self.refusal_of(&error)),
            Err(_) => Err(Refusal::new(
                ErrorCode::UpstreamTimeout,
                format!(
                    "backend {} sent no answer within {} ms",
                    self.config.name,
                    wait.as_millis()
                ),
            )),
        }
    }

    fn refusal_of(&self, error: &hyper_util::client::legacy::Error) -> Refusal {
        let name = &self.config.name;
        if error.is_connect() {
            log::debug!("backend {name}: {error:?}");
            return Refusal::new(
                ErrorCode::UpstreamConnect,
                format!("backend {name} refused the connection or did not take it in time"),
            );
        }
        log::debug!("backend {name}: {error:?}");
        Refusal::new(
            ErrorCode::UpstreamReset,
            format!("backend {name} closed the connection, or what it sent is not HTTP"),
        )
    }
}
