//! The nodes of the index, and the choice of a node for each request.
//!
//! Requests are sent with the transport of the official client; the node is chosen here because a failing node
//! must be avoided for a while.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use bytes::Bytes;
use elasticsearch::auth::Credentials;
use elasticsearch::cert::{Certificate, CertificateValidation};
use elasticsearch::http::headers::{HeaderMap, HeaderName, HeaderValue};
use elasticsearch::http::transport::{SingleNodeConnectionPool, Transport, TransportBuilder};
use elasticsearch::http::{Method, Url};
use parking_lot::Mutex;

use super::Config;
use super::pace;
use crate::backoff::Backoff;
use crate::outbound::root_cause;
use crate::random;

/// A response of a node.
#[derive(Debug)]
pub(super) struct NodeResponse {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

/// Why a node did not respond.
#[derive(Debug, thiserror::Error)]
pub(super) enum NodeError {
    #[error("it did not respond in time")]
    TimedOut,
    #[error("{0}")]
    Failed(String),
}

impl NodeError {
    fn new(error: elasticsearch::Error) -> Self {
        match error.is_timeout() {
            true => NodeError::TimedOut,
            false => NodeError::Failed(root_cause(&error)),
        }
    }
}

/// The body of a request.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    None,
    Json(Bytes),
    /// NDJSON, compressed with gzip.
    Lines(Bytes),
}

pub(super) struct Node {
    /// The address in the configuration, for messages.
    pub(super) name: String,
    transport: Transport,
    health: Mutex<NodeHealth>,
}

#[derive(Debug)]
struct NodeHealth {
    backoff: Backoff,
    /// Until then it is used only if no other node is available.
    retry_at: Option<Instant>,
}

pub(super) struct Nodes {
    nodes: Vec<Node>,
    next: AtomicUsize,
    timeout: Duration,
}

impl Nodes {
    /// # Errors
    /// An invalid address, or a certificate that cannot be read.
    pub(super) fn new(config: &Config) -> anyhow::Result<Self> {
        let roots = config.ca_file.as_ref().map(|path| {
            let name = path.display();
            std::fs::read(path).with_context(|| format!("events.elasticsearch.ca_file: {name}"))
        });
        let roots = roots.transpose()?;
        let nodes = config.urls.iter().map(|name| {
            let url = Url::parse(name).with_context(|| format!("{name} is not a valid address"))?;
            let mut builder = TransportBuilder::new(SingleNodeConnectionPool::new(url))
                .disable_proxy()
                .enable_meta_header(false);
            if let Some(credentials) = credentials(config) {
                builder = builder.auth(credentials);
            }
            if let Some(pem) = &roots {
                let certificate = Certificate::from_pem(pem)
                    .context("events.elasticsearch.ca_file: it contains no PEM certificate")?;
                builder = builder.cert_validation(CertificateValidation::Full(certificate));
            }
            Ok(Node {
                name: name.clone(),
                transport: builder.build().context("events.elasticsearch")?,
                health: Mutex::new(NodeHealth {
                    backoff: pace::backoff(),
                    retry_at: None,
                }),
            })
        });
        Ok(Nodes {
            nodes: nodes.collect::<anyhow::Result<_>>()?,
            next: AtomicUsize::new(0),
            timeout: config.timeout,
        })
    }

    /// The next node in turn that is not avoided; if all are, the one whose wait ends first.
    pub(super) fn pick(&self, now: Instant) -> Option<&Node> {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        let count = self.nodes.len();
        let in_turn = (0..count).filter_map(|place| self.nodes.get((turn + place) % count));
        in_turn.min_by_key(|node| {
            let retry_at = node.health.lock().retry_at;
            retry_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now))
        })
    }

    /// Sends one request to a node, and waits for its whole response.
    ///
    /// # Errors
    /// [`NodeError`].
    pub(super) async fn send(
        &self,
        node: &Node,
        method: Method,
        path: &str,
        payload: Payload,
    ) -> Result<NodeResponse, NodeError> {
        let mut headers = HeaderMap::new();
        let json = HeaderValue::from_static("application/json");
        headers.insert(HeaderName::from_static("accept"), json.clone());
        let content_type = HeaderName::from_static("content-type");
        let body = match payload {
            Payload::None => None,
            Payload::Json(body) => {
                headers.insert(content_type, json);
                Some(body)
            }
            Payload::Lines(body) => {
                let lines = HeaderValue::from_static("application/x-ndjson");
                headers.insert(content_type, lines);
                let gzip = HeaderValue::from_static("gzip");
                headers.insert(HeaderName::from_static("content-encoding"), gzip);
                Some(body)
            }
        };
        let query: Option<&()> = None;
        let sending = node
            .transport
            .send(method, path, headers, query, body, Some(self.timeout));
        let response = sending.await.map_err(NodeError::new)?;
        let status = response.status_code().as_u16();
        let body = response.bytes().await.map_err(NodeError::new)?;
        Ok(NodeResponse { status, body })
    }
}

impl Node {
    /// The node accepted a request.
    pub(super) fn succeeded(&self) {
        let mut health = self.health.lock();
        health.backoff.reset();
        health.retry_at = None;
    }

    /// The node failed: it is avoided for a while, longer each time.
    pub(super) fn failed(&self, now: Instant) {
        let mut health = self.health.lock();
        let wait = health.backoff.next_with_jitter(random::bits() as u32);
        health.retry_at = Some(now + wait);
    }
}

fn credentials(config: &Config) -> Option<Credentials> {
    if let Some(key) = &config.api_key {
        return Some(Credentials::EncodedApiKey(key.expose_secret().to_owned()));
    }
    let user = config.username.clone()?;
    Some(Credentials::Basic(
        user,
        config
            .password
            .as_ref()
            .map_or_else(String::new, |password| password.expose_secret().to_owned()),
    ))
}
