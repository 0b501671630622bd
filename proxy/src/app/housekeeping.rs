//! Periodic work.

use std::panic;
use std::sync::Arc;
use std::time::Duration;

use pingora_runtime::Runtime;
use prometheus::IntGauge;
use tokio::sync::watch;

use super::listening::{NamedCertificates, each_worker};
use crate::gateway::Gateway;
use crate::listener::tls::expiry::CertificateExpiry;
use crate::metrics::Metrics;
use crate::system::lag;
use crate::system::memory::{self, Due, LoadDetector, LoadLevel};
use crate::worker::Worker;

/// How often idle limit keys are removed and certificate files are checked.
const INTERVAL: Duration = Duration::from_secs(2);

/// The gauges that show the load.
pub(super) struct Gauges {
    pub(super) in_flight: IntGauge,
    pub(super) connections: IntGauge,
}

/// Measures the scheduling lag of each worker.
fn watch_lag(runtime: &Runtime, metrics: &Metrics) -> prometheus::Result<()> {
    let histogram = lag::register(metrics)?;
    for worker in each_worker(runtime) {
        worker.spawn(lag::watch(histogram.clone()));
    }
    Ok(())
}

/// Returns memory to the system after a load has ended.
fn watch_memory(runtime: &Runtime, gauges: Gauges) {
    let workers = each_worker(runtime);
    runtime.get_handle().spawn(async move {
        let mut detector = LoadDetector::default();
        loop {
            tokio::time::sleep(memory::INTERVAL).await;
            let in_flight = gauges.in_flight.get().unsigned_abs();
            let level = LoadLevel {
                in_use: gauges.connections.get().unsigned_abs() + in_flight,
                in_flight,
                resident_bytes: memory::resident_bytes(),
            };
            if detector.check(level) == Due::Now {
                for worker in &workers {
                    // A worker that has ended holds no memory.
                    let _ = worker.spawn(async { memory::return_unused() }).await;
                }
                detector.returned(memory::resident_bytes());
            }
        }
    });
}

/// Starts all periodic work. It ends with the runtime, most of it when the proxy stops.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name.
pub(super) fn start(
    runtime: &Runtime,
    (gateway, certificates, gauges): (Arc<Gateway>, NamedCertificates, Gauges),
    metrics: &Metrics,
    shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    watch_lag(runtime, metrics)?;
    watch_memory(runtime, gauges);
    let worker = metrics.worker("housekeeping")?;
    let keeping = Arc::new(Housekeeping {
        worker: worker.clone(),
        gateway,
        certificates,
        expiry: CertificateExpiry::register(metrics)?,
    });
    runtime.get_handle().spawn(async move {
        worker
            .supervise_task(|| keeping.clone().run(shutdown.clone()))
            .await;
    });
    Ok(())
}

/// What the timer runs.
struct Housekeeping {
    worker: Worker,
    gateway: Arc<Gateway>,
    certificates: NamedCertificates,
    expiry: CertificateExpiry,
}

impl Housekeeping {
    async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = shutdown.wait_for(|begun| *begun) => return,
            }
            self.clone().tidy().await;
        }
    }

    async fn tidy(self: Arc<Self>) {
        self.worker.fault_point();
        self.gateway.generation().forget_idle();
        // The disk may hang, and this thread serves requests.
        let refreshed = tokio::task::spawn_blocking(move || self.refresh_certificates()).await;
        if let Err(error) = refreshed
            && error.is_panic()
        {
            panic::resume_unwind(error.into_panic());
        }
    }

    fn refresh_certificates(&self) {
        self.certificates
            .iter()
            .for_each(|(_, pair)| pair.refresh());
        let not_after = self
            .certificates
            .iter()
            .filter_map(|(address, pair)| Some((address.clone(), pair.not_after()?)));
        self.expiry.set(&not_after.collect::<Vec<_>>());
    }
}
