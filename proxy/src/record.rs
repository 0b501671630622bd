//! Stage eight: metrics and the event, once for every request, whatever became of it.
//!
//! The way of a request only formats its event and hands it to a bounded buffer; writing is a
//! thread of its own. It never waits for a disk.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::batch::Lines;
use self::event::Format;
use self::file::{EventFile, Stdout};
use self::hand::{Books, Sink, Tally, Written};
use self::otlp::Exporter;
use self::sampling::Sampling;
use self::span::Spans;
use self::spooled::Spooled;
use self::writer::Writer;
use crate::audit::{self, Action, Audit, Refused};
use crate::clock;
use crate::exchange::{Exchange, Recorder};
use crate::metrics::Metrics;
use crate::random;
use crate::refusal::ErrorCode;
use crate::ship::Ship;

mod batch;
pub mod event;
mod file;
#[cfg(test)]
pub(crate) mod fixture;
mod flush;
mod hand;
mod json;
pub mod otlp;
pub mod sampling;
mod span;
mod spooled;
mod writer;

pub use self::writer::FlushOutcome;

/// The `route` of requests that match none.
pub const NO_ROUTE: &str = "none";
/// The `platform` of requests that match no route.
pub const NO_PLATFORM: &str = "none";

/// The checked `events` block.
#[derive(Clone, Debug)]
pub struct Config {
    pub stdout: bool,
    pub file: Option<FileConfig>,
    /// Where events are shipped to; `None`: nowhere.
    pub ship: Option<crate::ship::Config>,
    /// `service.environment` of events.
    pub environment: String,
    /// Where spans are sent to; `None`: nowhere, and none are made.
    pub spans: Option<otlp::Config>,
    /// `None`: no audit log.
    pub audit: Option<audit::Config>,
    /// Which requests leave an event.
    pub sampling: Sampling,
}

/// What is started before the record, and told by it.
#[derive(Default)]
pub struct Links<'a> {
    pub ship: Option<&'a Ship>,
    pub audit: Option<Arc<Audit>>,
    /// The path of each route, by name.
    pub paths: HashMap<Arc<str>, Arc<str>>,
}

/// The event file.
#[derive(Clone, Debug)]
pub struct FileConfig {
    pub path: PathBuf,
    pub rotate_at_bytes: u64,
    /// Rotated files older than this are removed.
    pub keep: Duration,
}

/// Counts every finished exchange and writes its event.
#[derive(Debug)]
pub struct Record {
    format: Format,
    metrics: Arc<Metrics>,
    /// Its events are counted, and it remembers the last ones.
    first: Writer,
    /// The standard output, when there is a file as well.
    second: Option<Writer>,
    /// Towards the spool. When there is one its events are those that are counted.
    spool: Option<Writer>,
    spans: Option<(Spans, Exporter)>,
    audit: Option<Arc<Audit>>,
}

impl Record {
    /// Opens the sinks of the configuration and starts their threads. Without a sink events are
    /// only remembered for the admin page.
    ///
    /// # Errors
    /// When the event file cannot be opened, or a thread cannot be started.
    pub fn start(
        config: &Config,
        metrics: Arc<Metrics>,
        links: Links<'_>,
    ) -> io::Result<Arc<Self>> {
        let worker = |name| metrics.worker(name).map_err(io::Error::other);
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if let Some(file) = &config.file {
            sinks.push(Box::new(EventFile::open(file, clock::unix_now())?));
        }
        if config.stdout {
            sinks.push(Box::new(Stdout::open()?));
        }
        let mut sinks = sinks.into_iter();
        let counted = Books::Counters(Tally {
            recorded: metrics.events().recorded.clone(),
            dropped: metrics.events().dropped.clone(),
        });
        let (books, spool) = match links.ship {
            None => (counted, None),
            Some(ship) => {
                let sink = Box::new(Spooled::new(ship.spool.clone()));
                let books = Books::Ledger(ship.ledger.clone());
                (
                    Books::None,
                    Some(Writer::start(worker("events-spool")?, sink, books)?),
                )
            }
        };
        let spans = match &config.spans {
            None => None,
            Some(to) => {
                let counts = metrics.spans().map_err(io::Error::other)?;
                let exporter = Exporter::start(to, &config.environment, counts, worker("otlp")?)?;
                Some((Spans::new(links.paths), exporter))
            }
        };
        let first = sinks.next().unwrap_or_else(|| Box::new(Nowhere));
        let second = sinks.next();
        let first = Writer::start(worker("events")?, first, books)?;
        let second = match second {
            Some(sink) => Some(Writer::start(worker("events-stdout")?, sink, Books::None)?),
            None => None,
        };
        Ok(Arc::new(Record {
            format: Format::new(&config.environment, config.sampling),
            metrics,
            first,
            second,
            spool,
            spans,
            audit: links.audit,
        }))
    }

