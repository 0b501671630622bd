//! Spans on their way to a collector: OTLP over HTTP, in protobuf (OpenTelemetry protocol 1.x,
//! `opentelemetry/proto/collector/trace/v1`).
//!
//! A request appends its spans, as they go over the wire, to a buffer with a bound; a thread of its own
//! sends them. What finds too many waiting is counted and gone. A collector that is down, slow or wrong
//! costs a request nothing.

use std::fmt;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, HeaderMap};
use http::{HeaderName, HeaderValue, StatusCode};
use percent_encoding::percent_decode_str;
use prometheus::{IntCounter, IntGauge};
use reqwest::blocking::Client;

use self::wire::{Message, Value};
use crate::backoff::Backoff;
use crate::clock;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::metrics::{Metrics, catalog};
use crate::outbound::{self, read_until, retry_after, root_cause};
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State, WorkerThread};

pub(super) mod wire;

/// Spans that wait or are being sent; the next ones are dropped.
const WAITING_MAX: usize = 2048;
/// With so many waiting a request is sent at once.
const BATCH: usize = 512;
/// A buffer that became larger is given back.
const BUFFER_KEPT_BYTES: usize = 1024 * 1024;
/// The longest time a span waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// At the end of the process no collector is waited for longer.
const STOP_MAX: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A batch that was refused for now is sent so often in all.
const ATTEMPTS_MAX: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A collector that goes on refusing is told of at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The checked address of a collector.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    /// With the path that OTLP has for traces.
    pub url: String,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

// What is sent along may be a credential.
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
    thread: WorkerThread<Waiting>,
    counts: SpanCounts,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Fields `spans` of a `ScopeSpans`, one after the other.
    spans: Vec<u8>,
    count: usize,
    /// Spans that the thread has taken and not sent yet.
    in_hand: usize,
}

/// What the thread has taken and not settled yet; it outlives a panic.
#[derive(Default)]
struct Hand {
    spans: Vec<u8>,
    count: usize,
    attempts: u32,
}

/// What the thread sends with, and how it went.
struct Sender {
    client: Client,
    url: String,
    resource: Vec<u8>,
    counts: SpanCounts,
}

/// What a collector made of a batch.
enum Answer {
    Taken,
    /// It may take it later, perhaps after so long.
    NotNow(String, Option<Duration>),
    Refused(String),
}

impl Exporter {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(
        config: &Config,
        environment: &str,
        counts: SpanCounts,
        worker: Worker,
    ) -> io::Result<Self> {
        let resource = resource(environment, std::env::var("OTEL_RESOURCE_ATTRIBUTES").ok());
        let (config, theirs) = (config.clone(), counts.clone());
        let mut hand = Hand::default();
        let on = worker.clone();
        let run = move |shared: &SharedState<Waiting>| match client(&config) {
            Ok(client) => {
                let sender = Sender {
                    client,
                    url: config.url.clone(),
                    resource: resource.clone(),
                    counts: theirs.clone(),
                };
                sender.run(shared, &mut hand, &on);
            }
            Err(error) => {
                log::error!("traces: no client towards the collector can be made: {error}");
            }
        };
        let thread = WorkerThread::start(worker, Waiting::default(), run)?;
        Ok(Exporter { thread, counts })
    }

    /// Hands over spans as [`super::span::Spans`] writes them. Never waits.
    pub(super) fn take(&self, spans: &[u8], count: usize) {
        let mut inner = self.thread.lock();
        let state = inner.state;
        let waiting = &mut inner.work;
        let is_full = waiting.count + waiting.in_hand + count > WAITING_MAX;
        if is_full || state != State::Running {
            drop(inner);
            // A collector that hangs has not failed yet; it does not keep up all the same.
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

    /// Sends what waits, as far as that is done by the deadline and within [`STOP_MAX`]: spans are worth
    /// less than what else is to be done before the end.
    pub(super) fn stop(&self, deadline: Instant) {
        let deadline = deadline.min(clock::now() + STOP_MAX);
        if self.thread.stop(deadline).is_err() {
            log::warn!("traces: the last spans could not be sent in time");
        }
    }
}

impl Sender {
    /// What is in hand when it panics is sent once more.
    fn run(&self, shared: &SharedState<Waiting>, hand: &mut Hand, worker: &Worker) {
        let mut throttle = LogThrottle::every(LOG_INTERVAL);
        loop {
            let state = next_batch(shared, hand);
            if hand.count > 0 {
                let count = hand.count as u64;
                hand.attempts += 1;
                let sent = match hand.attempts > ATTEMPTS_MAX {
                    true => Err("the exporter panics of them".to_owned()),
                    false => {
                        worker.fault_point();
                        let body = request(&self.resource, &hand.spans);
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
                                "traces: the collector takes no spans, they are lost: {why}"
                            );
                        }
                    }
                }
                (hand.count, hand.attempts) = (0, 0);
            }
            if state == State::Stopping {
                return;
            }
        }
    }

