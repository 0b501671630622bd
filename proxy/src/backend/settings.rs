//! The checked settings of a backend.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::address::EndpointConfig;
use super::balance::BalancingPolicy;
use super::breaker::BreakerConfig;
use super::health::HealthCheckConfig;
use super::retry::RetryConfig;
use super::tls::TlsSettings;

/// One checked backend.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub name: Arc<str>,
    pub endpoints: Vec<EndpointConfig>,
    /// Towards `https` endpoints; `None`: the system's roots, and no client certificate.
    pub tls: Option<TlsSettings>,
    /// Prepended to the path of every request, such as `/v1`; may be empty.
    pub path_prefix: String,
    pub connect_timeout: Duration,
    pub first_byte_timeout: Duration,
    /// Between two pieces of a response.
    pub idle_timeout: Duration,
    /// Of a request with all of its attempts.
    pub total_timeout: Duration,
    pub pool_idle_connections: usize,
    pub pool_idle_timeout: Duration,
    /// Set in every request; the values are marked sensitive.
    pub request_headers: Vec<(HeaderName, HeaderValue)>,
    /// Whether the usage of streams is requested when the client did not request it.
    pub ask_usage: bool,
    pub balancing: BalancingPolicy,
    pub retry: RetryConfig,
    pub breaker: BreakerConfig,
    pub when_all_open: WhenAllOpen,
    /// Active health checks; `None`: off.
    pub health_check: Option<HealthCheckConfig>,
    /// The name of the backend that is used when this one fails.
    pub fallback: Option<Arc<str>>,
    /// The names that models have at this backend, by the name in the request.
    pub model_map: Vec<(Box<str>, Box<str>)>,
}

impl Config {
    /// Whether an endpoint of both has the same connections, circuit and checks. The other settings are read for each
    /// request.
    pub(super) fn has_equal_endpoints(&self, other: &Config) -> bool {
        let of = |config: &Config| (config.pool_idle_connections, config.pool_idle_timeout);
        self.tls == other.tls
            && of(self) == of(other)
            && self.request_headers == other.request_headers
            && self.breaker == other.breaker
            && self.health_check == other.health_check
    }
}

/// What happens while the circuit of every endpoint is open and there is no fallback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenAllOpen {
    /// One attempt may succeed, a rejection cannot.
    Try,
    Fail,
}
