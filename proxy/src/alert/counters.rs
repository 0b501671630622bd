//! Counters of requests between two evaluations: for each route, and for each backend and model where a rule
//! needs those.
//!
//! A request adds to a few counters without a lock; the engine takes them at each evaluation. A swap of
//! generations can change what is needed: counters start from zero then, or stop. Memory is bounded by routes,
//! backends and models, not by requests.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;

use super::counts::{Counts, Delta};
use super::histogram::AtomicHistogram;
use super::per::Per;
use crate::exchange::{CacheOutcome, Exchange, Recorder};
pub use crate::record::metrics::{MetricSubject, SubjectRecorders};
use crate::refusal::ErrorCode;

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
            // One that was collapsed found no stored response, and is not sent to the backend either.
            Some(CacheOutcome::Collapsed | CacheOutcome::Bypass) | None => {}
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

/// The recorder of one subject: counts while a rule needs it. Otherwise a request only reads a flag.
#[derive(Debug, Default)]
struct SubjectCounters {
    is_counting: AtomicBool,
    /// Allocated when they are needed for the first time.
    counters: OnceLock<Counters>,
}

impl SubjectCounters {
    fn set_counting(&self, is_counting: bool) {
        if is_counting && !self.is_counting.load(Ordering::Relaxed) {
            // What requests added while an earlier rule was removed.
            drop(self.counters.get_or_init(Counters::default).take());
        }
        self.is_counting.store(is_counting, Ordering::Relaxed);
    }

    /// The counters, while they count.
    fn counting(&self) -> Option<&Counters> {
        let is_counting = self.is_counting.load(Ordering::Relaxed);
        is_counting.then(|| self.counters.get()).flatten()
    }
}

impl Recorder for SubjectCounters {
    fn record(&self, exchange: &Exchange, duration: Duration) {
        if let Some(counters) = self.counting() {
            counters.record(exchange, duration);
        }
    }
}

/// The kinds of subjects that the rules need.
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

    const fn include(self, subject: &MetricSubject) -> bool {
        match subject {
            MetricSubject::Route { .. } => self.routes,
            MetricSubject::Backend(_) => self.backends,
            MetricSubject::Model(_) => self.models,
        }
    }
}

/// The counters of all subjects, as many as there are series of their kind, which are bounded.
#[derive(Debug, Default)]
pub struct CounterRegistry(Mutex<Registered>);

#[derive(Debug, Default)]
struct Registered {
    needs: Needs,
    subjects: Vec<(MetricSubject, Arc<SubjectCounters>)>,
}

impl CounterRegistry {
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        CounterRegistry(Mutex::new(Registered {
            needs,
            subjects: Vec::new(),
        }))
    }

    /// Changes which subjects are counted: those that were not counted before start from zero.
    pub fn set_needs(&self, needs: Needs) {
        let mut registered = self.0.lock();
        registered.needs = needs;
        for (subject, counters) in &registered.subjects {
            counters.set_counting(needs.include(subject));
        }
    }

    /// Takes the counts of each subject that is counted, since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<(MetricSubject, Delta)> {
        let all = self.0.lock().subjects.clone().into_iter();
        all.filter_map(|(subject, counters)| Some((subject, counters.counting()?.take())))
            .collect()
    }
}

impl SubjectRecorders for CounterRegistry {
    fn begin(&self, subject: MetricSubject) -> Option<Arc<dyn Recorder>> {
        let mut registered = self.0.lock();
        let counters = Arc::new(SubjectCounters::default());
        counters.set_counting(registered.needs.include(&subject));
        registered.subjects.push((subject, counters.clone()));
        Some(counters)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::filled;

    #[test]
    fn only_subjects_that_rules_need_are_counted() {
        let needs = |per| {
            let mut needs = Needs::default();
            needs.add(Some(per));
            needs
        };
        let registry = CounterRegistry::new(needs(Per::Model));
        let route = MetricSubject::Route {
            name: "chat".into(),
            platform: "api".into(),
        };
        let subjects = [
            route,
            MetricSubject::Backend("a".into()),
            MetricSubject::Model("m".into()),
        ];
        let recorders = subjects.clone().map(|subject| registry.begin(subject));
        let record = || {
            for recorder in recorders.iter().flatten() {
                recorder.record(&filled(), Duration::from_millis(1));
            }
        };
        let counted = || {
            let taken = registry.take().into_iter();
            let counted = taken.map(|(subject, delta)| {
                let requests = delta.durations.iter().map(|met| met.1);
                (subject, requests.sum::<u64>())
            });
            counted.collect::<Vec<_>>()
        };
        record();
        assert_eq!(counted(), [(subjects[2].clone(), 1)]);
        // Other rules: what was not needed starts from zero, what is not needed any more stops.
        record();
        registry.set_needs(needs(Per::Backend));
        record();
        assert_eq!(counted(), [(subjects[1].clone(), 1)]);
        registry.set_needs(needs(Per::Model));
        assert_eq!(counted(), [(subjects[2].clone(), 0)]);
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
