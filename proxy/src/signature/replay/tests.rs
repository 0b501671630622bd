use super::*;

const WINDOW: Duration = Duration::from_secs(600);

fn key(number: u64) -> Key {
    Key::of(&[&number.to_be_bytes()])
}

fn store() -> Store {
    Store::new(WINDOW).expect("a window that is not zero")
}

fn entries(store: &Store) -> usize {
    let lengths = store.shards.iter().map(|shard| shard.lock().order.len());
    lengths.sum()
}

#[test]
fn a_key_is_known_for_the_window_and_no_longer() {
    let store = store();
    let at = Duration::from_secs;
    assert_eq!(store.witness(key(1), at(1_000)), Sighting::First);
    assert_eq!(store.witness(key(1), at(1_000)), Sighting::Again);
    assert_eq!(store.witness(key(1), at(1_600)), Sighting::Again);
    assert_eq!(store.witness(key(1), at(1_601)), Sighting::First);
    assert_eq!(store.witness(key(1), at(2_201)), Sighting::Again);
}

#[test]
fn a_clock_set_back_forgets_nothing() {
    let store = store();
    assert_eq!(store.witness(key(1), WINDOW * 9), Sighting::First);
    assert_eq!(store.witness(key(1), Duration::ZERO), Sighting::Again);
    assert_eq!(store.witness(key(1), WINDOW * 10), Sighting::Again);
}

#[test]
fn a_full_store_drops_the_oldest_and_counts_it() {
    let store = Store::with_entries_max(WINDOW, 160).expect("a window");
    for number in 0..10_000 {
        assert_eq!(store.witness(key(number), WINDOW), Sighting::First);
    }
    assert_eq!(entries(&store), 160);
    assert_eq!(store.dropped(), 10_000 - 160);
    assert_eq!(store.witness(key(9_999), WINDOW), Sighting::Again);
    assert_eq!(store.witness(key(0), WINDOW), Sighting::First);
}

#[test]
fn what_is_past_its_time_is_cleared_away_without_being_counted() {
    let store = store();
    for number in 0..1_000 {
        let _ = store.witness(key(number), WINDOW);
    }
    assert_eq!(entries(&store), 1_000);
    for number in 1_000..2_000 {
        let _ = store.witness(key(number), WINDOW * 3);
    }
    assert_eq!(entries(&store), 1_000);
    assert_eq!(store.dropped(), 0);
}

#[test]
fn a_key_that_is_seen_anew_keeps_its_new_place() {
    let store = store();
    let at = Duration::from_secs;
    assert_eq!(store.witness(key(1), at(0)), Sighting::First);
    assert_eq!(store.witness(key(1), at(700)), Sighting::First);
    for number in 2..200 {
        let _ = store.witness(key(number), at(1_200));
    }
    assert_eq!(store.witness(key(1), at(1_200)), Sighting::Again);
}

#[test]
fn the_table_holds_what_the_order_holds_also_when_numbers_wrap() {
    let store = Store::with_entries_max(WINDOW, 160).expect("a window");
    for shard in &store.shards {
        shard.lock().first = u32::MAX - 3;
    }
    for number in 0..1_000_u64 {
        assert_eq!(store.witness(key(number), WINDOW), Sighting::First);
        assert_eq!(store.witness(key(number), WINDOW), Sighting::Again);
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
                    if store.witness(key(round), WINDOW) == Sighting::First {
                        firsts.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(firsts.into_inner(), 1);
    }
}

#[test]
fn what_one_has_seen_all_who_share_have_seen_each_for_its_own_window() {
    let shared = Arc::new(Shared::new(WINDOW, 2));
    let long = Store::sharing(&shared, WINDOW).expect("a window");
    let short = Store::sharing(&shared, Duration::from_secs(60)).expect("a window");
    assert!(Store::sharing(&shared, Duration::ZERO).is_none());
    let at = Duration::from_secs;
    assert_eq!(short.witness(key(1), at(1_000)), Sighting::First);
    assert_eq!(long.witness(key(1), at(1_001)), Sighting::Again);
    assert_eq!(long.witness(key(1), at(1_500)), Sighting::Again);
    // What is past the short window has not been cleared away.
    for number in 2..200 {
        let _ = short.witness(key(number), at(1_500));
    }
    assert_eq!(long.witness(key(1), at(1_500)), Sighting::Again);
    assert_eq!(short.witness(key(1), at(1_500)), Sighting::First);
}

#[test]
fn parts_do_not_run_into_each_other() {
    assert_ne!(Key::of(&[b"ab", b"c"]), Key::of(&[b"a", b"bc"]));
    assert_ne!(Key::of(&[b"ab"]), Key::of(&[b"ab", b""]));
}

#[test]
fn a_window_of_zero_remembers_nothing_and_a_part_of_a_second_counts_as_one() {
    assert!(Store::new(Duration::ZERO).is_none());
    let store = Store::new(Duration::from_millis(1)).expect("a window");
    assert_eq!(store.window_s, 1);
}
