//! Picks an endpoint: in turn (round robin), by the load of two at random (power of two choices), or by a key
//! (rendezvous hashing).
//!
//! Pure: the state of the endpoints and the random bits are passed in. Every policy skips endpoints that are
//! unavailable, and prefers those that a request has not tried yet. An endpoint that has just recovered takes its share
//! gradually (slow start).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How an endpoint is picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BalancingPolicy {
    RoundRobin,
    LeastRequest,
    Consistent,
}

/// How long a recovered endpoint takes until it gets its whole share.
pub(super) const SLOW_START: Duration = Duration::from_secs(10);
/// The share that it begins with.
const SLOW_START_FROM: f64 = 0.1;

/// The state of an endpoint that a pick depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// A hash of its address that is equal in every replica.
    pub(super) id: u64,
    pub(super) preference: PickPreference,
    /// Requests that are in progress with it.
    pub(super) live: usize,
    /// When it recovered, if that was less than [`SLOW_START`] ago.
    pub(super) recovered_at: Option<Instant>,
}

/// Whether an endpoint should be picked; the first is best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PickPreference {
    Untried,
    /// This request has failed there already.
    Tried,
    /// It was the last to fail.
    TriedLast,
    /// Unhealthy, or its circuit is open.
    Unavailable,
}

/// A hash of `bytes` that is equal in every replica.
#[must_use]
pub fn stable_hash(bytes: &[u8]) -> u64 {
    let digest = Sha256::digest(bytes);
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first)
}

/// The position of the endpoint to use; `None` where all are unavailable. `key` is the hash of what consistent
/// balancing goes by, `random` are random bits.
pub(super) fn pick(
    policy: BalancingPolicy,
    candidates: &[Candidate],
    turn: &AtomicUsize,
    key: Option<u64>,
    random: u64,
    now: Instant,
) -> Option<usize> {
    let best = candidates
        .iter()
        .map(|candidate| candidate.preference)
        .min()?;
    if best == PickPreference::Unavailable {
        return None;
    }
    let eligible = |position: &usize| candidates[*position].preference == best;
    // An endpoint in its slow start is passed over with a probability that falls, if there is another one. With
    // consistent balancing the key decides instead of chance: each conversation moves back once.
    let drawn = match (policy, key) {
        (BalancingPolicy::Consistent, Some(key)) => key,
        _ => random,
    };
    let is_ready =
        |position: &usize| eligible(position) && takes_share(&candidates[*position], drawn, now);
    let any_ready = (0..candidates.len()).any(|position| is_ready(&position));
    let usable = |position: &usize| match any_ready {
        true => is_ready(position),
        false => eligible(position),
    };
    match (policy, key) {
        (BalancingPolicy::LeastRequest, _) => least_request(candidates, usable, random),
        (BalancingPolicy::Consistent, Some(key)) => (0..candidates.len())
            .filter(usable)
            .max_by_key(|position| mix(key ^ candidates[*position].id)),
        (BalancingPolicy::RoundRobin | BalancingPolicy::Consistent, _) => {
            // A retry does not take a turn, or every request would begin with an endpoint that fails.
            let is_retry = |candidate: &Candidate| {
                matches!(
                    candidate.preference,
                    PickPreference::Tried | PickPreference::TriedLast
                )
            };
            let turn = match candidates.iter().any(is_retry) {
                true => turn.load(Ordering::Relaxed),
                false => turn.fetch_add(1, Ordering::Relaxed),
            };
            let usable = (0..candidates.len()).filter(usable);
            let count = usable.clone().count();
            usable.clone().nth(turn.checked_rem(count)?)
        }
    }
}

/// The one of two random endpoints that has fewer requests in progress.
fn least_request(
    candidates: &[Candidate],
    usable: impl Fn(&usize) -> bool,
    random: u64,
) -> Option<usize> {
    let count = (0..candidates.len()).filter(&usable).count();
    let nth = |number: usize| (0..candidates.len()).filter(&usable).nth(number);
    let first = below(mix(random), count)?;
    let Some(step) = below(mix(!random), count - 1) else {
        return nth(first);
    };
    let (one, other) = (nth(first)?, nth((first + 1 + step) % count)?);
    Some(match candidates[other].live < candidates[one].live {
        true => other,
        false => one,
    })
}

