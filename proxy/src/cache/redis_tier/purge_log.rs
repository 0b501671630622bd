//! The purges that this replica knows, by their positions in the stream.
//!
//! Pure: the time is passed in. An entry states up to which position its writer knew the purges when the request was asked.
//! A later purge that concerns it makes it a miss, whenever it was written and by whom: no replica can bring back what was
//! purged, and no clocks are compared.

use std::collections::VecDeque;
use std::time::Instant;

use crate::cache::CacheKey;
use crate::cache::purge::{PurgePosition, PurgeRequest};

/// How many are known; the stream keeps as many. Entries from before an older one, which is forgotten, are misses.
pub(super) const KNOWN_MAX: usize = 1_000;

#[derive(Debug, Default)]
pub(super) struct PurgeLog {
    /// In the order of their positions.
    known: VecDeque<KnownPurge>,
    /// The last one that is no longer known.
    forgotten: Option<PurgePosition>,
}

#[derive(Debug)]
struct KnownPurge {
    position: PurgePosition,
    purge: PurgeRequest,
    since: Instant,
}

/// Whether a purge was known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Noted {
    New,
    Known,
}

impl PurgeLog {
    /// Notes a purge, which is known from `now` on.
    pub(super) fn note(
        &mut self,
        position: PurgePosition,
        purge: PurgeRequest,
        now: Instant,
    ) -> Noted {
        let at = self
            .known
            .partition_point(|known| known.position < position);
        if (self.known.get(at)).is_some_and(|known| known.position == position) {
            return Noted::Known;
        }
        let since = now;
        let purge = KnownPurge {
            position,
            purge,
            since,
        };
        self.known.insert(at, purge);
        if self.known.len() > KNOWN_MAX {
            let oldest = self.known.pop_front();
            self.forget(oldest.map(|oldest| oldest.position).unwrap_or_default());
        }
        Noted::New
    }

    /// The purges up to this position are not known.
    pub(super) fn forget(&mut self, position: PurgePosition) {
        self.forgotten = self.forgotten.max(Some(position));
    }

    /// Up to which position all purges were known when a request was asked.
    pub(super) fn known_at(&self, asked_at: Instant) -> PurgePosition {
        let known = self.known.iter();
        let before = known.take_while(|known| known.since <= asked_at).last();
        before.map_or_else(PurgePosition::default, |known| known.position)
    }

    /// Whether a purge behind this position concerns the entry of a route and a key, or may have.
    pub(super) fn is_purged(&self, since: PurgePosition, route: &str, key: &CacheKey) -> bool {
        let later = self.known.iter().rev();
        let mut later = later.take_while(|known| known.position > since);
        self.forgotten.is_some_and(|forgotten| since < forgotten)
            || later.any(|known| concerns(&known.purge, route, key))
    }
}

fn concerns(purge: &PurgeRequest, route: &str, key: &CacheKey) -> bool {
    let is_of_route = purge.route.as_deref().is_none_or(|purged| purged == route);
    is_of_route
        && purge.key.as_deref().is_none_or(|purged| {
            let key = base16ct::lower::encode_string(&key.0);
            key.starts_with(purged)
        })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn at(milliseconds: u64) -> PurgePosition {
        PurgePosition {
            milliseconds,
            number: 0,
        }
    }

    fn purge(route: &str, key: &str) -> PurgeRequest {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        PurgeRequest {
            route: text(route),
            key: text(key),
        }
    }

    const KEY: CacheKey = CacheKey([0xab; 32]);

    #[test]
    fn an_entry_is_purged_by_what_its_writer_did_not_know() {
        let start = clock::now();
        for (request, purges_it) in [
            (purge("", ""), true),
            (purge("chat", ""), true),
            (purge("", "abab"), true),
            (purge("chat", "abab"), true),
            (purge("ask", ""), false),
            (purge("", "abac"), false),
            (purge("ask", "abab"), false),
            (purge("", "none"), false),
            (purge("", "/a.css"), false),
        ] {
            let mut log = PurgeLog::default();
            assert!(!log.is_purged(PurgePosition::default(), "chat", &KEY));
            log.note(at(10), request.clone(), start);
            for (since, is_later) in [
                (at(0), true),
                (at(9), true),
                (at(10), false),
                (at(11), false),
            ] {
                let expected = is_later && purges_it;
                assert_eq!(
                    log.is_purged(since, "chat", &KEY),
                    expected,
                    "{request:?} {since:?}"
                );
            }
        }
    }

    #[test]
    fn a_request_knows_the_purges_before_it() {
        let start = clock::now();
        let second = Duration::from_secs(1);
        let mut log = PurgeLog::default();
        assert_eq!(log.known_at(start), at(0));
        log.note(at(10), purge("", ""), start + second);
        log.note(at(30), purge("", ""), start + 2 * second);
        assert_eq!(log.known_at(start), at(0));
        assert_eq!(log.known_at(start + second), at(10));
        assert_eq!(log.known_at(start + 2 * second), at(30));
        // Another replica's, which is read late: whoever asked before that does not know it.
        assert_eq!(
            log.note(at(20), purge("", ""), start + 3 * second),
            Noted::New
        );
        assert_eq!(
            log.note(at(20), purge("", ""), start + 4 * second),
            Noted::Known
        );
        assert_eq!(log.known_at(start + 2 * second), at(10));
        assert_eq!(log.known_at(start + 3 * second), at(30));
    }

    #[test]
    fn entries_from_before_a_forgotten_purge_are_purged() {
        let start = clock::now();
        let mut log = PurgeLog::default();
        for number in 1..=KNOWN_MAX as u64 + 2 {
            log.note(at(number), purge("", "none"), start);
        }
        assert!(log.is_purged(at(0), "chat", &KEY));
        assert!(log.is_purged(at(1), "chat", &KEY));
        assert!(!log.is_purged(at(2), "chat", &KEY));
        log.forget(at(7));
        log.forget(at(5));
        assert!(log.is_purged(at(6), "chat", &KEY));
        assert!(!log.is_purged(at(7), "chat", &KEY));
    }
}
