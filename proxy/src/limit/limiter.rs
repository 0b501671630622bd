//! One limit, independent of where it is counted.
//!
//! Asynchronous and with a deadline, for a counter that replicas share; in this process it never waits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use governor::clock::Clock;

use super::key::LimitKey;
use super::local::Local;
use super::verdict::LimitVerdict;
use super::{By, Config};

pub(super) struct Limiter<C: Clock> {
    pub(super) name: Arc<str>,
    pub(super) by: By,
    /// Requests at once.
    pub(super) burst: u32,
    clients: Vec<Arc<str>>,
    /// The time in which a used-up quota is restored.
    pub(super) window: Duration,
    counter: Counter<C>,
}

enum Counter<C: Clock> {
    InProcess(Local<C>),
}

impl<C: Clock> Limiter<C> {
    pub(super) fn new(config: &Config, keys_max: usize, clock: C) -> Self {
        let local = Local::new(config, keys_max, clock);
        Limiter {
            name: config.name.clone(),
            by: config.by.clone(),
            burst: local.burst,
            clients: config.clients.clone(),
            window: local.window,
            counter: Counter::InProcess(local),
        }
    }

    /// Whether requests of this client are counted here.
    pub(super) fn holds_for(&self, client: Option<&str>) -> bool {
        self.clients.is_empty()
            || client.is_some_and(|client| self.clients.iter().any(|named| **named == *client))
    }

    /// Counts one request against `key`, if there is quota for it. A counter outside this process has until
    /// the deadline; in this process nothing waits.
    pub(super) async fn check(&self, key: &LimitKey<'_>, _deadline: Instant) -> LimitVerdict {
        match &self.counter {
            Counter::InProcess(local) => local.check(key),
        }
    }

    /// Gives back the quota that [`Limiter::check`] has just counted.
    pub(super) async fn give_back(&self, key: &LimitKey<'_>, _deadline: Instant) {
        match &self.counter {
            Counter::InProcess(local) => local.give_back(key),
        }
    }

    pub(super) fn forget_idle(&self) {
        match &self.counter {
            Counter::InProcess(local) => local.forget_idle(),
        }
    }

    /// How many keys are held in this process.
    pub(super) fn keys(&self) -> usize {
        match &self.counter {
            Counter::InProcess(local) => local.keys(),
        }
    }
}
