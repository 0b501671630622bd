//! Purging.

use super::*;
use crate::cache::purge::PathHash;
use crate::clock;

fn named(number: u32) -> PurgeTarget {
    PurgeTarget::Key(*numbered(number).id())
}

#[test]
fn a_purge_removes_what_it_names_and_counts_it() {
    let cache = cache(1 << 20, Scope::Client);
    let start = clock::now();
    for number in 0..10 {
        cache.store(numbered(number), stored(100), start);
    }
    for (target, expected) in [
        (named(3), 1),
        (named(3), 0),
        (named(77), 0),
        (PurgeTarget::Path(PathHash::of("/a")), 0),
    ] {
        assert_eq!(cache.memory.purge(&target, start), expected, "{target:?}");
    }
    assert!(cache.look_up(&numbered(3), NOW).is_none());
    assert!(cache.look_up(&numbered(4), NOW).is_some());
    assert_eq!(cache.memory.counted_bytes(), (cache.bytes(), 9));
    assert_eq!(cache.memory.purge(&PurgeTarget::All, start), 9);
    assert_eq!(cache.memory.counted_bytes(), (0, 0));
    assert_eq!(cache.bytes(), 0);
    assert_eq!(cache.purges(), 5);
    assert_eq!(cache.purge(&PurgeTarget::All), 0);
    cache.store(numbered(1), stored(100), clock::now() + SECOND);
    let key = |text: &str| text.parse::<PurgeTarget>().expect("a key");
    let other = format!("{:032x}", 0);
    assert_eq!(cache.purge(&key(&other)), 0, "of no response");
    let own = format!("{:032x}", 1_u128 << 96);
    assert_eq!(cache.purge(&key(&own)), 1);
    let counts = cache.take_counts();
    assert_eq!(counts.removed.purged, 11);
    assert_eq!(cache.take_counts().removed, RemovedCounts::default());
}

#[test]
fn a_response_to_a_request_from_before_a_purge_is_not_stored() {
    let cache = cache(1 << 20, Scope::Client);
    let purged_at = clock::now() + 10 * SECOND;
    cache.memory.purge(&named(1), purged_at);
    let later = purged_at + Duration::from_nanos(1);
    for (asked_at, is_stored) in [
        (purged_at - SECOND, false),
        (purged_at, false),
        (later, true),
    ] {
        let insertion = cache.store(numbered(2), stored(100), asked_at);
        assert_eq!(insertion == Insertion::Stored, is_stored);
        assert_eq!(cache.look_up(&numbered(2), NOW).is_some(), is_stored);
    }
    // Purges that overtake each other.
    cache.memory.purge(&named(1), purged_at - SECOND);
    cache.store(numbered(3), stored(100), purged_at);
    assert!(cache.look_up(&numbered(3), NOW).is_none());
}

#[test]
fn nothing_from_before_a_purge_is_left_by_a_race() {
    let cache = cache(1 << 20, Scope::Client);
    let asked_at = clock::now();
    for round in 0..200 {
        std::thread::scope(|scope| {
            let storing = (0..2).map(|thread| {
                let cache = &cache;
                scope.spawn(move || {
                    for number in 0..20 {
                        let key = numbered(round * 100 + thread * 20 + number);
                        cache.store(key, stored(10), asked_at);
                    }
                })
            });
            let storing: Vec<_> = storing.collect();
            cache.memory.purge(&PurgeTarget::All, clock::now());
            storing
                .into_iter()
                .for_each(|thread| thread.join().expect("no panic"));
        });
        assert_eq!(cache.memory.counted_bytes(), (0, 0), "round {round}");
    }
}
