//! Spans on their way to a collector: OTLP over HTTP, in protobuf (OpenTelemetry protocol 1.x,
//! `opentelemetry/proto/collector/trace/v1`).
//!
//! A request appends its spans, as they go over the wire, to a buffer with a bound; a thread of its own
//! sends them. What finds too many waiting is counted and gone. A collector that is down, slow or wrong
//! costs a request nothing.

use std::fmt;
use std::io::{self, Read as _};
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use http::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use parking_lot::{Condvar, Mutex};
use percent_encoding::percent_decode_str;
use reqwest::blocking::Client;

use self::wire::{Message, Value};
use super::metrics::SpanCounts;
use super::writer::FlushOutcome;
use crate::clock;

pub(super) mod wire;

/// Spans that wait or are being sent; the next ones are dropped.
const WAITING_MAX: usize = 2048;
/// With so many waiting a request is sent at once.
const BATCH: usize = 512;
/// A buffer that became larger is given back.
const BUFFER_KEPT_BYTES: usize = 1024 * 1024;
/// The longest time a span waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);
/// A batch that was refused for now is sent so often in all.
const ATTEMPTS_MAX: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// A collector that goes on refusing is told of at most this often.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// More than a collector's answer to a batch can mean.
const ANSWER_BYTES_MAX: u64 = 64 * 1024;

/// The checked address of a collector.
#[derive(Clone)]
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

