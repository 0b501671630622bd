//! The backend stage: picks an endpoint, and exchanges request and response with it over a connection pool.
//!
//! A response ([`response::UpstreamResponse`]) depends on no other stage. Endpoints are used in turn (round robin);
//! retries, failover and the circuit breaker are not implemented yet.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

/// One checked backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub name: Arc<str>,
    pub endpoints: Vec<Endpoint>,
    /// Towards `https` endpoints; `None`: the system's roots, and no client certificate.
    pub tls: Option<TlsSettings>,
    /// Prepended to the path of every request, such as `/v1`; may be empty.
    pub path_prefix: String,
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    /// Between two pieces of a response.
    pub idle_timeout: Duration,
    pub total_timeout: Duration,
    pub pool_idle_connections: usize,
    pub pool_idle_timeout: Duration,
    /// Set in every request; the values are marked sensitive.
    pub request_headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the usage of streams is requested when the client did not request it.
    pub ask_usage: bool,
}

pub mod address;
pub mod ask_usage;
pub mod client;
pub mod connector;
mod dial;
pub mod failure;
pub(crate) mod http1;
mod http2;
pub mod informational;
pub mod loops;
pub mod pool;
pub mod request_body;
pub mod request_head;
mod resolve;
pub mod response;
pub mod tls;
pub mod wire;

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;

use crate::clock;
use crate::exchange::Attempt;
use crate::refusal::{ErrorCode, Refusal};
use address::Endpoint;
use client::{CallDeadline, CallTarget};
use connector::{Connector, UpstreamProtocol};
use failure::{ConnectionError, Failure};
use informational::InformationalResponses;
use pool::PoolKey;
use request_body::RequestBody;
use response::UpstreamResponse;
use tls::{TlsClient, TlsSettings};

/// A backend with its connection pools. It is shared by `Arc`; a new generation of the configuration may keep it
/// where its [`Config`] is equal.
pub struct Backend {
    config: Arc<Config>,
    next: AtomicUsize,
    /// The pool and the connector of each endpoint.
    connections: Vec<(PoolKey, Connector)>,
}

/// The endpoint that a request is sent to.
#[derive(Clone, Copy)]
pub struct PickedEndpoint<'a> {
    pub endpoint: &'a Endpoint,
    pool_key: PoolKey,
    connector: &'a Connector,
}

impl Backend {
    #[must_use]
    pub fn new(config: Arc<Config>, tls: &TlsClient) -> Self {
        let endpoints = config.endpoints.iter();
        let connections = endpoints.map(|endpoint| {
            let connector = Connector::new(&endpoint.address, tls.clone());
            (PoolKey::new(), connector)
        });
        Backend {
            connections: connections.collect(),
            config,
            next: AtomicUsize::new(0),
        }
    }

    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The next endpoint, in turn.
    ///
    /// # Errors
    /// `no_endpoint` when the backend has none.
    pub fn pick(&self) -> Result<PickedEndpoint<'_>, Refusal> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let endpoints = &self.config.endpoints;
        let index = turn.checked_rem(endpoints.len());
        let at = |index| Some((endpoints.get(index)?, self.connections.get(index)?));
        match index.and_then(at) {
            Some((endpoint, (pool_key, connector))) => Ok(PickedEndpoint {
                endpoint,
                pool_key: *pool_key,
                connector,
            }),
            None => Err(Refusal::new(
                ErrorCode::NoEndpoint,
                format!("backend {} has no endpoint", self.config.name),
            )),
        }
    }

    /// Sends a request to an endpoint, and waits for the head of its response. The outcome is noted in `attempt`;
    /// informational responses go to `informational`. Dropping the future ends the exchange and
    /// closes its connection.
    ///
    /// # Errors
    /// `upstream_connect`, `upstream_timeout` or `upstream_reset`.
    pub async fn send(
        &self,
        picked: PickedEndpoint<'_>,
        request: Request<RequestBody>,
        protocol: UpstreamProtocol,
        call: CallDeadline,
        informational: Option<&InformationalResponses>,
        attempt: &mut Attempt,
    ) -> Result<UpstreamResponse, Refusal> {
        let to = CallTarget {
            pool_key: picked.pool_key,
            connector: picked.connector,
            config: &self.config,
        };
        match client::send(to, (request, protocol), call, informational).await {
            Ok(response) => {
                attempt.connect = response.connect;
                attempt.responded(response.head.status.as_u16(), clock::now());
                Ok(response)
            }
            Err(failure) => {
                let refusal = self.refusal_of(&failure);
                attempt.fail(refusal.code);
                attempt.end(clock::now());
                Err(refusal)
            }
        }
    }

    /// How long the first byte of a response may take.
    #[must_use]
    pub fn first_byte_timeout(&self) -> Duration {
        self.config
            .first_byte_timeout
            .min(self.config.total_timeout)
    }

    /// The refusal for a backend that sent no response in time.
    #[must_use]
    pub fn no_first_byte(&self) -> Refusal {
        let name = &self.config.name;
        let ms = self.first_byte_timeout().as_millis();
        let detail = format!("backend {name} sent no response within {ms} ms");
        Refusal::new(ErrorCode::UpstreamTimeout, detail)
    }

    /// The refusal for a response that cannot be forwarded.
    #[must_use]
    pub fn unusable(&self, flaw: &str) -> Refusal {
        let name = &self.config.name;
        let detail = format!("backend {name} sent invalid HTTP: {flaw}");
        Refusal::new(ErrorCode::UpstreamReset, detail)
    }

    fn refusal_of(&self, failure: &Failure) -> Refusal {
        let name = &self.config.name;
        log::debug!("backend {name}: {failure:?}");
        match failure {
            Failure::Connect(_) => Refusal::new(
                ErrorCode::UpstreamConnect,
                format!("backend {name} refused the connection, or connecting timed out"),
            ),
            Failure::TimedOut => self.no_first_byte(),
            Failure::Connection(ConnectionError::Malformed(flaw)) => self.unusable(flaw),
            Failure::Connection(_) => Refusal::new(
                ErrorCode::UpstreamReset,
                format!("backend {name} closed the connection, or sent invalid HTTP"),
            ),
        }
    }
}
