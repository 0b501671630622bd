use super::*;

const WINDOW: Duration = Duration::from_secs(600);

fn key(number: u64) -> ReplayKey {
    ReplayKey::of(&[&number.to_be_bytes()])
}

/// What is seen, for one window.
struct Store {
    seen: SeenRequests,
    window_s: u64,
}

impl std::ops::Deref for Store {
    type Target = SeenRequests;

    fn deref(&self) -> &SeenRequests {
        &self.seen
    }
}

impl Store {
    fn with_entries_max(entries_max: usize) -> Self {
        Store {
            seen: SeenRequests::with_entries_max(WINDOW, entries_max),
            window_s: 600,
        }
    }

    fn check_and_insert(&self, key: ReplayKey, now: Duration) -> Seen {
        self.seen.check_and_insert(key, now, self.window_s)
    }
}

fn store() -> Store {
    Store::with_entries_max(ENTRIES_MAX)
}

fn entries(store: &Store) -> usize {
    let lengths = store.shards.iter().map(|shard| shard.lock().order.len());
    lengths.sum()
}

#[test]
fn a_key_is_known_for_the_window_and_no_longer() {
    let store = store();
    let at = Duration::from_secs;
    assert_eq!(store.check_and_insert(key(1), at(1_000)), Seen::First);
    assert_eq!(store.check_and_insert(key(1), at(1_000)), Seen::Before);
    assert_eq!(store.check_and_insert(key(1), at(1_600)), Seen::Before);
    assert_eq!(store.check_and_insert(key(1), at(1_601)), Seen::First);
    assert_eq!(store.check_and_insert(key(1), at(2_201)), Seen::Before);
}

#[test]
fn a_clock_set_back_drops_nothing() {
    let store = store();
    assert_eq!(store.check_and_insert(key(1), WINDOW * 9), Seen::First);
    assert_eq!(store.check_and_insert(key(1), Duration::ZERO), Seen::Before);
    assert_eq!(store.check_and_insert(key(1), WINDOW * 10), Seen::Before);
}

#[test]
fn a_full_store_drops_the_oldest_and_counts_it() {
    let store = Store::with_entries_max(160);
    for number in 0..10_000 {
        assert_eq!(store.check_and_insert(key(number), WINDOW), Seen::First);
    }
    assert_eq!(entries(&store), 160);
    assert_eq!(store.dropped(), 10_000 - 160);
    assert_eq!(store.check_and_insert(key(9_999), WINDOW), Seen::Before);
    assert_eq!(store.check_and_insert(key(0), WINDOW), Seen::First);
}

#[test]
fn expired_keys_are_removed_without_being_counted() {
    let store = store();
    for number in 0..1_000 {
        let _ = store.check_and_insert(key(number), WINDOW);
    }
    assert_eq!(entries(&store), 1_000);
    for number in 1_000..2_000 {
        let _ = store.check_and_insert(key(number), WINDOW * 3);
    }
    assert_eq!(entries(&store), 1_000);
    assert_eq!(store.dropped(), 0);
}

#[test]
fn a_key_that_is_seen_again_keeps_its_new_place() {
    let store = store();
    let at = Duration::from_secs;
    assert_eq!(store.check_and_insert(key(1), at(0)), Seen::First);
    assert_eq!(store.check_and_insert(key(1), at(700)), Seen::First);
    for number in 2..200 {
        let _ = store.check_and_insert(key(number), at(1_200));
    }
    assert_eq!(store.check_and_insert(key(1), at(1_200)), Seen::Before);
}

#[test]
fn table_and_order_agree_even_when_numbers_wrap() {
    let store = Store::with_entries_max(160);
    for shard in &store.shards {
        shard.lock().first = u32::MAX - 3;
    }
    for number in 0..1_000_u64 {
        assert_eq!(store.check_and_insert(key(number), WINDOW), Seen::First);
        assert_eq!(store.check_and_insert(key(number), WINDOW), Seen::Before);
    }
    for shard in &store.shards {
        let shard = shard.lock();
        assert!(shard.first < 1_000 && shard.table.len() <= shard.order.len());
        for number in &shard.table {
            assert!((number.wrapping_sub(shard.first) as usize) < shard.order.len());
        }
    }
}

#[test]
fn of_equal_keys_at_once_one_is_the_first() {
    let store = store();
    for round in 0..200 {
        let firsts = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    if store.check_and_insert(key(round), WINDOW) == Seen::First {
                        firsts.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(firsts.into_inner(), 1);
    }
}

#[test]
fn schemes_that_share_a_store_see_all_keys_each_for_its_own_window() {
    let shared = SeenRequests::new(WINDOW, 2);
    let at = Duration::from_secs;
    let long = |number, now_s| shared.check_and_insert(key(number), at(now_s), 600);
    let short = |number, now_s| shared.check_and_insert(key(number), at(now_s), 60);
    assert_eq!(short(1, 1_000), Seen::First);
    assert_eq!(long(1, 1_001), Seen::Before);
    assert_eq!(long(1, 1_500), Seen::Before);
    // What is past the short window has not been cleared away.
    for number in 2..200 {
        let _ = short(number, 1_500);
    }
    assert_eq!(long(1, 1_500), Seen::Before);
    assert_eq!(short(1, 1_500), Seen::First);
}

#[test]
fn keys_depend_on_the_borders_between_parts() {
    assert_ne!(ReplayKey::of(&[b"ab", b"c"]), ReplayKey::of(&[b"a", b"bc"]));
    assert_ne!(ReplayKey::of(&[b"ab"]), ReplayKey::of(&[b"ab", b""]));
}

#[test]
fn windows_are_rounded_up_to_whole_seconds() {
    assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
    assert_eq!(whole_seconds(Duration::from_secs(2)), 2);
}