/// Whether an endpoint that may be in its slow start takes the request for which these bits were drawn.
fn takes_share(candidate: &Candidate, drawn: u64, now: Instant) -> bool {
    let Some(recovered_at) = candidate.recovered_at else {
        return true;
    };
    let elapsed = now.saturating_duration_since(recovered_at);
    let share = (elapsed.as_secs_f64() / SLOW_START.as_secs_f64()).max(SLOW_START_FROM);
    // Independent of the rendezvous hash, which is the same mix of the same bits.
    let position = mix(!drawn ^ candidate.id.rotate_left(32)) >> 11;
    // 53 bits, as exact as a float is.
    position as f64 / (1_u64 << 53) as f64 <= share
}

/// A number below `bound`; `None` below 0.
fn below(random: u64, bound: usize) -> Option<usize> {
    let bound = u64::try_from(bound).ok().filter(|bound| *bound > 0)?;
    usize::try_from(random % bound).ok()
}

/// Spreads the bits (the finalizer of SplitMix64).
const fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn candidates(count: usize) -> Vec<Candidate> {
        let of = |number: usize| Candidate {
            id: stable_hash(format!("http://10.0.0.{number}:8000").as_bytes()),
            preference: PickPreference::Untried,
            live: 0,
            recovered_at: None,
        };
        (0..count).map(of).collect()
    }

    fn shares(
        policy: BalancingPolicy,
        candidates: &[Candidate],
        key: impl Fn(u64) -> Option<u64>,
    ) -> Vec<u32> {
        let turn = AtomicUsize::new(0);
        let now = clock::now();
        let mut counts = vec![0; candidates.len()];
        for number in 0..10_000 {
            let random = mix(number);
            if let Some(picked) = pick(policy, candidates, &turn, key(number), random, now) {
                counts[picked] += 1;
            }
        }
        counts
    }

    #[test]
    fn unavailable_endpoints_are_passed_over_and_untried_ones_come_first() {
        for policy in [
            BalancingPolicy::RoundRobin,
            BalancingPolicy::LeastRequest,
            BalancingPolicy::Consistent,
        ] {
            let mut all = candidates(4);
            all[0].preference = PickPreference::Unavailable;
            all[1].preference = PickPreference::Unavailable;
            let counts = shares(policy, &all, |number| Some(mix(number)));
            assert_eq!(counts[..2], [0, 0], "{policy:?}");
            assert!(counts[2] > 4_500 && counts[3] > 4_500, "{counts:?}");
            all[1].preference = PickPreference::Tried;
            let counts = shares(policy, &all, |number| Some(mix(number)));
            assert_eq!(counts[..2], [0, 0], "{policy:?}");
            all[2].preference = PickPreference::Unavailable;
            all[3].preference = PickPreference::Unavailable;
            let counts = shares(policy, &all, |number| Some(mix(number)));
            assert_eq!(counts, [0, 10_000, 0, 0], "{policy:?}");
            all[1].preference = PickPreference::Unavailable;
            let counts = shares(policy, &all, |number| Some(mix(number)));
            assert_eq!(counts, [0; 4], "{policy:?}");
        }
        let turn = AtomicUsize::new(0);
        let none = pick(
            BalancingPolicy::LeastRequest,
            &[],
            &turn,
            None,
            0,
            clock::now(),
        );
        assert_eq!(none, None);
    }

    #[test]
    fn a_retry_takes_no_turn() {
        let turn = AtomicUsize::new(0);
        let now = clock::now();
        let mut firsts = Vec::new();
        for _ in 0..4 {
            let mut all = candidates(2);
            let pick =
                |all: &[Candidate]| pick(BalancingPolicy::RoundRobin, all, &turn, None, 0, now);
            let first = pick(&all).expect("an endpoint");
            all[first].preference = PickPreference::Tried;
            assert_eq!(pick(&all), Some(1 - first));
            firsts.push(first);
        }
        assert_eq!(firsts, [0, 1, 0, 1]);
    }

    #[test]
    fn the_turn_survives_its_overflow() {
        let all = candidates(3);
        let turn = AtomicUsize::new(usize::MAX - 1);
        let now = clock::now();
        for _ in 0..10 {
            assert!(pick(BalancingPolicy::RoundRobin, &all, &turn, None, 0, now).is_some());
        }
    }

    #[test]
    fn the_busier_of_two_is_avoided() {
        let mut all = candidates(3);
        all[0].live = 10;
        let counts = shares(BalancingPolicy::LeastRequest, &all, |_| None);
        assert_eq!(counts[0], 0);
        all[0].live = 0;
        let counts = shares(BalancingPolicy::LeastRequest, &all, |_| None);
        assert!(counts.iter().all(|count| *count > 3_000), "{counts:?}");
        let one = candidates(1);
        assert_eq!(
            shares(BalancingPolicy::LeastRequest, &one, |_| None),
            [10_000]
        );
    }

    #[test]
    fn few_keys_move_when_an_endpoint_leaves() {
        let now = clock::now();
        let turn = AtomicUsize::new(0);
        let all = candidates(5);
        let mut without = all.clone();
        without[2].preference = PickPreference::Unavailable;
        let place = |among: &[Candidate], key| {
            pick(BalancingPolicy::Consistent, among, &turn, Some(key), 0, now)
        };
        let mut moved = 0;
        for key in (0..10_000).map(mix) {
            let before = place(&all, key);
            assert_eq!(before, place(&all, key), "the same key, the same endpoint");
            match before {
                Some(2) => moved += 1,
                before => assert_eq!(before, place(&without, key)),
            }
        }
        assert!((1_700..2_300).contains(&moved), "{moved}");
    }

    const POLICIES: [BalancingPolicy; 3] = [
        BalancingPolicy::RoundRobin,
        BalancingPolicy::LeastRequest,
        BalancingPolicy::Consistent,
    ];

    /// The picks of so many requests, each with a key, while the first of two endpoints is in its slow start.
    fn picks_after(policy: BalancingPolicy, elapsed: Duration) -> Vec<Option<usize>> {
        let now = clock::now();
        let mut all = candidates(2);
        // Idle, as an endpoint is that has just recovered: without a slow start it would be preferred.
        all[1].live = 5;
        if policy == BalancingPolicy::LeastRequest && elapsed >= SLOW_START {
            all[1].live = 0;
        }
        all[0].recovered_at = Some(now - elapsed);
        let turn = AtomicUsize::new(0);
        let pick = |number| pick(policy, &all, &turn, Some(mix(number)), mix(!number), now);
        (0..10_000).map(pick).collect()
    }

    #[test]
    fn a_recovered_endpoint_takes_its_share_gradually() {
        for policy in POLICIES {
            let share_after = |elapsed| {
                let picks = picks_after(policy, elapsed).into_iter();
                picks.filter(|picked| *picked == Some(0)).count()
            };
            let early = share_after(Duration::ZERO);
            let half = share_after(SLOW_START / 2);
            let late = share_after(SLOW_START);
            // The idle one of two gets whatever it is ready for.
            let whole = match policy {
                BalancingPolicy::LeastRequest => 10_000,
                BalancingPolicy::RoundRobin | BalancingPolicy::Consistent => 5_000,
            };
            assert!(early.abs_diff(whole / 10) < 300, "{policy:?}: {early}");
            assert!(half.abs_diff(whole / 2) < 400, "{policy:?}: {half}");
            assert!(late.abs_diff(5_000) < 300, "{policy:?}: {late}");
            // A single endpoint takes all of it.
            let mut one = candidates(1);
            one[0].recovered_at = Some(clock::now());
            assert_eq!(shares(policy, &one, Some), [10_000]);
        }
    }

    #[test]
    fn a_conversation_moves_back_once_during_a_slow_start() {
        let steps = (0..=20).map(|step| SLOW_START * step / 20);
        let rounds: Vec<_> = steps
            .map(|elapsed| picks_after(BalancingPolicy::Consistent, elapsed))
            .collect();
        for key in 0..10_000 {
            let places = rounds.iter().map(|round| round[key]);
            let mut moved = places.skip_while(|place| *place == Some(1));
            assert!(moved.all(|place| place == Some(0)), "{key}");
        }
    }

    #[test]
    fn with_all_endpoints_in_their_slow_start_each_takes_its_share() {
        let now = clock::now();
        for policy in POLICIES {
            let mut all = candidates(2);
            all.iter_mut().for_each(|one| one.recovered_at = Some(now));
            let counts = shares(policy, &all, |number| Some(mix(number)));
            assert!(counts.iter().all(|count| *count > 4_500), "{counts:?}");
        }
    }

    #[test]
    fn replicas_agree_on_the_hash() {
        assert_eq!(stable_hash(b"weir"), stable_hash(b"weir"));
        assert_eq!(stable_hash(b""), 0xe3b0_c442_98fc_1c14);
    }
}
