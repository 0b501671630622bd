//! The record stage: every finished request is recorded exactly once, whatever its outcome, in metrics, as an event
//! and in spans.
//!
//! `app` assembles the list of recorders: metrics and events from here, others from their own modules. A request
//! only formats its event and hands it to a bounded buffer; a worker writes it. No request waits for a disk.

use std::cell::RefCell;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus::IntCounter;

use self::batch::BatchLines;
use self::event::Format;
use self::file::{EventFile, Stdout};
use self::sink::{Accounting, EventCounts, LineSink, WriteOutcome};
use self::writer::Writer;
use crate::clock::{self, Elapsed};
use crate::exchange::{Exchange, Recorder};
use crate::handover_flag::HandoverFlag;
use crate::metrics::Metrics;
use crate::random;

mod backlog;
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

    fn record_background(&self, exchange: &Exchange) {
        for recorder in &self.0 {
            recorder.record_background(exchange);
        }
    }
}

/// The part of the checked `events` block that concerns the events themselves.
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

/// A destination of events that another module provides. If there is one, it accounts for all events.
pub struct EventOutput {
    pub(crate) sink: Box<dyn LineSink>,
    pub(crate) accounting: Arc<dyn Accounting>,
}

/// The recorder of events: writes one for each sampled exchange.
#[derive(Debug)]
pub struct EventRecorder {
    format: Format,
    sampled_out: IntCounter,
    dropped: IntCounter,
    /// Keeps the most recent events as well.
    first: Writer,
    /// The standard output, if there is a file as well.
    second: Option<Writer>,
    output: Option<Writer>,
    /// Set while another process rotates the event file.
    handed_over: Arc<HandoverFlag>,
}

impl EventRecorder {
    /// Opens the configured sinks and starts their workers. Without a sink, only the most recent events are kept, for
    /// the admin page.
    ///
    /// # Errors
    /// When the event file cannot be opened, or a thread cannot be started.
    pub fn start(
        config: &Config,
        output: Option<EventOutput>,
        metrics: &Metrics,
    ) -> io::Result<Arc<Self>> {
        let worker = |name| metrics.worker(name).map_err(io::Error::other);
        let counts = EventCounts::register(metrics).map_err(io::Error::other)?;
        let (sampled_out, dropped) = (counts.sampled_out.clone(), counts.dropped.clone());
        let handed_over = Arc::new(HandoverFlag::default());
        let mut sinks: Vec<Box<dyn LineSink>> = Vec::new();
        if let Some(file) = &config.file {
            let file = EventFile::open(file, clock::unix_now(), handed_over.clone())?;
            sinks.push(Box::new(file));
        }
        if config.stdout {
            sinks.push(Box::new(Stdout::open()?));
        }
        let mut sinks = sinks.into_iter();
        let (accounting, output): (Option<Arc<dyn Accounting>>, _) = match output {
            None => (Some(Arc::new(counts)), None),
            Some(EventOutput { sink, accounting }) => {
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
            handed_over,
        }))
    }

    /// Leaves the rotation of the event file to a successor. Both append to it.
    pub fn hand_over(&self, deadline: Instant) {
        self.handed_over.set();
        // A rotation in progress.
        if self.first.flush(deadline).is_err() {
            log::warn!("events: the event file is slow; it may be rotated twice");
        }
    }

    /// The successor has failed: this process rotates the event file again.
    pub fn take_back(&self) {
        self.handed_over.clear();
    }

    /// Waits until all events recorded so far are written.
    ///
    /// # Errors
    /// When that takes longer than the deadline allows.
    pub fn flush(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.each_writer(|writer| writer.flush(deadline))
    }

    /// Writes the remaining events, as far as the deadline allows. Events recorded afterwards are counted as dropped.
    ///
    /// # Errors
    /// When an event was not written in time.
    pub fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.each_writer(|writer| writer.stop(deadline))
    }

    /// Calls `end` for all writers, even if it fails for one.
    fn each_writer(&self, end: impl Fn(&Writer) -> Result<(), Elapsed>) -> Result<(), Elapsed> {
        let others = [&self.second, &self.output].into_iter().flatten();
        let outcomes = std::iter::once(&self.first).chain(others).map(end);
        outcomes.fold(Ok(()), Result::and)
    }

    /// How many events were dropped since the start; always 0 if an [`EventOutput`] accounts for them.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.get()
    }

    /// The most recent events, at most 100, newest last.
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

/// Runs `write` with the empty buffer of this thread, or with a new one if the thread is ending.
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
    /// The buffer in which this thread formats events and spans.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The sink if none is configured.
struct Discard;

impl LineSink for Discard {
    fn write(&mut self, lines: BatchLines<'_>, _now: Duration) -> WriteOutcome {
        WriteOutcome {
            lines: lines.count(),
            error: None,
        }
    }
}

#[cfg(test)]
mod tests;
