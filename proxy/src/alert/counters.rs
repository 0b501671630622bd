//! Counters of requests between two evaluations: for each route, and for each backend and model where a rule
//! needs those.
//!
//! A request adds to a few counters without a lock; the engine takes them at each evaluation. Memory is bounded
//! by routes, backends and models, not by requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::counts::{Counts, Delta};
use super::histogram::AtomicHistogram;
use super::per::Per;
use crate::exchange::{CacheOutcome, Exchange, Recorder};
pub use crate::record::metrics::{MetricSubject, SubjectRecorders};
use crate::refusal::ErrorCode;

impl MetricSubject {
    /// Whether it has this label value.
    #[must_use]
    pub fn is(&self, per: Per, value: &str) -> bool {
        match self {
            MetricSubject::Route { name, platform } => match per {
                Per::Route => &**name == value,
                Per::Platform => &**platform == value,
                Per::Backend | Per::Model => false,
            },
            MetricSubject::Backend(name) => per == Per::Backend && &**name == value,
            MetricSubject::Model(name) => per == Per::Model && &**name == value,
        }
    }
}

/// The counters of one subject's requests.
#[derive(Debug, Default)]
pub struct Counters {
    durations: AtomicHistogram,
    first_tokens: AtomicHistogram,
    duration_sum_us: AtomicU64,
    failed: AtomicU64,
    rate_limited: AtomicU64,
    signature_failures: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
}

impl Recorder for Counters {
    fn record(&self, exchange: &Exchange, duration: Duration) {
        let one = |counter: &AtomicU64| {
            counter.fetch_add(1, Ordering::Relaxed);
        };
        self.durations.observe(duration);
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.duration_sum_us.fetch_add(us, Ordering::Relaxed);
        if exchange.failed() {
            one(&self.failed);
        }
        match exchange.error_code {
            Some(ErrorCode::RateLimited) => one(&self.rate_limited),
            Some(
                ErrorCode::SignatureMissing
                | ErrorCode::SignatureInvalid
                | ErrorCode::SignatureExpired
                | ErrorCode::SignatureReplayed,
            ) => one(&self.signature_failures),
            _ => {}
        }
        match exchange.cache.as_ref().map(|cache| cache.outcome) {
            Some(CacheOutcome::Hit) => one(&self.cache_hits),
            Some(CacheOutcome::Miss) => one(&self.cache_misses),
            Some(CacheOutcome::Bypass) | None => {}
        }
        if let Some(time) = exchange.model.time_to_first_chunk {
            self.first_tokens.observe(time);
        }
    }
}

impl Counters {
    /// Takes what was counted since the last time.
    #[must_use]
    pub fn take(&self) -> Delta {
        let taken = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        Delta {
            durations: self.durations.take(),
            first_tokens: self.first_tokens.take(),
            counts: Counts {
                duration_sum_us: taken(&self.duration_sum_us),
                failed: taken(&self.failed),
                rate_limited: taken(&self.rate_limited),
                signature_failures: taken(&self.signature_failures),
                cache_hits: taken(&self.cache_hits),
                cache_misses: taken(&self.cache_misses),
                events_dropped: 0,
            },
        }
    }
}

/// Which subjects the rules need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub routes: bool,
    pub backends: bool,
    pub models: bool,
}

impl Needs {
    /// Adds the needs of a rule over requests.
    pub fn add(&mut self, per: Option<Per>) {
        match per {
            None | Some(Per::Route | Per::Platform) => self.routes = true,
            Some(Per::Backend) => self.backends = true,
            Some(Per::Model) => self.models = true,
        }
    }
}

/// The counters of all subjects, as many as there are series of their kind, which are bounded.
#[derive(Debug, Default)]
pub struct CounterRegistry {
    needs: Needs,
    all: Mutex<Vec<(MetricSubject, Arc<Counters>)>>,
}

impl CounterRegistry {
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        CounterRegistry {
            needs,
            all: Mutex::default(),
        }
    }

    /// All subjects.
    #[must_use]
    pub fn subjects(&self) -> Vec<MetricSubject> {
        let all = self.all.lock();
        all.iter().map(|(subject, _)| subject.clone()).collect()
    }

    /// Takes the counts of each subject since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<(MetricSubject, Delta)> {
        let all = self.all.lock().clone();
        let taken = all.into_iter();
        taken
            .map(|(subject, counters)| (subject, counters.take()))
            .collect()
    }
}

impl SubjectRecorders for CounterRegistry {
    fn begin(&self, subject: MetricSubject) -> Option<Arc<dyn Recorder>> {
        let is_needed = match subject {
            MetricSubject::Route { .. } => self.needs.routes,
            MetricSubject::Backend(_) => self.needs.backends,
            MetricSubject::Model(_) => self.needs.models,
        };
        is_needed.then(|| {
            let counters = Arc::new(Counters::default());
            self.all.lock().push((subject, counters.clone()));
            counters as Arc<dyn Recorder>
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::filled;

    #[test]
    fn only_subjects_that_rules_need_are_counted() {
        let mut needs = Needs::default();
        needs.add(Some(Per::Model));
        let counters = CounterRegistry::new(needs);
        let route = MetricSubject::Route {
            name: "chat".into(),
            platform: "api".into(),
        };
        assert!(counters.begin(route).is_none());
        assert!(counters.begin(MetricSubject::Backend("a".into())).is_none());
        assert!(counters.begin(MetricSubject::Model("m".into())).is_some());
        assert_eq!(counters.take().len(), 1);
    }

    #[test]
    fn each_request_is_counted_once_by_its_outcome() {
        let counters = Counters::default();
        let mut exchange = filled();
        exchange.error_code = None;
        exchange.status = 200;
        counters.record(&exchange, Duration::from_millis(2));
        exchange.error_code = Some(ErrorCode::SignatureReplayed);
        exchange.status = 401;
        counters.record(&exchange, Duration::from_millis(1));
        exchange.error_code = Some(ErrorCode::RateLimited);
        exchange.status = 429;
        counters.record(&exchange, Duration::from_millis(1));
        exchange.error_code = Some(ErrorCode::UpstreamTimeout);
        exchange.status = 504;
        counters.record(&exchange, Duration::from_millis(1));
        let delta = counters.take();
        assert_eq!(delta.durations.iter().map(|met| met.1).sum::<u64>(), 4);
        let counts = delta.counts;
        assert_eq!(counts.duration_sum_us, 5000);
        assert_eq!(
            (
                counts.failed,
                counts.rate_limited,
                counts.signature_failures
            ),
            (1, 1, 1)
        );
        assert_eq!(counters.take(), Delta::default());
    }
}
