//! Replaces what a configuration builds, while requests continue.

use std::sync::Arc;

use parking_lot::Mutex;

use super::alert_labels;
use super::recording::name_metrics;
use crate::admin::RouteList;
use crate::admin::backends::BackendSnapshots;
use crate::alert::Alerts;
use crate::backend::snapshot::BackendSnapshot;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::record::metrics::RequestMetrics;

/// The parts that a new configuration changes.
pub(super) struct Installer {
    pub(super) gateway: Arc<Gateway>,
    pub(super) alerts: Arc<Alerts>,
    pub(super) requests: Arc<RequestMetrics>,
    /// Shown by the admin API.
    pub(super) routes: Arc<RouteList>,
    installing: Mutex<()>,
}

impl Installer {
    pub(super) fn new(
        gateway: Arc<Gateway>,
        alerts: Arc<Alerts>,
        (requests, routes): (Arc<RequestMetrics>, Arc<RouteList>),
    ) -> Self {
        Installer {
            gateway,
            alerts,
            requests,
            routes,
            installing: Mutex::default(),
        }
    }

    /// Replaces the generation that requests meet, and everything else that belongs to it.
    pub(super) fn install(&self, config: &Config) {
        // One at a time: requests and alerts belong to the same configuration.
        let _installing = self.installing.lock();
        if let Err(error) = name_metrics(&self.requests, config) {
            // Series are then created by the first request.
            log::error!("cannot create the metrics of new routes and backends: {error}");
        }
        let next = self.gateway.generation().next(config);
        self.gateway.install(next);
        self.alerts.install(&config.alerts, alert_labels(config));
        self.routes.set(config);
    }
}

impl BackendSnapshots for Installer {
    fn snapshots(&self) -> Vec<BackendSnapshot> {
        self.gateway.generation().snapshots()
    }
}

impl std::fmt::Debug for Installer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Installer").finish_non_exhaustive()
    }
}
