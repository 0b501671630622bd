//! Runs the active health checks of the backends in use, whatever a reload replaces.

use std::panic;
use std::sync::Arc;
use std::time::Duration;

use pingora_runtime::Runtime;
use tokio::sync::watch;

use crate::backend::checker::HealthChecks;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::worker::Worker;

/// How soon after a reload the checks of new backends begin, and those of removed ones end.
const INTERVAL: Duration = Duration::from_secs(1);

/// Starts the checks. They end when the proxy stops.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name.
pub(super) fn start(
    runtime: &Runtime,
    gateway: Arc<Gateway>,
    metrics: &Metrics,
    shutdown: watch::Receiver<bool>,
) -> prometheus::Result<()> {
    let worker = metrics.worker("health-checks")?;
    runtime.get_handle().spawn(async move {
        worker
            .supervise_task(|| run(worker.clone(), gateway.clone(), shutdown.clone()))
            .await;
    });
    Ok(())
}

async fn run(worker: Worker, gateway: Arc<Gateway>, mut shutdown: watch::Receiver<bool>) {
    let mut checks = HealthChecks::default();
    let mut tick = tokio::time::interval(INTERVAL);
    loop {
        tokio::select! {
            _ = tick.tick() => {
                worker.fault_point();
                checks.set(gateway.generation().backends());
            }
            // All checks begin anew; what they have found is kept.
            error = checks.panicked() => panic::resume_unwind(error.into_panic()),
            _ = shutdown.wait_for(|begun| *begun) => return,
        }
    }
}