/// The way of spans out of the process.
#[derive(Debug)]
pub(super) struct Exporter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    waiting: Mutex<Waiting>,
    /// Wakes the thread, and whoever waits for its end.
    changed: Condvar,
    counts: SpanCounts,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Fields `spans` of a `ScopeSpans`, one after the other.
    spans: Vec<u8>,
    count: usize,
    /// Spans that the thread has taken and not sent yet.
    in_hand: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Running,
    Stopping,
    Ended,
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
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            counts,
        });
        let theirs = shared.clone();
        let config = config.clone();
        let resource = resource(environment, std::env::var("OTEL_RESOURCE_ATTRIBUTES").ok());
        let thread =
            std::thread::Builder::new()
                .name("otlp".to_owned())
                .spawn(move || match client(&config) {
                    Ok(client) => theirs.run(&client, &config.url, &resource),
                    Err(error) => {
                        log::error!("traces: no client towards the collector can be made: {error}");
                        theirs.end();
                    }
                })?;
        Ok(Exporter {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Hands over spans as [`super::span::Spans`] writes them. Never waits.
    pub(super) fn take(&self, spans: &[u8], count: usize) {
        let mut waiting = self.shared.waiting.lock();
        let is_full = waiting.count + waiting.in_hand + count > WAITING_MAX;
        if is_full || waiting.state != State::Running {
            drop(waiting);
            self.shared.counts.dropped.inc_by(count as u64);
            return;
        }
        waiting.spans.extend_from_slice(spans);
        let before = waiting.count;
        waiting.count += count;
        let is_due = before < BATCH && waiting.count >= BATCH;
        drop(waiting);
        if is_due {
            self.shared.changed.notify_one();
        }
    }

    /// Sends what waits, as far as that is done by the deadline.
    pub(super) fn stop(&self, deadline: Instant) -> FlushOutcome {
        let mut waiting = self.shared.waiting.lock();
        if waiting.state == State::Running {
            waiting.state = State::Stopping;
        }
        self.shared.changed.notify_all();
        while waiting.state != State::Ended {
            let waited = self.shared.changed.wait_until(&mut waiting, deadline);
            if waited.timed_out() {
                return FlushOutcome::TimedOut;
            }
        }
        drop(waiting);
        if let Some(thread) = self.thread.lock().take() {
            // It has nothing left to do; a panic in it has been reported by itself.
            drop(thread.join());
        }
        FlushOutcome::Flushed
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        let mut waiting = self.shared.waiting.lock();
        if waiting.state == State::Running {
            waiting.state = State::Stopping;
        }
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn run(&self, client: &Client, url: &str, resource: &[u8]) {
        let mut spans = Vec::new();
        let mut complained_at: Option<Instant> = None;
        loop {
            let (count, state) = self.next_batch(&mut spans);
            if count > 0 {
                let body = request(resource, &spans);
                match self.send(client, url, &body) {
                    Ok(()) => {
                        self.counts.up.set(1);
                        self.counts.exported.inc_by(count as u64);
                    }
                    Err(why) => {
                        self.counts.up.set(0);
                        self.counts.failed.inc_by(count as u64);
                        let now = clock::now();
                        let is_due = complained_at.is_none_or(|last| {
                            now.saturating_duration_since(last) >= COMPLAINT_INTERVAL
                        });
                        if is_due {
                            complained_at = Some(now);
                            log::warn!(
                                "traces: the collector takes no spans, they are lost: {why}"
                            );
                        }
                    }
                }
            }
            if state == State::Stopping {
                return self.end();
            }
        }
    }

    /// Waits for a batch, or for the time that one waits, and takes what is there.
    fn next_batch(&self, spans: &mut Vec<u8>) -> (usize, State) {
        let deadline = clock::now() + BATCH_WAIT;
        let mut waiting = self.waiting.lock();
        waiting.in_hand = 0;
        while waiting.state == State::Running && waiting.count < BATCH {
            let waited = self.changed.wait_until(&mut waiting, deadline);
            if waited.timed_out() {
                break;
            }
        }
        spans.clear();
        spans.shrink_to(BUFFER_KEPT_BYTES);
        mem::swap(&mut waiting.spans, spans);
        waiting.in_hand = mem::take(&mut waiting.count);
        (waiting.in_hand, waiting.state)
    }

    /// Sends a batch until it is taken, or refused for good or too often.
    fn send(&self, client: &Client, url: &str, body: &[u8]) -> Result<(), String> {
        let mut attempts = 1;
        loop {
            let (why, after) = match post(client, url, body) {
                Answer::Taken => return Ok(()),
                Answer::Refused(why) => return Err(why),
                Answer::NotNow(why, after) => (why, after),
            };
            let pause = after.unwrap_or(BACKOFF * attempts).min(BACKOFF_MAX);
            if attempts >= ATTEMPTS_MAX || self.is_stopping_within(pause) {
                return Err(why);
            }
            attempts += 1;
        }
    }

    /// Pauses, unless the end comes first.
    fn is_stopping_within(&self, pause: Duration) -> bool {
        let deadline = clock::now() + pause;
        let mut waiting = self.waiting.lock();
        while waiting.state == State::Running {
            if self.changed.wait_until(&mut waiting, deadline).timed_out() {
                return false;
            }
        }
        true
    }

    fn end(&self) {
        let mut waiting = self.waiting.lock();
        let left = mem::take(&mut waiting.count);
        self.counts.dropped.inc_by(left as u64);
        waiting.in_hand = 0;
        waiting.state = State::Ended;
        self.changed.notify_all();
    }
}

/// The client has a runtime inside, which must not be made within another: so it is made here, in the
/// thread that uses it.
fn client(config: &Config) -> reqwest::Result<Client> {
    let mut headers: HeaderMap = config.headers.iter().cloned().collect();
    let kind = HeaderValue::from_static("application/x-protobuf");
    headers.insert(CONTENT_TYPE, kind);
    Client::builder()
        .default_headers(headers)
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .build()
}

/// Sends one request. What may be sent again is said by the protocol's specification ("OTLP/HTTP
/// Response", "All Other Responses").
fn post(client: &Client, url: &str, body: &[u8]) -> Answer {
    let mut answer = match client.post(url).body(body.to_vec()).send() {
        Ok(answer) => answer,
        // An address may hold a credential: it is not told with the error.
        Err(error) => return Answer::NotNow(told(&error.without_url()), None),
    };
    let status = answer.status();
    let after = answer.headers().get(RETRY_AFTER);
    let after = after.and_then(|value| value.to_str().ok()?.parse().ok());
    let after = after.map(Duration::from_secs);
    let mut rest = Vec::new();
    // Read, so that the connection can be used again.
    let read = answer
        .by_ref()
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut rest);
    match status {
        status if status.is_success() && read.is_ok() => Answer::Taken,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::NotNow(format!("it answers {status}"), after),
        status => Answer::Refused(format!("it answers {status}")),
    }
}

/// An error with what led to it.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
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
