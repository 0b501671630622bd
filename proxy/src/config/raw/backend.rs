//! `backends`.

use http::HeaderName;
use serde_json::{Value, json};

use crate::settings::declare::{choice, settings};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::lists::{List, NamedValues};
use crate::settings::url::EndpointUrl;
use crate::settings::values::{Count, HeaderText, Percentage, PlainText, Slug, TimeSpan};

settings! {
    /// A service that requests are forwarded to.
    struct Backend {
        /// Its name in routes.
        name: Slug [required] reload,
        /// The address of each of its instances: `http://HOST:PORT`, `https://HOST:PORT`, `h2c://HOST:PORT` (HTTP/2 by prior
        /// knowledge), or `unix:/PATH`.
        endpoints: List<EndpointUrl, 1> [required] reload,
        /// TLS towards `https` endpoints. Left out: the system's roots, and no client certificate.
        tls: UpstreamTls [guard] reload,
        /// How an endpoint is chosen; consistent: by conversation, else by client.
        load_balancing: LoadBalancing [default "round_robin"] reload,
        /// Timeout for a connection to be established.
        connect_timeout: TimeSpan [default "1s"] reload,
        /// Timeout until the first byte of a response.
        first_byte_timeout: TimeSpan [default "60s"] reload,
        /// Timeout between two chunks of a response.
        idle_timeout: TimeSpan [default "30s"] reload,
        /// Timeout of the whole response.
        total_timeout: TimeSpan [default "300s"] reload,
        /// Connections kept for the next request.
        pool: Pool [default "{}"] reload,
        /// Retries; a request is retried only if it is safe.
        retry: Retry [default "{}"] reload,
        /// Circuit breaker: stops using an endpoint that fails.
        circuit_breaker: CircuitBreaker [default "{}"] reload,
        /// Active health checks of each endpoint.
        health_check: HealthCheck [default "{}"] reload,
        /// Headers that are set on requests to the backend; never logged.
        request_headers: NamedValues<HeaderName, HeaderText> [optional] reload,
        /// Requests the usage of chat streams whose client did not request it, and removes the chunk that reports it from the
        /// response.
        ask_usage: bool [default "false"] reload,
        /// Prefix of the path of every request.
        path_prefix: PlainText [optional] reload,
        /// The backend that is used when this one has no available endpoint.
        fallback: Slug [optional] reload,
    }
}

settings! {
    /// PEM files, read with the configuration.
    struct UpstreamTls {
        /// The certificate authorities that are trusted instead of the system's.
        ca_file: PlainText [optional] reload,
        /// The certificate that is presented to endpoints that require one (mTLS), with its chain.
        certificate: PlainText [optional] reload,
        /// Its private key.
        key: PlainText [optional] reload,
    }
}

settings! {
    /// Connections kept for the next request.
    struct Pool {
        /// Idle connections to each endpoint.
        idle_connections: Count<0> [default "128"] reload,
        /// How long a pooled connection may be idle.
        idle_timeout: TimeSpan [default "50s"] reload,
    }
}

settings! {
    /// When a request is retried.
    struct Retry {
        /// Attempts in total.
        attempts: Count [default "3"] reload,
        /// Waits backoff * 2^(n-1), with jitter, and never beyond total_timeout.
        backoff: TimeSpan<0> [default "1s"] reload,
        /// Failures that are retried.
        when: List<RetryCause> [default "[connect, reset_before_response, '502', '503', '504']"] reload,
        /// Share of the backend's requests in flight; beyond it nothing is retried.
        budget: Percentage [default "20%"] reload,
    }
}

settings! {
    /// Circuit breaker: stops using an endpoint that fails.
    struct CircuitBreaker {
        /// The share of failures at which the breaker opens.
        failure_ratio: Percentage [default "50%"] reload,
        /// Requests in the window; with fewer, the breaker stays closed.
        minimum_requests: Count [default "20"] reload,
        /// The period that the breaker evaluates.
        window: TimeSpan [default "10s"] reload,
        /// How long the breaker stays open.
        open_for: TimeSpan [default "15s"] reload,
    }
}

settings! {
    /// Active health checks of each endpoint.
    struct HealthCheck {
        /// The path that is requested.
        path: PlainText [default "/healthz"] reload,
        /// The time between two probes.
        interval: TimeSpan [default "5s"] reload,
        /// Timeout of a probe.
        timeout: TimeSpan [default "1s"] reload,
        /// Successful probes until an endpoint is healthy again.
        healthy_after: Count [default "2"] reload,
        /// Failed probes until an endpoint is unhealthy.
        unhealthy_after: Count [default "3"] reload,
    }
}

choice! {
    /// How an endpoint is chosen.
    enum LoadBalancing {
        RoundRobin = "round_robin",
        LeastRequest = "least_request",
        Consistent = "consistent",
    }
}

/// `connect`, `reset_before_response`, or a status of 500 or more.
pub(crate) struct RetryCause;

impl FromScalar for RetryCause {
    fn expected() -> String {
        "`connect`, `reset_before_response` or a status from 500 to 599".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        const WORDS: &[&str] = &["connect", "reset_before_response"];
        let is_status = text.len() == 3
            && text
                .parse()
                .is_ok_and(|status: u16| (500..600).contains(&status));
        if is_status || WORDS.contains(&text) {
            return Ok(RetryCause);
        }
        Err(match crate::settings::nearest::nearest(text, WORDS) {
            Some(near) => Invalid::Near(near),
            None => Invalid::Unexpected,
        })
    }

    fn schema() -> Value {
        json!({"type": ["string", "integer"], "pattern": "^(connect|reset_before_response|5[0-9]{2})$"})
    }
}
