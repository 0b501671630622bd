//! Exports spans to a collector: OTLP over HTTP in protobuf (OpenTelemetry protocol 1.x,
//! `opentelemetry/proto/collector/trace/v1`).
//!
//! A request appends its encoded spans to a bounded buffer, and a worker sends them. When the buffer is full,
//! spans are dropped and counted. A collector that is down, slow or broken does not affect requests.

use std::fmt;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use prometheus::{IntCounter, IntGauge};
use reqwest::blocking::Client;

use self::wire::{AttributeValue, ProtoMessage};
use crate::backoff::Backoff;
use crate::clock;
use crate::http::retry_after::retry_after;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::metrics::{Metrics, catalog};
use crate::outbound::{self, read_until, root_cause};
use crate::settings::secret::SecretText;
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State, WorkerThread};

pub(super) mod wire;

/// The maximum number of spans that are waiting or being sent; further ones are dropped.
const WAITING_MAX: usize = 2048;
/// A request is sent at once when this many spans are waiting.
const BATCH: usize = 512;
/// A buffer that has grown larger is freed.
const BUFFER_KEPT_BYTES: usize = 1024 * 1024;
/// The longest time that a span waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// The longest time that a stop waits for the collector.
const STOP_MAX: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a batch is sent if the collector requests retries.
const ATTEMPTS_MAX: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A collector that keeps failing is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The checked `traces.otlp`.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// With the OTLP path for traces.
    pub url: String,
    pub headers: Vec<(HeaderName, SecretText)>,
}

// The address may contain a credential.
impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("otlp::Config")
            .finish_non_exhaustive()
    }
}

/// Counters of spans. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct SpanCounts {
    exported: IntCounter,
    failed: IntCounter,
    dropped: IntCounter,
    /// Whether the collector accepted the last batch.
    up: IntGauge,
}

impl SpanCounts {
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub(super) fn register(metrics: &Metrics) -> prometheus::Result<Self> {
        let spans = metrics.counter(catalog::SPANS)?;
        Ok(SpanCounts {
            exported: spans.series(&["exported"])?,
            failed: spans.series(&["failed"])?,
            dropped: spans.series(&["dropped"])?,
            up: metrics.dependency("otlp")?,
        })
    }
}

/// Exports spans to a collector.
#[derive(Debug)]
pub(super) struct Exporter {
    thread: WorkerThread<WaitingSpans>,
    counts: SpanCounts,
}

#[derive(Debug, Default)]
struct WaitingSpans {
    /// Fields `spans` of a `ScopeSpans`, one after the other.
    spans: Vec<u8>,
    count: usize,
    /// Spans that the worker has taken and not yet settled.
    taken: usize,
}

/// Spans that the worker has taken and not yet settled; they outlive a panic.
#[derive(Default)]
struct UnsettledSpans {
    spans: Vec<u8>,
    count: usize,
    attempts: u32,
}

/// Sends batches and counts their outcomes.
struct SpanSender {
    client: Client,
    url: String,
    resource: Vec<u8>,
    counts: SpanCounts,
}

/// The outcome of sending a batch.
enum ExportOutcome {
    Accepted,
    /// The collector may accept it later, after the given time if there is one.
    Retry(ExportError, Option<Duration>),
    Rejected(ExportError),
}

/// Why a batch was not exported.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("{0}")]
    Connection(String),
    #[error("it responded with {0}")]
    Status(StatusCode),
    #[error("the exporter panicked repeatedly on these spans")]
    Panicking,
}

