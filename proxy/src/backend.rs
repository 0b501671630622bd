//! Stage six: which endpoint, and the exchange with it.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Uri};

/// One checked backend.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Streams whose client did not ask for their usage are asked for it.
    pub ask_usage: bool,
}

/// `http://host:port` or `https://host:port`: no path, no query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub uri: Uri,
    /// As the event shows it.
    pub text: Arc<str>,
}

pub mod ask_usage;
pub mod client;
pub mod connector;
pub(crate) mod http1;
mod http2;
pub mod informational;
pub mod loops;
pub mod pool;
pub mod request_body;
pub mod request_head;
pub mod wire;

use std::sync::atomic::{AtomicUsize, Ordering};

use http::Request;

use crate::clock;
use crate::exchange::Attempt;
use crate::refusal::{ErrorCode, Refusal};
use client::{Answer, Broken, Failure, Wait};
use connector::{Connect, Protocol};
use informational::Early;
use pool::Home;
use request_body::RequestBody;

/// A backend that can be asked.
pub struct Backend {
    config: Arc<Config>,
    next: AtomicUsize,
    /// Where idle connections wait, an entry an endpoint.
    homes: Vec<Home>,
    connect: Connect,
}

/// The endpoint whose turn it is.
#[derive(Clone, Copy, Debug)]
pub struct Picked<'a> {
    pub endpoint: &'a Endpoint,
    home: Home,
}

impl Backend {
    #[must_use]
    pub fn new(config: Arc<Config>, connect: Connect) -> Self {
        Backend {
            homes: config.endpoints.iter().map(|_| Home::new()).collect(),
            config,
            next: AtomicUsize::new(0),
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
    pub fn pick(&self) -> Result<Picked<'_>, Refusal> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let endpoints = &self.config.endpoints;
        let place = turn.checked_rem(endpoints.len());
        match place.and_then(|place| Some((endpoints.get(place)?, *self.homes.get(place)?))) {
            Some((endpoint, home)) => Ok(Picked { endpoint, home }),
            None => Err(Refusal::new(
                ErrorCode::NoEndpoint,
                format!("backend {} has no endpoint", self.config.name),
            )),
        }
    }

    /// Asks an endpoint, at `asked`, and waits for the head of its answer. What happened is noted in
    /// `attempt`; heads that come before the answer, over HTTP/1.1, go to `early`.
    /// Dropping the future ends the exchange and closes its connection.
    ///
    /// # Errors
    /// `upstream_connect`, `upstream_timeout` or `upstream_reset`.
    pub async fn ask(
        &self,
        picked: Picked<'_>,
        request: Request<RequestBody>,
        protocol: Protocol,
        wait: Wait,
        early: Option<&Early>,
        attempt: &mut Attempt,
    ) -> Result<Answer, Refusal> {
        let (home, config) = (picked.home, &self.config);
        let asking = match protocol {
            Protocol::Http1 => client::ask(home, config, &self.connect, request, wait, early).await,
            // A room of its own: what is rare must not make every exchange larger.
            Protocol::Http2 => {
                Box::pin(http2::ask(home, config, &self.connect, request, wait)).await
            }
        };
        match asking {
            Ok(answer) => {
                attempt.connect = answer.connect;
                attempt.responded(answer.head.status.as_u16(), clock::now());
                Ok(answer)
            }
            Err(failure) => {
                let refusal = self.refusal_of(&failure);
                attempt.fail(refusal.code);
                attempt.end(clock::now());
                Err(refusal)
            }
        }
    }

    /// How long the first byte of an answer is waited for.
    #[must_use]
    pub fn first_byte_timeout(&self) -> Duration {
        self.config
            .first_byte_timeout
            .min(self.config.total_timeout)
    }

    /// What is said of a backend that has sent no answer in time.
    #[must_use]
    pub fn no_first_byte(&self) -> Refusal {
        let name = &self.config.name;
        let ms = self.first_byte_timeout().as_millis();
        let detail = format!("backend {name} sent no answer within {ms} ms");
        Refusal::new(ErrorCode::UpstreamTimeout, detail)
    }

    /// What is said of a backend whose answer cannot be passed on.
    #[must_use]
    pub fn unusable(&self, flaw: &str) -> Refusal {
        let name = &self.config.name;
        let detail = format!("what backend {name} sent is not valid HTTP: {flaw}");
        Refusal::new(ErrorCode::UpstreamReset, detail)
    }

    fn refusal_of(&self, failure: &Failure) -> Refusal {
        let name = &self.config.name;
        log::debug!("backend {name}: {failure:?}");
        match failure {
            Failure::Connect(_) => Refusal::new(
                ErrorCode::UpstreamConnect,
                format!("backend {name} refused the connection or did not take it in time"),
            ),
            Failure::TimedOut => self.no_first_byte(),
            Failure::Broken(Broken::Malformed(flaw)) => self.unusable(flaw),
            Failure::Broken(_) => Refusal::new(
                ErrorCode::UpstreamReset,
                format!("backend {name} closed the connection, or what it sent is not HTTP"),
            ),
        }
    }
}
