//! The recorder of spans: encodes the spans of a traced request and hands them to the exporter.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::otlp::{self, Exporter, SpanCounts};
use super::span;
use super::with_buffer;
use crate::exchange::{Exchange, Recorder};
use crate::metrics::Metrics;

/// The recorder of spans.
#[derive(Debug)]
pub struct SpanRecorder {
    exporter: Exporter,
}

impl SpanRecorder {
    /// Starts the exporter.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        config: &otlp::Config,
        environment: &str,
        metrics: &Metrics,
    ) -> io::Result<Arc<Self>> {
        let counts = SpanCounts::register(metrics).map_err(io::Error::other)?;
        let worker = metrics.worker("otlp").map_err(io::Error::other)?;
        Ok(Arc::new(SpanRecorder {
            exporter: Exporter::start(config, environment, counts, worker)?,
        }))
    }

    /// Sends the waiting spans, as far as the deadline allows.
    pub fn stop(&self, deadline: Instant) {
        self.exporter.stop(deadline);
    }
}

impl Recorder for SpanRecorder {
    fn record(&self, exchange: &Exchange, duration: Duration) {
        if exchange.is_traced() {
            with_buffer(|buffer| {
                let count = span::append(exchange, duration, buffer);
                self.exporter.take(buffer, count);
            });
        }
    }
}