impl Exporter {
    /// Starts the worker that sends spans.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(super) fn start(
        config: &Config,
        environment: &str,
        counts: SpanCounts,
        worker: Worker,
    ) -> io::Result<Self> {
        let resource = resource(environment, std::env::var("OTEL_RESOURCE_ATTRIBUTES").ok());
        let (config, theirs) = (config.clone(), counts.clone());
        let mut unsettled = UnsettledSpans::default();
        let on = worker.clone();
        let run = move |shared: &SharedState<WaitingSpans>| match client(&config) {
            Ok(client) => {
                let sender = SpanSender {
                    client,
                    url: config.url.clone(),
                    resource: resource.clone(),
                    counts: theirs.clone(),
                };
                sender.run(shared, &mut unsettled, &on);
            }
            Err(error) => {
                log::error!("traces: cannot create an HTTP client for the collector: {error}");
            }
        };
        let thread = WorkerThread::start(worker, WaitingSpans::default(), run)?;
        Ok(Exporter { thread, counts })
    }

    /// Hands over spans encoded by [`super::span::append`]. Never blocks.
    pub(super) fn take(&self, spans: &[u8], count: usize) {
        let mut inner = self.thread.lock();
        let state = inner.state;
        let waiting = &mut inner.work;
        let is_full = waiting.count + waiting.taken + count > WAITING_MAX;
        if is_full || state != State::Running {
            drop(inner);
            // A collector that hangs has not failed yet, but cannot keep up.
            self.counts.up.set(0);
            self.counts.dropped.inc_by(count as u64);
            return;
        }
        waiting.spans.extend_from_slice(spans);
        let before = waiting.count;
        waiting.count += count;
        let is_due = before < BATCH && waiting.count >= BATCH;
        drop(inner);
        if is_due {
            self.thread.wake();
        }
    }

    /// Sends the waiting spans, as far as the deadline and [`STOP_MAX`] allow: the rest of the shutdown is more
    /// important than spans.
    pub(super) fn stop(&self, deadline: Instant) {
        let deadline = deadline.min(clock::now() + STOP_MAX);
        if self.thread.stop(deadline).is_err() {
            log::warn!("traces: could not send the last spans in time");
        }
    }
}

impl SpanSender {
    /// Sends batches until the stop. Spans that are unsettled after a panic are sent again.
    fn run(
        &self,
        shared: &SharedState<WaitingSpans>,
        unsettled: &mut UnsettledSpans,
        worker: &Worker,
    ) {
        let mut throttle = LogThrottle::every(LOG_INTERVAL);
        loop {
            let state = next_batch(shared, unsettled);
            if unsettled.count > 0 {
                let count = unsettled.count as u64;
                unsettled.attempts += 1;
                let sent = match unsettled.attempts > ATTEMPTS_MAX {
                    true => Err(ExportError::Panicking),
                    false => {
                        worker.fault_point();
                        let body = request(&self.resource, &unsettled.spans);
                        self.send(shared, &body)
                    }
                };
                match sent {
                    Ok(()) => {
                        self.counts.up.set(1);
                        self.counts.exported.inc_by(count);
                    }
                    Err(why) => {
                        self.counts.up.set(0);
                        self.counts.failed.inc_by(count);
                        if throttle.failed(clock::now()) == LogDecision::Log {
                            log::warn!(
                                "traces: the collector does not accept spans, which are lost: {why}"
                            );
                        }
                    }
                }
                (unsettled.count, unsettled.attempts) = (0, 0);
            }
            if state == State::Stopping {
                return;
            }
        }
    }

    /// Sends a batch until it is accepted, rejected, or has been sent [`ATTEMPTS_MAX`] times.
    fn send(&self, shared: &SharedState<WaitingSpans>, body: &[u8]) -> Result<(), ExportError> {
        let (mut attempts, mut backoff) = (1, Backoff::new(BACKOFF, BACKOFF_MAX));
        loop {
            let (why, after) = match post(&self.client, &self.url, body) {
                ExportOutcome::Accepted => return Ok(()),
                ExportOutcome::Rejected(why) => return Err(why),
                ExportOutcome::Retry(why, after) => (why, after),
            };
            let pause = after.unwrap_or_else(|| backoff.next()).min(BACKOFF_MAX);
            if attempts >= ATTEMPTS_MAX || pause_until_stop(shared, pause) == State::Stopping {
                return Err(why);
            }
            attempts += 1;
        }
    }
}

