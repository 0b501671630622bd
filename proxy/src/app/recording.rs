//! The list of recorders of every request, and what they write to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use parking_lot::Mutex;

use crate::alert::counters::CounterRegistry;
use crate::alert::snapshot::{Snapshot, SnapshotSource};
use crate::audit::{Audit, LogOwners};
use crate::clock::{self, Elapsed};
use crate::config::Config;
use crate::exchange::Recorder;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::record::metrics::RequestMetrics;
use crate::record::spans::SpanRecorder;
use crate::record::{EventRecorder, Recorders};
use crate::ship::Ship;
use crate::ship::metrics::ShipMetrics;
use crate::system::SystemSample;

/// The recorders, and those of their parts that are stopped or shown.
pub(super) struct RunningRecorders {
    /// All recorders as one.
    pub(super) recorder: Arc<Recorders>,
    pub(super) events: Arc<EventRecorder>,
    pub(super) ship: Option<Arc<Ship>>,
    pub(super) audit: Option<Arc<Audit>>,
    /// The metrics of requests.
    pub(super) requests: Arc<RequestMetrics>,
    spans: Option<Arc<SpanRecorder>>,
}

impl RunningRecorders {
    /// Starts everything that records requests. Alerts count into `counters`.
    pub(super) fn start(
        config: &Config,
        owners: LogOwners,
        metrics: &Metrics,
        counters: Arc<CounterRegistry>,
    ) -> anyhow::Result<Self> {
        let requests = Arc::new(RequestMetrics::register(metrics, counters)?);
        name_metrics(&requests, config)?;
        let ship = ship(config, metrics)?;
        let audit = match &config.audit {
            Some(audit) => Some(Audit::start(audit, owners, metrics)?),
            None => None,
        };
        let output = ship.as_ref().map(|ship| ship.output());
        let events =
            EventRecorder::start(&config.events, output, metrics).context("cannot record")?;
        let spans = match &config.spans {
            Some(to) => {
                let environment = &config.events.environment;
                let spans = SpanRecorder::start(to, environment, metrics);
                Some(spans.context("cannot record")?)
            }
            None => None,
        };
        let recorders = [
            Some(requests.clone() as Arc<dyn Recorder>),
            spans.clone().map(|spans| spans as Arc<dyn Recorder>),
            audit.clone().map(|audit| audit as Arc<dyn Recorder>),
            Some(events.clone() as Arc<dyn Recorder>),
        ];
        Ok(RunningRecorders {
            recorder: Recorders::new(recorders.into_iter().flatten().collect()),
            events,
            ship,
            audit,
            requests,
            spans,
        })
    }

    /// What alerts evaluate besides requests.
    pub(super) fn snapshots(
        &self,
        metrics: &Arc<Metrics>,
        reading: Arc<Mutex<SystemSample>>,
        gateway: &Arc<Gateway>,
    ) -> SnapshotSource {
        let gateway = gateway.clone();
        let (ship, events, metrics) = (self.ship.clone(), self.events.clone(), metrics.clone());
        Box::new(move || Snapshot {
            system: reading.lock().clone(),
            spool_oldest: ship.as_ref().map(|ship| {
                let oldest = ship.spool.oldest_at();
                oldest.map_or(Duration::ZERO, |at| clock::unix_now().saturating_sub(at))
            }),
            events_dropped: match &ship {
                Some(ship) => ship.ledgers.access.counts().dropped,
                None => events.dropped(),
            },
            dependencies_down: metrics.dependencies_down(),
            open_circuits: open_circuits(&gateway),
        })
    }

    /// Writes the remaining events, and sends the remaining spans.
    pub(super) fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        let events = self.events.stop(deadline);
        if let Some(spans) = &self.spans {
            spans.stop(deadline);
        }
        events
    }
}

/// The backends with open circuits.
fn open_circuits(gateway: &Gateway) -> Vec<(Arc<str>, u64)> {
    let counts = gateway.generation().open_circuits().into_iter();
    let open = counts.filter(|count| count.endpoints > 0);
    open.map(|count| (count.backend, count.endpoints)).collect()
}

/// Creates the series of all routes and backends of a configuration.
pub(super) fn name_metrics(requests: &RequestMetrics, config: &Config) -> prometheus::Result<()> {
    let routes = config.routes.iter();
    let routes = routes.map(|route| (&*route.name, &*route.platform));
    let backends = config.backends.iter().map(|backend| &*backend.name);
    requests.add(routes, backends)
}

/// Starts shipping, where the configuration has a destination.
fn ship(config: &Config, metrics: &Metrics) -> anyhow::Result<Option<Arc<Ship>>> {
    let exposed = ShipMetrics::register(metrics)?;
    let Some(config) = &config.ship else {
        return Ok(None);
    };
    let ship = Ship::start(config, exposed.shipper(metrics)?, metrics.worker("ship")?)?;
    exposed.expose(&ship, metrics);
    Ok(Some(ship))
}