    /// Waits until every event that was recorded before is written.
    #[must_use]
    pub fn flush(&self, deadline: Instant) -> FlushOutcome {
        self.all(|writer| writer.flush(deadline))
    }

    /// Writes what is left, as far as that is done by the deadline. What is recorded afterwards is
    /// counted as dropped.
    #[must_use]
    pub fn stop(&self, deadline: Instant) -> FlushOutcome {
        let events = self.all(|writer| writer.stop(deadline));
        if let Some((_, exporter)) = &self.spans {
            exporter.stop(deadline);
        }
        events
    }

    fn all(&self, end: impl Fn(&Writer) -> FlushOutcome) -> FlushOutcome {
        let others = [&self.second, &self.spool].into_iter().flatten();
        let outcomes = std::iter::once(&self.first).chain(others).map(end);
        outcomes.fold(FlushOutcome::Flushed, FlushOutcome::worse_of)
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

impl Recorder for Record {
    fn record(&self, exchange: &Exchange) {
        let duration = duration(exchange, clock::now);
        self.metrics.count(exchange, duration);
        if let (true, Some((spans, exporter))) = (exchange.is_traced(), &self.spans) {
            with_buffer(|buffer| {
                let count = spans.append(exchange, duration, buffer);
                exporter.take(buffer, count);
            });
        }
        if let (Some(audit), Some(signature)) = (&self.audit, &exchange.signature)
            && signature.outcome.is_refusal()
        {
            let refused = Refused {
                action: Action::Signature,
                scheme: signature.scheme,
                outcome: signature.outcome.as_str(),
                route: exchange.route.as_deref(),
                request_id: Some(exchange.id.as_str()),
            };
            audit.refused(&refused, exchange.client_ip);
        }
        let random = || random::bits() as u64;
        let sampling = self.format.sampling();
        if sampling.share < 1.0 && !sampling.takes(exchange, duration, random()) {
            self.metrics.events().sampled_out.inc();
            return;
        }
        with_buffer(|line| {
            self.format.append(exchange, duration, line);
            self.first.append(line);
            for writer in [&self.second, &self.spool].into_iter().flatten() {
                writer.append(line);
            }
        });
    }
}

/// Runs `write` with this thread's buffer, empty. While the thread ends that may be gone; then with a
/// new one.
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

/// From the head of the request to its end. A request that ended by itself has booked all of its
/// time to stages; one whose client left is dropped within a stage, so the clock says.
fn duration(exchange: &Exchange, now: impl FnOnce() -> Instant) -> Duration {
    match exchange.error_code {
        Some(ErrorCode::ClientClosed) => now().saturating_duration_since(exchange.timing.started()),
        _ => exchange.timing.total(),
    }
}

/// The sink of a configuration without one.
struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, lines: Lines<'_>, _now: Duration) -> Written {
        Written {
            lines: lines.count(),
            error: None,
        }
    }
}

#[cfg(test)]
mod tests;
