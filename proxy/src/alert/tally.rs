//! What requests add up to between two evaluations: for each route, and for each backend and model where
//! a rule looks at those.
//!
//! A request adds to a few counters without a lock; the engine takes them at each evaluation. So memory
//! goes by routes, backends and models, never by requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::counts::{Counts, Delta};
use super::histogram::Counting;
use super::per::Per;
use crate::exchange::{CacheOutcome, Exchange, Recorder};
pub use crate::record::metrics::{Subject, SubjectRecorders};
use crate::refusal::ErrorCode;

impl Subject {
    /// Whether it is what a rule calls by this value.
    #[must_use]
    pub fn is(&self, per: Per, value: &str) -> bool {
        match self {
            Subject::Route { name, platform } => match per {
                Per::Route => &**name == value,
                Per::Platform => &**platform == value,
                Per::Backend | Per::Model => false,
            },
            Subject::Backend(name) => per == Per::Backend && &**name == value,
            Subject::Model(name) => per == Per::Model && &**name == value,
        }
    }
}

/// What is counted of one subject's requests.
#[derive(Debug, Default)]
pub struct Tally {
    durations: Counting,
    first_tokens: Counting,
    duration_sum_us: AtomicU64,
    failed: AtomicU64,
    rate_limited: AtomicU64,
    unsigned: AtomicU64,
    cache_hits: AtomicU64,
    cache_misses: AtomicU64,
}

impl Recorder for Tally {
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
            ) => one(&self.unsigned),
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

impl Tally {
    /// What was counted since the last time.
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
                unsigned: taken(&self.unsigned),
                cache_hits: taken(&self.cache_hits),
                cache_misses: taken(&self.cache_misses),
                events_dropped: 0,
            },
        }
    }
}

/// Which subjects some rule looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    pub routes: bool,
    pub backends: bool,
    pub models: bool,
}

impl Needs {
    /// What a rule over requests needs beside what others do.
    pub fn add(&mut self, per: Option<Per>) {
        match per {
            None | Some(Per::Route | Per::Platform) => self.routes = true,
            Some(Per::Backend) => self.backends = true,
            Some(Per::Model) => self.models = true,
        }
    }
}

/// The tallies of all subjects. As many as there are series of their kind, which are bounded.
#[derive(Debug, Default)]
pub struct Tallies {
    needs: Needs,
    all: Mutex<Vec<(Subject, Arc<Tally>)>>,
}

impl Tallies {
    #[must_use]
    pub fn new(needs: Needs) -> Self {
        Tallies {
            needs,
            all: Mutex::default(),
        }
    }

    /// All that are counted.
    #[must_use]
    pub fn subjects(&self) -> Vec<Subject> {
        let all = self.all.lock();
        all.iter().map(|(subject, _)| subject.clone()).collect()
    }

    /// What each subject counted since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<(Subject, Delta)> {
        let all = self.all.lock().clone();
        let taken = all.into_iter();
        taken
            .map(|(subject, tally)| (subject, tally.take()))
            .collect()
    }
}

impl SubjectRecorders for Tallies {
    fn begin(&self, subject: Subject) -> Option<Arc<dyn Recorder>> {
        let is_needed = match subject {
            Subject::Route { .. } => self.needs.routes,
            Subject::Backend(_) => self.needs.backends,
            Subject::Model(_) => self.needs.models,
        };
        is_needed.then(|| {
            let tally = Arc::new(Tally::default());
            self.all.lock().push((subject, tally.clone()));
            tally as Arc<dyn Recorder>
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::fixture::filled;

    #[test]
    fn only_what_a_rule_looks_at_is_counted() {
        let mut needs = Needs::default();
        needs.add(Some(Per::Model));
        let tallies = Tallies::new(needs);
        let route = Subject::Route {
            name: "chat".into(),
            platform: "api".into(),
        };
        assert!(tallies.begin(route).is_none());
        assert!(tallies.begin(Subject::Backend("a".into())).is_none());
        assert!(tallies.begin(Subject::Model("m".into())).is_some());
        assert_eq!(tallies.take().len(), 1);
    }

    #[test]
    fn each_request_is_counted_once_and_for_what_it_was() {
        let tally = Tally::default();
        let mut exchange = filled();
        exchange.error_code = None;
        exchange.status = 200;
        tally.record(&exchange, Duration::from_millis(2));
        exchange.error_code = Some(ErrorCode::SignatureReplayed);
        exchange.status = 401;
        tally.record(&exchange, Duration::from_millis(1));
        exchange.error_code = Some(ErrorCode::RateLimited);
        exchange.status = 429;
        tally.record(&exchange, Duration::from_millis(1));
        exchange.error_code = Some(ErrorCode::UpstreamTimeout);
        exchange.status = 504;
        tally.record(&exchange, Duration::from_millis(1));
        let delta = tally.take();
        assert_eq!(delta.durations.iter().map(|met| met.1).sum::<u64>(), 4);
        let counts = delta.counts;
        assert_eq!(counts.duration_sum_us, 5000);
        assert_eq!(
            (counts.failed, counts.rate_limited, counts.unsigned),
            (1, 1, 1)
        );
        assert_eq!(tally.take(), Delta::default());
    }
}
