//! The record stage: every finished request is recorded exactly once, whatever its outcome, in metrics, in
//! its event and in its spans.
//!
//! `app` assembles the list of recorders: metrics and events from here, others from the modules that they
//! belong to. A request only formats its event and hands it to a bounded buffer; a worker
//! writes it. No request waits for a disk.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use self::batch::Lines;
use self::event::Format;
use self::file::{EventFile, Stdout};
use self::sink::{Accounting, EventCounts, Sink, Written};
use self::writer::Writer;
use crate::clock::{self, Elapsed};
use crate::exchange::{Exchange, Recorder};
use crate::metrics::Metrics;
use crate::random;

pub(crate) mod batch;
pub mod event;
mod file;
#[cfg(test)]
pub(crate) mod fixture;
mod json;
pub mod metrics;
pub mod otlp;
mod sampling;
pub(crate) mod sink;
mod span;
pub mod spans;
pub(crate) mod writer;

/// Several recorders as one, in a fixed order.
#[derive(Debug)]
pub struct Recorders(Box<[Arc<dyn Recorder>]>);

impl Recorders {
    #[must_use]
    pub fn new(recorders: Vec<Arc<dyn Recorder>>) -> Arc<Self> {
        Arc::new(Recorders(recorders.into_boxed_slice()))
    }
}

impl Recorder for Recorders {
    fn record(&self, exchange: &Exchange, duration: Duration) {
        for recorder in &self.0 {
            recorder.record(exchange, duration);
        }
    }
}

/// The checked `events` block, as far as it concerns the event itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub stdout: bool,
    pub file: Option<FileConfig>,
    /// `service.environment` of events.
    pub environment: String,
}

/// The event file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileConfig {
    pub path: PathBuf,
    pub rotate_at_bytes: u64,
    /// Rotated files older than this are removed.
    pub keep: Duration,
}

/// A destination of events that another module provides. Where there is one, it accounts for them.
pub struct Output {
    pub(crate) sink: Box<dyn Sink>,
    pub(crate) accounting: Arc<dyn Accounting>,
}

/// The recorder of events: writes one for each finished exchange that is sampled.
#[derive(Debug)]
pub struct EventRecorder {
    format: Format,
    sampled_out: IntCounter,
    dropped: IntCounter,
    /// Keeps the last events.
    first: Writer,
    /// The standard output, when there is a file as well.
    second: Option<Writer>,
    output: Option<Writer>,
}

impl EventRecorder {
    /// Opens the sinks of the configuration and starts their workers. Without a sink the last events are
    /// kept for the admin page, and no others.
    ///
    /// # Errors
    /// When the event file cannot be opened, or a thread cannot be started.
    pub fn start(
        config: &Config,
        output: Option<Output>,
        metrics: &Metrics,
    ) -> io::Result<Arc<Self>> {
        let worker = |name| metrics.worker(name).map_err(io::Error::other);
        let counts = EventCounts::register(metrics).map_err(io::Error::other)?;
        let (sampled_out, dropped) = (counts.sampled_out.clone(), counts.dropped.clone());
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if let Some(file) = &config.file {
            sinks.push(Box::new(EventFile::open(file, clock::unix_now())?));
        }
        if config.stdout {
            sinks.push(Box::new(Stdout::open()?));
        }
        let mut sinks = sinks.into_iter();
        let (accounting, output): (Option<Arc<dyn Accounting>>, _) = match output {
            None => (Some(Arc::new(counts)), None),
            Some(Output { sink, accounting }) => {
                let writer = Writer::start(worker("events-spool")?, sink, Some(accounting))?;
                (None, Some(writer))
            }
        };
        let first = sinks.next().unwrap_or_else(|| Box::new(Discard));
        let first = Writer::start(worker("events")?, first, accounting)?;
        let second = match sinks.next() {
            Some(sink) => Some(Writer::start(worker("events-stdout")?, sink, None)?),
            None => None,
        };
        Ok(Arc::new(EventRecorder {
            format: Format::new(&config.environment),
            sampled_out,
            dropped,
            first,
            second,
            output,
        }))
    }

    /// Waits until every event that was recorded before is written.
    ///
    /// # Errors
    /// When that takes longer than the deadline allows.
    pub fn flush(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.each_writer(|writer| writer.flush(deadline))
    }

    /// Writes what is left, as far as the deadline allows. What is recorded afterwards is counted as
    /// dropped.
    ///
    /// # Errors
    /// When something was not written in time.
    pub fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.each_writer(|writer| writer.stop(deadline))
    }

    /// Does `end` to all writers, whatever the outcome of one.
    fn each_writer(&self, end: impl Fn(&Writer) -> Result<(), Elapsed>) -> Result<(), Elapsed> {
        let others = [&self.second, &self.output].into_iter().flatten();
        let outcomes = std::iter::once(&self.first).chain(others).map(end);
        outcomes.fold(Ok(()), Result::and)
    }

    /// How many events were lost since the start, where no [`Output`] accounts for them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// The last events, at most 100, newest last.
    #[must_use]
    pub fn recent(&self, count: usize) -> Vec<String> {
        let lines = self.first.recent(count).into_iter();
        let mut events: Vec<_> = lines
            .filter_map(|line| String::from_utf8(line).ok())
            .collect();
        // Each begins with its timestamp.
        events.sort_unstable();
        events
    }
}

impl Recorder for EventRecorder {
    fn record(&self, exchange: &Exchange, duration: Duration) {
        let random = || random::bits() as u64;
        let sampling = exchange.event_sampling;
        if sampling.share < 1.0 && !sampling.samples(exchange, duration, random()) {
            self.sampled_out.inc();
            return;
        }
        with_buffer(|line| {
            self.format.append(exchange, duration, line);
            self.first.append(&exchange.id, line);
            for writer in [&self.second, &self.output].into_iter().flatten() {
                writer.append(&exchange.id, line);
            }
        });
    }
}

/// Runs `write` with this thread's buffer, empty. While the thread ends it may be gone; then a new one
/// takes its place.
fn with_buffer(write: impl Fn(&mut Vec<u8>)) {
    let with = |buffer: &mut Vec<u8>| {
        buffer.clear();
        write(buffer);
    };
    let done = BUFFER.try_with(|buffer| with(&mut buffer.borrow_mut()));
    if done.is_err() {
        with(&mut Vec::new());
    }
}

thread_local! {
    /// The buffer that events and spans of this thread are formatted in.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The sink of a configuration without one.
struct Discard;

impl Sink for Discard {
    fn write(&mut self, lines: Lines<'_>, _now: Duration) -> Written {
        Written {
            lines: lines.count(),
            error: None,
        }
    }
}

#[cfg(test)]
mod tests;