/// Waits for a full batch, at most [`BATCH_WAIT`], and takes the waiting spans.
fn next_batch(shared: &SharedState<WaitingSpans>, unsettled: &mut UnsettledSpans) -> State {
    let deadline = clock::now() + BATCH_WAIT;
    let mut inner = shared.lock();
    if unsettled.count > 0 {
        return inner.state;
    }
    let spans = &mut unsettled.spans;
    inner.work.taken = 0;
    shared.wait_until(&mut inner, deadline, |waiting| waiting.count >= BATCH);
    spans.clear();
    spans.shrink_to(BUFFER_KEPT_BYTES);
    let state = inner.state;
    let waiting = &mut inner.work;
    mem::swap(&mut waiting.spans, spans);
    waiting.taken = mem::take(&mut waiting.count);
    unsettled.count = waiting.taken;
    state
}

/// Pauses until the time has passed or the stop begins.
fn pause_until_stop(shared: &SharedState<WaitingSpans>, pause: Duration) -> State {
    let mut inner = shared.lock();
    shared.wait_until(&mut inner, clock::now() + pause, |_| false);
    inner.state
}

/// Creates the client, on the thread that uses it: it contains a runtime, which must not be created within another.
fn client(config: &Config) -> reqwest::Result<Client> {
    let headers = config.headers.iter();
    let headers =
        headers.filter_map(|(name, value)| Some((name.clone(), value.header_value().ok()?)));
    let mut headers: HeaderMap = headers.collect();
    let kind = HeaderValue::from_static("application/x-protobuf");
    headers.insert(CONTENT_TYPE, kind);
    outbound::client(CONNECT_TIMEOUT)
        .default_headers(headers)
        .build()
}

/// Sends one request. The retryable statuses are those of the OTLP specification ("OTLP/HTTP Response", "All Other
/// Responses"), which has fewer than [`outbound::is_retryable`].
fn post(client: &Client, url: &str, body: &[u8]) -> ExportOutcome {
    let deadline = clock::now() + outbound::TIMEOUT;
    let mut response = match client.post(url).body(body.to_vec()).send() {
        Ok(response) => response,
        // The URL may contain a credential and must not be in the error.
        Err(error) => {
            return ExportOutcome::Retry(
                ExportError::Connection(root_cause(&error.without_url())),
                None,
            );
        }
    };
    let status = response.status();
    let after = retry_after(response.headers(), clock::unix_now());
    // Read the response so that the connection can be reused.
    let read = read_until(&mut response, outbound::RESPONSE_BYTES_MAX, deadline);
    match status {
        status if status.is_success() && read.is_ok() => ExportOutcome::Accepted,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => ExportOutcome::Retry(ExportError::Status(status), after),
        status => ExportOutcome::Rejected(ExportError::Status(status)),
    }
}

/// An `ExportTraceServiceRequest` of one resource and one scope.
fn request(resource: &[u8], spans: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(resource.len() + spans.len() + 64);
    ProtoMessage::new(&mut body).message(1, |resource_spans| {
        resource_spans.bytes(1, resource);
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, "weir");
                scope.text(2, env!("CARGO_PKG_VERSION"));
            });
            scope_spans.raw(spans);
        });
    });
    body
}

/// A `Resource`: the service, and the attributes in `OTEL_RESOURCE_ATTRIBUTES` (`key=value,...` with percent-encoded
/// values; OpenTelemetry resource specification), which take precedence.
fn resource(environment: &str, variable: Option<String>) -> Vec<u8> {
    let own = [
        ("service.name", "weir"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("deployment.environment.name", environment),
    ];
    let variable = variable.unwrap_or_default();
    let given: Vec<(&str, String)> = variable
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8_lossy();
            (key.trim(), value.into_owned())
        })
        .filter(|(key, _)| !key.is_empty())
        .collect();
    let mut out = Vec::new();
    let mut message = ProtoMessage::new(&mut out);
    for (key, value) in own {
        if !given.iter().any(|(other, _)| *other == key) {
            message.attribute(1, key, AttributeValue::Text(value));
        }
    }
    for (key, value) in &given {
        message.attribute(1, key, AttributeValue::Text(value));
    }
    out
}

#[cfg(test)]
#[path = "otlp_tests.rs"]
mod tests;
