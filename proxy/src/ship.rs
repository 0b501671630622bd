//! Ships events to Elasticsearch or OpenSearch: a spool on disk, and a shipper that empties it.
//!
//! A request hands its event to the buffer of `record`, whose worker appends it to the [`spool`]; alert
//! transitions are appended as well. The shipper, a worker with a runtime of its own, sends what is in the
//! spool until each event is known to be in the index. The index may be down for as long as the spool has
//! room: requests do not notice. Shipping is idempotent: an event is sent with its own id and only created,
//! never overwritten, so that it exists once however often it is sent.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::clock::Elapsed;
use crate::record::EventOutput;
use crate::worker::Worker;
use crate::worker::runtime::RuntimeThread;
use context::Context;
use dataset::{Dataset, PerDataset};
use ledger::Ledger;
use metrics::{ObstacleMetrics, ShipperMetrics};
use nodes::Nodes;
use obstacle::Present;
use sink::SpoolSink;
use spool::{ID_BYTES, Spool};

mod adopt;
mod bulk;
pub mod condition;
mod context;
pub mod dataset;
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

/// How long after the deadline of a stop the end of the thread is waited for.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// The checked `elasticsearch` and `spool` blocks.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    pub urls: Vec<String>,
    pub username: Option<String>,
    pub password: Option<String>,
    /// An API key as Elasticsearch encodes it; it has precedence over a user.
    pub api_key: Option<String>,
    /// Certificates to trust beside those of the system, in PEM.
    pub ca_file: Option<PathBuf>,
    /// The data stream of the events of requests; that of alerts is named after it.
    pub data_stream: String,
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

// Secrets never reach a log, not even through `{:?}`.
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
    pub ledgers: PerDataset<Ledger>,
    obstacles: PerDataset<Present>,
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
        let ledgers = PerDataset::<Ledger>::default();
        let opened = Spool::open(&config.spool, &ledgers).with_context(|| {
            let path = config.spool.path.display();
            format!("events.spool.path: cannot open {path}")
        });
        let (spool, _, found) = opened?;
        if found > 0 {
            log::info!("spool: {found} events of the previous run wait to be shipped");
        }
        adopt_former(config, &spool, &ledgers.alert);
        // Only what keeps events of requests from the index is exposed.
        let obstacles = PerDataset {
            access: Present::new(metrics.obstacles),
            alert: Present::new(ObstacleMetrics::unexposed()),
        };
        let observed = (metrics.bulk_duration, worker.clone());
        let thread = RuntimeThread::start(worker, |stopping| {
            let shared = (&ledgers, &obstacles);
            let context = Context::new(config, nodes, spool.clone(), shared, observed, stopping);
            let context = Arc::new(context);
            move || shipper::run(context.clone())
        });
        let thread = thread.context("cannot start the shipper")?;
        Ok(Arc::new(Ship {
            spool,
            ledgers,
            obstacles,
            thread,
        }))
    }

    /// The spool as an output of the events of requests.
    #[must_use]
    pub fn output(&self) -> EventOutput {
        EventOutput {
            sink: Box::new(SpoolSink::new(self.spool.clone())),
            accounting: Arc::new(self.ledgers.access.clone()),
        }
    }

    /// Appends an alert transition, a whole line of JSON, and syncs it to disk.
    ///
    /// # Errors
    /// When the disk rejects it; then it is counted as dropped.
    pub fn append_transition(&self, id: &[u8; ID_BYTES], line: &[u8]) -> io::Result<()> {
        let ledger = &self.ledgers.alert;
        ledger.record();
        let event = std::iter::once((id, line));
        let (appended, outcome) = self.spool.append(Dataset::Alert, event);
        if appended == 0 {
            ledger.drop_from_channel(1);
        }
        outcome.and_then(|()| self.spool.sync())
    }

    /// What keeps events of a dataset from the index now.
    #[must_use]
    pub fn obstacle(&self, dataset: Dataset) -> Option<Obstacle> {
        self.obstacles.of(dataset).get()
    }

    /// Ships what can be shipped before the deadline; what is left stays in the spool for the next
    /// start. An index that does not accept events now is not waited for.
    ///
    /// # Errors
    /// When its thread has not ended soon after the deadline.
    pub fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.thread.stop(deadline, STOP_GRACE)
    }
}

/// What cannot be adopted stays where it is, and holds up no start.
fn adopt_former(config: &Config, spool: &Spool, ledger: &Ledger) {
    let directory = adopt::directory(&config.spool.path);
    match adopt::adopt(&directory, spool, ledger) {
        Ok(0) => {}
        Ok(count) => log::info!(
            "spool: {count} alert transitions of a former version were moved here from {}",
            directory.display()
        ),
        Err(error) => log::error!(
            "spool: the alert transitions in {} cannot all be moved: {error}",
            directory.display()
        ),
    }
}
