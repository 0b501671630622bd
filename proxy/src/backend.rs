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
