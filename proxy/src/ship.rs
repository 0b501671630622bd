//! Ships events to Elasticsearch or OpenSearch: a spool on disk, and a shipper that empties it.
//!
//! A request hands its event to the buffer of `record`, whose worker appends it to the [`spool`]; alert
//! transitions are appended as well. The shipper, a worker with its own runtime, sends the events in the spool
//! until each is known to be in the index. An index that is down does not affect requests; events are dropped, and
//! counted, only if the spool is full or the disk rejects them. Shipping is idempotent: each event is created under
//! its own id and never overwritten, so sending it again creates no duplicate.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;

use crate::clock::Elapsed;
use crate::record::EventOutput;
use crate::settings::secret::SecretText;
use crate::worker::Worker;
use crate::worker::runtime::RuntimeThread;
use context::ShipContext;
use dataset::{Dataset, PerDataset};
use ledger::Ledger;
use metrics::{ObstacleMetrics, ShipperMetrics};
use nodes::Nodes;
use obstacle::CurrentObstacle;
use sink::SpoolSink;
use spool::{ID_BYTES, Spool};

mod adopt;
mod bulk;
pub mod condition;
mod context;
pub mod dataset;
mod dead_letter;
mod delivery;
mod handover;
pub mod ledger;
pub mod metrics;
mod nodes;
mod obstacle;
mod pace;
mod setup;
mod shipper;
mod sink;
pub mod spool;

pub use handover::DrainedSpools;
pub use obstacle::Obstacle;

/// How long a stop waits for the thread to end after the deadline.
const STOP_GRACE: Duration = Duration::from_millis(500);

/// The checked `elasticsearch` and `spool` blocks.
#[derive(Clone, PartialEq, Eq)]
pub struct Config {
    pub urls: Vec<String>,
    pub username: Option<String>,
    pub password: Option<SecretText>,
    /// An encoded Elasticsearch API key; it takes precedence over the username.
    pub api_key: Option<SecretText>,
    /// PEM certificates to trust in addition to those of the system.
    pub ca_file: Option<PathBuf>,
    /// The data stream of request events; the name of the alert data stream is derived from it.
    pub data_stream: String,
    pub retention: Duration,
    pub batch: BatchLimits,
    /// The timeout of one request to the index.
    pub timeout: Duration,
    pub spool: spool::Config,
}

/// The limits of a batch: it is sent when it reaches one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchLimits {
    pub events: usize,
    pub bytes: usize,
    pub wait: Duration,
}

// An address may contain a credential.
impl std::fmt::Debug for Config {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ship::Config")
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
            batch: BatchLimits {
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
    obstacles: PerDataset<CurrentObstacle>,
    thread: RuntimeThread,
    /// How many events were left for a successor.
    handed_over: Mutex<PerDataset<u64>>,
}

impl Ship {
    /// Opens the spool and starts the shipper's thread. Events of the previous run are shipped first.
    ///
    /// # Errors
    /// When the spool cannot be opened, another process holds its lock, or a setting is invalid.
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
            log::info!("spool: recovered {found} events of the previous run");
        }
        adopt_former(config, &spool, &ledgers);
        // Metrics expose only the obstacle of request events.
        let obstacles = PerDataset {
            access: CurrentObstacle::new(metrics.obstacles),
            alert: CurrentObstacle::new(ObstacleMetrics::unexposed()),
        };
        let observed = (metrics.bulk_duration, worker.clone());
        let thread = RuntimeThread::start(worker, |stopping| {
            let shared = (&ledgers, &obstacles);
            let context =
                ShipContext::new(config, nodes, spool.clone(), shared, observed, stopping);
            let context = Arc::new(context);
            move || shipper::run(context.clone())
        });
        let thread = thread.context("cannot start the shipper")?;
        let ship = Arc::new(Ship {
            spool,
            ledgers,
            obstacles,
            thread,
            handed_over: Mutex::default(),
        });
        ship.adopt_drained();
        Ok(ship)
    }

    /// The spool as an output of request events.
    #[must_use]
    pub fn output(&self) -> EventOutput {
        EventOutput {
            sink: Box::new(SpoolSink::new(self.spool.clone())),
            accounting: Arc::new(self.ledgers.access.clone()),
        }
    }

    /// Appends an alert transition, one complete line of JSON, and syncs it to disk.
    ///
    /// # Errors
    /// When it cannot be written, and is counted as dropped, or cannot be synced.
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

    /// What currently keeps events of a dataset out of the index.
    #[must_use]
    pub fn obstacle(&self, dataset: Dataset) -> Option<Obstacle> {
        self.obstacles.of(dataset).get()
    }

    /// Ships as much as possible before the deadline; the rest stays in the spool for the next start. Does not
    /// wait for an index that accepts no events.
    ///
    /// # Errors
    /// When the thread has not ended shortly after the deadline.
    pub fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.thread.stop(deadline, STOP_GRACE)
    }
}

/// Migrates the alert spool of a former version. What cannot be moved stays there, and startup continues.
fn adopt_former(config: &Config, spool: &Spool, ledgers: &PerDataset<Ledger>) {
    let directory = adopt::former_directory(&config.spool.path);
    match adopt::adopt_former(&directory, spool, ledgers) {
        Ok(0) => {}
        Ok(count) => log::info!(
            "spool: moved {count} alert transitions of a former version from {}",
            directory.display()
        ),
        Err(error) => log::error!(
            "spool: cannot move all alert transitions from {}: {error}",
            directory.display()
        ),
    }
}