    /// Sends a batch until it is taken, or refused for good or too often.
    fn send(&self, shared: &SharedState<Waiting>, body: &[u8]) -> Result<(), String> {
        let (mut attempts, mut backoff) = (1, Backoff::new(BACKOFF, BACKOFF_MAX));
        loop {
            let (why, after) = match post(&self.client, &self.url, body) {
                Answer::Taken => return Ok(()),
                Answer::Refused(why) => return Err(why),
                Answer::NotNow(why, after) => (why, after),
            };
            let pause = after.unwrap_or_else(|| backoff.next()).min(BACKOFF_MAX);
            if attempts >= ATTEMPTS_MAX || pause_until_stop(shared, pause) == State::Stopping {
                return Err(why);
            }
            attempts += 1;
        }
    }
}

/// Waits for a batch, or for the time that one waits, and takes what is there.
fn next_batch(shared: &SharedState<Waiting>, hand: &mut Hand) -> State {
    let deadline = clock::now() + BATCH_WAIT;
    let mut inner = shared.lock();
    if hand.count > 0 {
        return inner.state;
    }
    let spans = &mut hand.spans;
    inner.work.in_hand = 0;
    shared.wait_until(&mut inner, deadline, |waiting| waiting.count >= BATCH);
    spans.clear();
    spans.shrink_to(BUFFER_KEPT_BYTES);
    let state = inner.state;
    let waiting = &mut inner.work;
    mem::swap(&mut waiting.spans, spans);
    waiting.in_hand = mem::take(&mut waiting.count);
    hand.count = waiting.in_hand;
    state
}

/// Pauses, unless the end comes first.
fn pause_until_stop(shared: &SharedState<Waiting>, pause: Duration) -> State {
    let mut inner = shared.lock();
    shared.wait_until(&mut inner, clock::now() + pause, |_| false);
    inner.state
}

/// The client has a runtime inside, which must not be made within another: so it is made here, in the
/// thread that uses it.
fn client(config: &Config) -> reqwest::Result<Client> {
    let mut headers: HeaderMap = config.headers.iter().cloned().collect();
    let kind = HeaderValue::from_static("application/x-protobuf");
    headers.insert(CONTENT_TYPE, kind);
    outbound::client(CONNECT_TIMEOUT)
        .default_headers(headers)
        .build()
}

/// Sends one request. What may be sent again is said by the protocol's specification ("OTLP/HTTP
/// Response", "All Other Responses").
fn post(client: &Client, url: &str, body: &[u8]) -> Answer {
    let deadline = clock::now() + outbound::TIMEOUT;
    let mut answer = match client.post(url).body(body.to_vec()).send() {
        Ok(answer) => answer,
        // An address may hold a credential: it is not told with the error.
        Err(error) => return Answer::NotNow(root_cause(&error.without_url()), None),
    };
    let status = answer.status();
    let after = retry_after(answer.headers());
    // Read, so that the connection can be used again.
    let read = read_until(&mut answer, outbound::RESPONSE_BYTES_MAX, deadline);
    match status {
        status if status.is_success() && read.is_ok() => Answer::Taken,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::NotNow(format!("it answers {status}"), after),
        status => Answer::Refused(format!("it answers {status}")),
    }
}

/// An `ExportTraceServiceRequest` of one resource and one scope.
fn request(resource: &[u8], spans: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(resource.len() + spans.len() + 64);
    Message::new(&mut body).message(1, |resource_spans| {
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

/// A `Resource`: who sends the spans, and what `OTEL_RESOURCE_ATTRIBUTES` says beside (`key=value,...`,
/// values percent-encoded; OpenTelemetry's resource specification). That may name another service.
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
    let mut message = Message::new(&mut out);
    for (key, value) in own {
        if !given.iter().any(|(other, _)| *other == key) {
            message.attribute(1, key, Value::Text(value));
        }
    }
    for (key, value) in &given {
        message.attribute(1, key, Value::Text(value));
    }
    out
}

#[cfg(test)]
#[path = "otlp_tests.rs"]
mod tests;
