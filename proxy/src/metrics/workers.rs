//! The gauges and counters of workers by name.

use prometheus::{IntCounter, IntGauge, Registry, Result};

use super::catalog;
use super::family::Family;
use crate::worker::Worker;
#[cfg(test)]
use std::{collections::BTreeMap, sync::Arc};

/// The families of workers. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    restarts: Family<IntCounter>,
    up: Family<IntGauge>,
    /// The workers that were created, for tests that make each of them panic.
    #[cfg(test)]
    made: Arc<parking_lot::Mutex<BTreeMap<String, Worker>>>,
}

impl Workers {
    pub(super) fn register(registry: &Registry) -> Result<Self> {
        Ok(Workers {
            restarts: Family::register(registry, catalog::WORKER_RESTARTS, &[])?,
            up: Family::register(registry, catalog::WORKER_UP, &[])?,
            #[cfg(test)]
            made: Arc::default(),
        })
    }

    pub(super) fn worker(&self, name: &str) -> Result<Worker> {
        let worker = Worker::new(
            name,
            self.restarts.series(&[name])?,
            self.up.series(&[name])?,
        );
        #[cfg(test)]
        self.made.lock().insert(name.to_owned(), worker.clone());
        Ok(worker)
    }

    #[cfg(test)]
    pub(super) fn made(&self) -> BTreeMap<String, Worker> {
        self.made.lock().clone()
    }
}
