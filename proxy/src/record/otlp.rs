//! Spans on their way to a collector: OTLP over HTTP, in protobuf (OpenTelemetry protocol 1.x).
//!
//! A request hands its spans to OpenTelemetry's batch processor, whose queue has a bound and whose
//! thread sends; what finds the queue full is counted and gone. A collector that is down, slow or wrong
//! costs a request nothing.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response};
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanExporter as Export, SpanProcessor,
};
use parking_lot::Mutex;
use reqwest::blocking::Client;

use super::metrics::SpanCounts;
use super::writer::FlushOutcome;
use crate::clock;

/// Spans that wait or are being sent; the next ones are dropped.
const WAITING_MAX: usize = 2048;
/// Spans in one request.
const BATCH_MAX: usize = 512;
/// The longest time a span waits for others.
const BATCH_WAIT: Duration = Duration::from_secs(1);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(10);
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
    processor: BatchSpanProcessor,
    waiting: Arc<AtomicUsize>,
    counts: SpanCounts,
}

impl Exporter {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// When the client cannot be made, or the system has no thread to give.
    pub(super) fn start(
        config: &Config,
        environment: &str,
        counts: SpanCounts,
    ) -> io::Result<Self> {
        let headers = config.headers.iter().cloned().collect();
        // The client has a runtime inside, which must not be made within another.
        let made = std::thread::Builder::new()
            .name("otlp-start".to_owned())
            .spawn(move || {
                Client::builder()
                    .default_headers(headers)
                    .connect_timeout(CONNECT_TIMEOUT)
                    .timeout(TIMEOUT)
                    .redirect(reqwest::redirect::Policy::none())
                    .no_proxy()
                    .build()
            })?
            .join();
        let client = made
            .map_err(|_| io::Error::other("the client towards the collector cannot be made"))?
            .map_err(io::Error::other)?;
        let inner = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&config.url)
            .with_timeout(TIMEOUT)
            .with_http_client(Http(client))
            .build()
            .map_err(io::Error::other)?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut told = Told {
            inner,
            waiting: waiting.clone(),
            counts: counts.clone(),
            complained_at: Mutex::new(None),
        };
        told.inner.set_resource(&resource(environment));
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(BATCH_WAIT)
            .build();
        let processor = BatchSpanProcessor::builder(told).with_batch_config(batches);
        Ok(Exporter {
            processor: processor.build(),
            waiting,
            counts,
        })
    }

    /// Hands over one span. Never waits.
    pub(super) fn take(&self, span: SpanData) {
        // Those that are counted here never find the processor's own queue full.
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.counts.dropped.inc();
            return;
        }
        self.processor.on_end(span);
    }

    /// Sends what waits, as far as that is done by the deadline.
    pub(super) fn stop(&self, deadline: Instant) -> FlushOutcome {
        let left = deadline.saturating_duration_since(clock::now());
        match self.processor.shutdown_with_timeout(left) {
            Ok(()) => FlushOutcome::Flushed,
            Err(_) => FlushOutcome::TimedOut,
        }
    }
}

/// Who sends the spans, beside what `OTEL_RESOURCE_ATTRIBUTES` says.
fn resource(environment: &str) -> Resource {
    let attributes = [
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("deployment.environment.name", environment.to_owned()),
    ];
    Resource::builder()
        .with_service_name("weir")
        .with_attributes(attributes)
        .build()
}

/// The library's exporter, with what became of its spans told.
#[derive(Debug)]
struct Told {
    inner: SpanExporter,
    waiting: Arc<AtomicUsize>,
    counts: SpanCounts,
    complained_at: Mutex<Option<Instant>>,
}

impl Export for Told {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let outcome = self.inner.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        match &outcome {
            Ok(()) => {
                self.counts.up.set(1);
                self.counts.exported.inc_by(spans as u64);
            }
            Err(error) => {
                self.counts.up.set(0);
                self.counts.failed.inc_by(spans as u64);
                self.complain(&error.to_string(), clock::now());
            }
        }
        outcome
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl Told {
    fn complain(&self, error: &str, now: Instant) {
        let mut last = self.complained_at.lock();
        let is_due =
            last.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINT_INTERVAL);
        if is_due {
            *last = Some(now);
            log::warn!("traces: the collector does not take spans, which are lost: {error}");
        }
    }
}

/// reqwest as OpenTelemetry calls it, from the thread that sends.
#[derive(Debug)]
struct Http(Client);

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        // An address may hold a credential: it is not told with the error.
        let answer = self.0.execute(request.try_into()?);
        let mut answer = answer.map_err(reqwest::Error::without_url)?;
        let mut body = Vec::new();
        io::Read::read_to_end(
            &mut io::Read::take(&mut answer, ANSWER_BYTES_MAX),
            &mut body,
        )?;
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = answer.status();
        *response.headers_mut() = answer.headers().clone();
        Ok(response)
    }
}
