//! What happens on a timer, beside the way of requests.

use std::sync::Arc;
use std::time::Duration;

use pingora_runtime::Runtime;
use tokio::sync::watch;

use crate::gateway::Gateway;
use crate::listener::tls::Certificates;
use crate::record::metrics::{Certificates as CertificateEnds, Metrics};
use crate::worker::Worker;

/// How often idle limit keys are forgotten and certificate files looked at.
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// Starts it.
///
/// # Errors
/// Only when the catalog names a metric wrongly.
pub(super) fn start(
    runtime: &Runtime,
    gateway: Arc<Gateway>,
    certificates: Vec<(String, Arc<Certificates>)>,
    metrics: &Metrics,
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let worker = metrics.worker("housekeeping")?;
    let keeping = Arc::new(Housekeeping {
        worker: worker.clone(),
        gateway,
        certificates,
        ends: metrics.certificates().clone(),
    });
    runtime.get_handle().spawn(async move {
        worker
            .keep_task(|| keeping.clone().run(stopping.clone()))
            .await;
    });
    Ok(())
}

/// What happens on a timer.
struct Housekeeping {
    worker: Worker,
    gateway: Arc<Gateway>,
    certificates: Vec<(String, Arc<Certificates>)>,
    ends: CertificateEnds,
}

impl Housekeeping {
    async fn run(self: Arc<Self>, mut stopping: watch::Receiver<bool>) {
        let mut tick = tokio::time::interval(HOUSEKEEPING);
        loop {
            tokio::select! {
                _ = tick.tick() => self.tidy(),
                _ = stopping.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn tidy(&self) {
        self.worker.fault_point();
        self.gateway.lanes().forget_idle();
        self.certificates
            .iter()
            .for_each(|(_, pair)| pair.refresh());
        let not_after = self
            .certificates
            .iter()
            .filter_map(|(address, pair)| Some((address.clone(), pair.not_after()?)));
        self.ends.show(&not_after.collect::<Vec<_>>());
    }
}
