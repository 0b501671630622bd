//! What is told of the workers beside the way of requests.

use prometheus::{IntCounter, IntGauge, Registry, Result};

use super::family::Family;
use super::{Metrics, catalog};
use crate::worker::Worker;
#[cfg(test)]
use std::{collections::BTreeMap, sync::Arc};

/// The families of workers. A clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Workers {
    restarts: Family<IntCounter>,
    up: Family<IntGauge>,
    /// Those that were made, for tests that make each of them panic.
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

    fn worker(&self, name: &str) -> Result<Worker> {
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
    fn made(&self) -> BTreeMap<String, Worker> {
        self.made.lock().clone()
    }
}

impl Metrics {
    /// What a worker of this name is counted by: shown from now on. Names are weir's own.
    ///
    /// # Errors
    /// Only when the catalog names a metric wrongly.
    pub fn worker(&self, name: &str) -> Result<Worker> {
        self.workers.worker(name)
    }

    /// All workers that were made, by their names.
    #[cfg(test)]
    pub(crate) fn workers(&self) -> BTreeMap<String, Worker> {
        self.workers.made()
    }
}
