//! Concurrent requests: a counter that is decremented when a request ends.
//!
//! It never queues: beyond the limit the caller responds with 503 at once, because a waiting request would occupy
//! memory and its client's timeout without a guarantee of being admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The concurrency limit of one route.
#[derive(Debug)]
pub struct Concurrency {
    max: usize,
    in_use: AtomicUsize,
}

/// One admitted request; dropping it frees its place.
#[derive(Debug)]
#[must_use = "the place is given back as soon as the permit is dropped"]
pub struct Permit {
    places: Arc<Concurrency>,
}

impl Concurrency {
    /// At most `max` requests at once; with 0 none is admitted.
    #[must_use]
    pub const fn new(max: usize) -> Self {
        Concurrency {
            max,
            in_use: AtomicUsize::new(0),
        }
    }

    /// A place, or `None` when all are in use.
    pub fn try_enter(self: &Arc<Self>) -> Option<Permit> {
        // No other memory depends on the counter, so relaxed is enough.
        self.in_use
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |in_use| {
                (in_use < self.max).then_some(in_use + 1)
            })
            .ok()
            .map(|_| Permit {
                places: self.clone(),
            })
    }

    /// How many places are in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use.load(Ordering::Relaxed)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.places.in_use.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_when_its_permit_is_dropped() {
        let places = Arc::new(Concurrency::new(2));
        let first = places.try_enter().expect("first place");
        let _second = places.try_enter().expect("second place");
        assert!(places.try_enter().is_none());
        assert_eq!(places.in_use(), 2);
        drop(first);
        assert!(places.try_enter().is_some());
    }

    #[test]
    fn no_places_admit_nobody() {
        assert!(Arc::new(Concurrency::new(0)).try_enter().is_none());
    }

    #[test]
    fn many_threads_never_hold_more_than_the_bound() {
        let places = Arc::new(Concurrency::new(3));
        let held = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..2_000 {
                        if let Some(permit) = places.try_enter() {
                            assert!(held.fetch_add(1, Ordering::SeqCst) < 3);
                            held.fetch_sub(1, Ordering::SeqCst);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert_eq!(places.in_use(), 0);
    }
}
