//! The way of events to Elasticsearch or OpenSearch: a spool on the disk, and a shipper behind it.
//!
//! Requests hand an event to the record's buffer, its thread appends it to the [`spool`], and the
//! shipper, on a thread and runtime of its own, sends what is in the spool until each event is known to
//! be in the index. The index may be down for as long as the spool has room: requests notice nothing.
//! An event is sent with its own id and only created, never overwritten, so what is sent twice is there
//! once.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::clock;
use crate::metrics::Shipping;
use crate::record::FlushOutcome;
use crate::worker::Worker;
use ledger::Ledger;
use nodes::Nodes;
use obstacle::Present;
use shipper::Shared;
use spool::Spool;

mod bulk;
pub mod condition;
mod dead_letter;
mod delivery;
pub mod ledger;
mod nodes;
mod obstacle;
mod pace;
mod setup;
mod shipper;
pub mod spool;

pub use obstacle::Obstacle;

/// Fields of an event of a request, typed so that searches and aggregations answer exactly.
pub const ACCESS_MAPPINGS: &str = include_str!("../../deploy/elasticsearch/mappings.json");
/// Fields of a change of an alert.
const ALERT_MAPPINGS: &str = include_str!("../../deploy/elasticsearch/alert-mappings.json");
/// What changes of alerts may take on the disk at most.
const ALERT_SPOOL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The checked `elasticsearch` and `spool` blocks.
#[derive(Clone)]
pub struct Config {
    pub urls: Vec<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// An API key as Elasticsearch encodes it; it goes before a user.
    pub api_key: Option<String>,
    /// Certificates that are trusted beside the well-known ones, in PEM.
    pub ca_file: Option<PathBuf>,
    pub data_stream: String,
    /// The fields of its documents: the body of a component template.
    pub mappings: &'static str,
    pub retention: Duration,
    pub batch: Batch,
    /// Of one request.
    pub timeout: Duration,
    pub spool: spool::Config,
}

/// A batch is sent when one of these is reached.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    pub events: usize,
    pub bytes: usize,
    pub wait: Duration,
}

// Secrets never reach a log, also not through `{:?}`.
impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ship::Config")
            .field("urls", &self.urls)
            .field("data_stream", &self.data_stream)
            .field("batch", &self.batch)
            .field("spool", &self.spool)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// The way of changes of alerts: to a data stream of their own, out of a spool of their own, because
    /// they are not counted with requests. `logs-weir.access-default` becomes `logs-weir.alert-default`.
    #[must_use]
    pub fn of_alerts(&self) -> Self {
        let mut parts = self.data_stream.splitn(3, '-');
        let kind = parts.next().unwrap_or("logs");
        let namespace = parts.nth(1).unwrap_or("default");
        let mut path = self.spool.path.as_os_str().to_owned();
        path.push("-alerts");
        Config {
            data_stream: format!("{kind}-weir.alert-{namespace}"),
            mappings: ALERT_MAPPINGS,
            spool: spool::Config {
                path: PathBuf::from(path),
                bytes_max: self.spool.bytes_max.min(ALERT_SPOOL_BYTES_MAX),
                ..self.spool.clone()
            },
            ..self.clone()
        }
    }
}

#[cfg(test)]
impl Config {
    pub(crate) fn fixture() -> Self {
        Config {
            urls: vec!["http://127.0.0.1:9200".to_owned()],
            username: None,
            password: None,
            api_key: None,
            ca_file: None,
            data_stream: "logs-weir.access-default".to_owned(),
            mappings: ACCESS_MAPPINGS,
            retention: Duration::from_secs(86_400),
            batch: Batch {
                events: 100,
                bytes: 100_000,
                wait: Duration::from_millis(50),
            },
            timeout: Duration::from_secs(1),
            spool: spool::Config {
                path: PathBuf::from("spool"),
                bytes_max: 1 << 20,
                sync: Duration::from_millis(100),
            },
        }
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
}

/// A running shipper and its spool.
#[derive(Debug)]
pub struct Ship {
    pub spool: Arc<Spool>,
    pub ledger: Ledger,
    obstacle: Present,
    stop: watch::Sender<Option<Instant>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Ship {
    /// Opens the spool and starts the shipper's thread. What a former process left is shipped first.
    ///
    /// # Errors
    /// When the spool cannot be opened or another process has it, or a setting cannot be used.
    pub fn start(config: &Config, metrics: Shipping, worker: Worker) -> anyhow::Result<Arc<Self>> {
        let nodes = Nodes::new(config)?;
        let ledger = Ledger::default();
        let opened = Spool::open(&config.spool, &ledger).with_context(|| {
            let path = config.spool.path.display();
            format!("events.spool.path: cannot open {path}")
        });
        let (spool, _, found) = opened?;
        if found > 0 {
            log::info!("spool: {found} events of a former run wait to be shipped");
        }
        let (stop, stopping) = watch::channel(None);
        let obstacle = Present::new(metrics.obstacles.clone());
        let shared = Shared::new(
            config,
            nodes,
            spool.clone(),
            ledger.clone(),
            (metrics, obstacle.clone(), worker.clone()),
            stopping,
        );
        // What cannot be had is an error at the start, not only a failing worker.
        let mut first = Some(runtime().context("cannot start the shipper")?);
        let shared = Arc::new(shared);
        let thread = std::thread::Builder::new()
            .name(worker.name().to_owned())
            .spawn(move || {
                let run = || {
                    let runtime = match first.take() {
                        Some(runtime) => runtime,
                        None => runtime().map_err(|error| error.to_string())?,
                    };
                    runtime.block_on(shipper::run(shared.clone()));
                    runtime.shutdown_timeout(Duration::from_millis(100));
                    Ok(())
                };
                worker.keep(run, |wait| shared.pause(wait));
            })
            .context("cannot start the shipper")?;
        Ok(Arc::new(Ship {
            spool,
            ledger,
            obstacle,
            stop,
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// What keeps events from the index now.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle.get()
    }

    /// Ships what can be shipped before the deadline; what is left stays in the spool for the next
    /// start. An index that does not take events now is not waited for.
    #[must_use]
    pub fn stop(&self, deadline: Instant) -> FlushOutcome {
        // Nobody listens any more only when the thread has ended.
        let _ = self.stop.send(Some(deadline));
        let Some(thread) = self.thread.lock().take() else {
            return FlushOutcome::Flushed;
        };
        while !thread.is_finished() {
            if clock::now() > deadline + Duration::from_millis(500) {
                return FlushOutcome::TimedOut;
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        // A panic in it has been reported by itself.
        drop(thread.join());
        FlushOutcome::Flushed
    }
}
