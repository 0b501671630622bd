//! `backends`.

use http::HeaderName;
use serde_json::{Value, json};

use crate::settings::declare::{choice, settings};
use crate::settings::decode::{FromScalar, Invalid};
use crate::settings::lists::{List, NamedValues, OneOrMany};
use crate::settings::url::EndpointUrl;
use crate::settings::values::{
    Count, HeaderText, Percentage, PlainText, Slug, TimeSpan, plain_text,
};

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
        /// Timeout of each attempt, until the head of its response is complete.
        first_byte_timeout: TimeSpan [default "60s"] reload,
        /// Timeout between two chunks of a response.
        idle_timeout: TimeSpan [default "30s"] reload,
        /// Timeout until the end of the response, with all earlier attempts and waits; that of a fallback counts from the same
        /// start.
        total_timeout: TimeSpan [default "300s"] reload,
        /// Connections kept for the next request.
        pool: Pool [default "{}"] reload,
        /// Retries. Any request whose connection failed is retried; others only if repeating them does no harm.
        retry: Retry [default "{}"] reload,
        /// Circuit breaker: stops using an endpoint that fails.
        circuit_breaker: CircuitBreaker [default "{}"] reload,
        /// Active health checks of each endpoint. Left out: off.
        health_check: HealthCheck [optional] reload,
        /// Headers that are set on requests to the backend; never logged.
        request_headers: NamedValues<HeaderName, HeaderText> [optional] reload,
        /// Requests the usage of chat streams whose client did not request it, and removes the chunk that reports it from the
        /// response.
        ask_usage: bool [default "false"] reload,
        /// Prepended to the path of every request.
        path_prefix: PlainText [optional] reload,
        /// The backend that is used when this one has no endpoint to offer, its retries are used up, or a failure is not
        /// worth a retry, such as a timeout.
        fallback: Slug [optional] reload,
        /// The names that models have at this backend: the name in the request is replaced.
        model_map: NamedValues<ModelName, ModelName> [optional] reload,
    }
}

settings! {
    /// PEM files, read with the configuration; it is loaded again when they change.
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
        /// Idle connections that each worker keeps to each endpoint.
        idle_connections: Count<0> [default "128"] reload,
        /// How long a pooled connection may be idle.
        idle_timeout: TimeSpan [default "50s"] reload,
    }
}

settings! {
    /// When a request is retried.
    struct Retry {
        /// Attempts with this backend in total; a fallback has its own.
        attempts: Count [default "3"] reload,
        /// Waits backoff * 2^(n-1), with jitter, and never beyond total_timeout.
        backoff: TimeSpan<0> [default "1s"] reload,
        /// Failures that are retried.
        when: List<RetryCause> [default "[connect, reset_before_response, '502', '503', '504']"] reload,
        /// Retries at the same time, as a share of the backend's requests in flight, but at least 3; beyond it nothing is
        /// retried. Another endpoint after a failed connection is not counted.
        budget: Percentage [default "20%"] reload,
        /// A longer Retry-After is not waited for.
        retry_after_max: TimeSpan<0> [default "10s"] reload,
        /// How long the start of a response is held, so that an error before any content can be retried.
        hold: TimeSpan<0> [default "1s"] reload,
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
        /// What happens while the circuit of every endpoint is open and no fallback is available: try sends the request,
        /// fail rejects it.
        when_all_open: WhenAllOpen [default "try"] reload,
    }
}

settings! {
    /// Active health checks of each endpoint. Left out: off.
    struct HealthCheck {
        /// What is requested with GET, as written: without `path_prefix`; a query may follow.
        path: PlainText [default "/healthz"] reload,
        /// The time between two checks of an endpoint, with a jitter of 10%.
        interval: TimeSpan [default "5s"] reload,
        /// Timeout of a check: name resolution, connection, TLS and the head of the response.
        timeout: TimeSpan [default "1s"] reload,
        /// Successful checks in a row until an unhealthy endpoint is healthy again.
        healthy_after: Count [default "2"] reload,
        /// Failed checks in a row until a healthy endpoint is unhealthy.
        unhealthy_after: Count [default "3"] reload,
        /// The statuses of a healthy endpoint. Left out: every status below 500.
        status: OneOrMany<FinalStatus> [optional] reload,
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

choice! {
    /// What happens while the circuit of every endpoint is open.
    enum WhenAllOpen {
        Try = "try",
        Fail = "fail",
    }
}

/// The name of a model in a request.
pub(crate) struct ModelName(pub(crate) String);

impl FromScalar for ModelName {
    fn expected() -> String {
        "the name of a model".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        const LENGTH_MAX: usize = 256;
        let name = plain_text(text)?;
        if name.is_empty() || name.len() > LENGTH_MAX || name.contains(['"', '\\', '?', '#']) {
            return Err(Invalid::Unexpected);
        }
        Ok(ModelName(name))
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": r#"^[^"\\?#]{1,256}$"#})
    }
}

/// The status of a final response.
pub(crate) struct FinalStatus(pub(crate) u16);

impl FromScalar for FinalStatus {
    fn expected() -> String {
        "a status from 200 to 599".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        let status = text.parse().ok().filter(|_| text.len() == 3);
        match status {
            Some(status @ 200..600) => Ok(FinalStatus(status)),
            _ => Err(Invalid::Unexpected),
        }
    }

    fn schema() -> Value {
        json!({"type": "integer", "minimum": 200, "maximum": 599})
    }
}

/// A failure that is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryCause {
    Connect,
    ResetBeforeResponse,
    /// 429, or 500 and more.
    Status(u16),
}

impl FromScalar for RetryCause {
    fn expected() -> String {
        "`connect`, `reset_before_response`, 429 or a status from 500 to 599".to_owned()
    }

    fn read(text: &str) -> Result<Self, Invalid> {
        const WORDS: &[&str] = &["connect", "reset_before_response"];
        match text {
            "connect" => return Ok(RetryCause::Connect),
            "reset_before_response" => return Ok(RetryCause::ResetBeforeResponse),
            _ => {}
        }
        let status = text.parse().ok().filter(|_| text.len() == 3);
        match status {
            Some(status @ (429 | 500..600)) => Ok(RetryCause::Status(status)),
            _ => Err(match crate::settings::nearest::nearest(text, WORDS) {
                Some(near) => Invalid::Near(near),
                None => Invalid::Unexpected,
            }),
        }
    }

    fn schema() -> Value {
        json!({"type": ["string", "integer"], "pattern": "^(connect|reset_before_response|429|5[0-9]{2})$"})
    }
}
