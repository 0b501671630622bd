//! The way of events to Elasticsearch or OpenSearch: a spool on the disk, and a shipper behind it.
//!
//! Requests hand an event to the record's buffer, its thread appends it to the [`spool`], and the
//! shipper, on a thread and runtime of its own, sends what is in the spool until each event is known to
//! be in the index. The index may be down for as long as the spool has room: requests notice nothing.
//! An event is sent with its own id and only created, never overwritten, so what is sent twice is there
//! once.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::clock::Elapsed;
use crate::record::Output;
use crate::worker::Worker;
use crate::worker::runtime::RuntimeThread;
use ledger::Ledger;
use metrics::ShipperMetrics;
use nodes::Nodes;
use obstacle::Present;
use shipper::Shared;
use sink::SpoolSink;
use spool::Spool;

mod bulk;
pub mod condition;
mod dead_letter;
mod delivery;
pub mod ledger;
pub mod metrics;
mod nodes;
mod obstacle;
mod pace;
mod setup;
mod shipper;
mod sink;
pub mod spool;

pub use obstacle::Obstacle;

/// Fields of an event of a request, typed so that searches and aggregations answer exactly.
pub const ACCESS_MAPPINGS: &str = include_str!("../../deploy/elasticsearch/mappings.json");
/// Fields of a change of an alert.
const ALERT_MAPPINGS: &str = include_str!("../../deploy/elasticsearch/alert-mappings.json");
/// How long after the deadline of a stop the end of the thread is waited for.
const STOP_GRACE: Duration = Duration::from_millis(500);
/// What changes of alerts may take on the disk at most.
const ALERT_SPOOL_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The checked `elasticsearch` and `spool` blocks.
#[derive(Clone, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// A running shipper and its spool.
#[derive(Debug)]
pub struct Ship {
    pub spool: Arc<Spool>,
    pub ledger: Ledger,
    obstacle: Present,
    thread: RuntimeThread,
}

impl Ship {
    /// Opens the spool and starts the shipper's thread. What a former process left is shipped first.
    ///
    /// # Errors
    /// When the spool cannot be opened or another process has it, or a setting cannot be used.
    pub fn start(
        config: &Config,
        metrics: ShipperMetrics,
        worker: Worker,
    ) -> anyhow::Result<Arc<Self>> {
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
        let obstacle = Present::new(metrics.obstacles.clone());
        let observed = (metrics, obstacle.clone(), worker.clone());
        let (events, books) = (spool.clone(), ledger.clone());
        let thread = RuntimeThread::start(worker, |stopping| {
            let shared = Shared::new(config, nodes, events, books, observed, stopping);
            let shared = Arc::new(shared);
            move || shipper::run(shared.clone())
        });
        Ok(Arc::new(Ship {
            spool,
            ledger,
            obstacle,
            thread: thread.context("cannot start the shipper")?,
        }))
    }

    /// The spool as an output of events.
    #[must_use]
    pub fn output(&self) -> Output {
        Output {
            sink: Box::new(SpoolSink::new(self.spool.clone())),
            accounting: Arc::new(self.ledger.clone()),
        }
    }

    /// What keeps events from the index now.
    #[must_use]
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle.get()
    }

    /// Ships what can be shipped before the deadline; what is left stays in the spool for the next
    /// start. An index that does not take events now is not waited for.
    ///
    /// # Errors
    /// When its thread has not ended soon after the deadline.
    pub fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.thread.stop(deadline, STOP_GRACE)
    }
}
