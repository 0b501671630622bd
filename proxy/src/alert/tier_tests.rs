use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::Tier::{Critical, None as Recovered, Warning};
use super::*;

const INTERVAL: Duration = Duration::from_secs(15);
const START: Duration = Duration::from_secs(1_795_336_200);

fn thresholds() -> Thresholds {
    Thresholds {
        worse: Worse::Up,
        warning: 0.01,
        critical: 0.03,
        recovery: 0.005,
        hold: Duration::from_secs(30),
        interval: INTERVAL,
    }
}

/// Steps an interval apart; what changed, with the number of the step.
fn changes(
    hysteresis: &mut Hysteresis,
    thresholds: &Thresholds,
    values: &[Option<f64>],
) -> Vec<(usize, Tier)> {
    let mut changes = Vec::new();
    for (number, value) in values.iter().enumerate() {
        let at = START + thresholds.interval * u32::try_from(number).expect("few");
        let step = hysteresis.step(thresholds, at, *value);
        if let Some(before) = step.changed_from {
            assert_ne!(before, step.tier);
            changes.push((number, step.tier));
        }
    }
    changes
}

fn held(values: &[f64], steps: usize) -> Vec<Option<f64>> {
    let each = |value: &f64| vec![Some(*value); steps];
    values.iter().flat_map(each).collect()
}

#[test]
fn an_error_rate_that_rises_and_recovers_twice_changes_the_tier_four_times() {
    let percent = [0.2, 2.0, 0.8, 0.4, 5.0, 2.0, 0.8, 0.4];
    let values = held(&percent.map(|percent| percent / 100.0), 5);
    let found = changes(&mut Hysteresis::default(), &thresholds(), &values);
    assert_eq!(
        found,
        [
            (7, Warning),
            (17, Recovered),
            (22, Critical),
            (37, Recovered)
        ]
    );
}

#[test]
fn a_value_that_gets_worse_downwards_is_mirrored() {
    let mirrored = Thresholds {
        worse: Worse::Down,
        warning: 0.5,
        critical: 0.2,
        recovery: 0.6,
        ..thresholds()
    };
    let values = held(&[0.7, 0.4, 0.55, 0.1, 0.4, 0.6], 4);
    let found = changes(&mut Hysteresis::default(), &mirrored, &values);
    assert_eq!(found, [(6, Warning), (14, Critical), (22, Recovered)]);
}

#[test]
fn a_value_at_a_threshold_is_not_beyond_it_and_noise_does_not_decide() {
    let noisy = [0.01 + 1e-12, 0.03 - 1e-12, 0.03 + 1e-12];
    let found = changes(
        &mut Hysteresis::default(),
        &thresholds(),
        &held(&noisy[..1], 9),
    );
    assert_eq!(found, []);
    let mut hysteresis = Hysteresis::default();
    let found = changes(&mut hysteresis, &thresholds(), &held(&noisy[1..], 9));
    assert_eq!(found, [(2, Warning)]);
    let recovery = held(&[0.03, 0.005 + 1e-12], 3);
    let found = changes(&mut Hysteresis::default(), &thresholds(), &recovery);
    assert_eq!(found, [(2, Warning), (5, Recovered)]);
}

#[test]
fn one_value_between_thresholds_restarts_the_hold() {
    let mut values = held(&[0.02], 2);
    values.extend(held(&[0.009], 1));
    values.extend(held(&[0.02], 3));
    let found = changes(&mut Hysteresis::default(), &thresholds(), &values);
    assert_eq!(found, [(5, Warning)]);
    // So does a missing one.
    values[2] = None;
    let found = changes(&mut Hysteresis::default(), &thresholds(), &values);
    assert_eq!(found, [(5, Warning)]);
}

#[test]
fn without_traffic_a_tier_is_held_for_an_hour_and_then_dropped() {
    let (thresholds, mut hysteresis) = (thresholds(), Hysteresis::default());
    changes(&mut hysteresis, &thresholds, &held(&[0.05], 3));
    let last = START + INTERVAL * 2;
    let step = hysteresis.step(&thresholds, last + FORGET_AFTER, None);
    let (tier, sample) = (Critical, SampleState::Held);
    let changed_from = None;
    assert_eq!(
        step,
        TierStep {
            tier,
            sample,
            changed_from
        }
    );
    let step = hysteresis.step(&thresholds, last + FORGET_AFTER + INTERVAL, None);
    let (tier, sample, changed_from) = (Recovered, SampleState::Missing, Some(Critical));
    assert_eq!(
        step,
        TierStep {
            tier,
            sample,
            changed_from
        }
    );
    // A series that comes back starts anew: between the thresholds it has no tier.
    let step = hysteresis.step(&thresholds, last + FORGET_AFTER + INTERVAL * 2, Some(0.02));
    assert_eq!((step.tier, step.sample), (Recovered, SampleState::Current));
    let never = Hysteresis::default().step(&thresholds, START, None);
    assert_eq!(
        (never.tier, never.sample),
        (Recovered, SampleState::Missing)
    );
}

#[test]
fn a_tier_survives_a_restart_without_a_change() {
    let thresholds = thresholds();
    let mut hysteresis = Hysteresis::resumed(Critical, START);
    let step = hysteresis.step(&thresholds, START + INTERVAL * 10, Some(0.02));
    assert_eq!((step.tier, step.changed_from), (Critical, None));
    let mut hysteresis = Hysteresis::resumed(Critical, START);
    let step = hysteresis.step(&thresholds, START + FORGET_AFTER * 2, None);
    assert_eq!((step.tier, step.changed_from), (Recovered, Some(Critical)));
}

#[test]
fn a_hold_that_is_no_multiple_of_the_interval_is_rounded_up() {
    for (hold_s, samples, window_ms) in [
        (0, 1, 7_500),
        (15, 2, 22_500),
        (20, 3, 37_500),
        (30, 3, 37_500),
    ] {
        let thresholds = Thresholds {
            hold: Duration::from_secs(hold_s),
            ..thresholds()
        };
        assert_eq!(thresholds.samples(), samples);
        assert_eq!(thresholds.window(), Duration::from_millis(window_ms));
    }
    let at_once = Thresholds {
        hold: Duration::ZERO,
        ..thresholds()
    };
    let found = changes(
        &mut Hysteresis::default(),
        &at_once,
        &held(&[0.02, 0.05, 0.0], 1),
    );
    assert_eq!(found, [(0, Warning), (1, Critical), (2, Recovered)]);
}

#[test]
fn late_steps_and_values_that_are_not_finite_are_harmless() {
    let (thresholds, mut hysteresis) = (thresholds(), Hysteresis::default());
    let mut last = Recovered;
    for number in 0..3_u32 {
        // Up to half an interval late.
        let at = START + INTERVAL * number + Duration::from_millis(2500) * number;
        last = hysteresis.step(&thresholds, at, Some(0.05)).tier;
    }
    assert_eq!(last, Critical);
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let step = hysteresis.step(&thresholds, START + INTERVAL * 5, Some(value));
        assert_eq!((step.tier, step.sample), (Critical, SampleState::Held));
    }
}

/// The reference model, evaluated over the whole history at every step.
fn model(thresholds: &Thresholds, history: &[Option<f64>], tiers: &[Tier]) -> Tier {
    let count = thresholds.samples();
    let last = history
        .len()
        .checked_sub(count)
        .map(|from| &history[from..]);
    let all = |is: &dyn Fn(f64) -> bool| {
        last.is_some_and(|last| last.iter().all(|value| value.is_some_and(is)))
    };
    let before = tiers.last().copied().unwrap_or(Recovered);
    match () {
        () if all(&|value| value > thresholds.critical) => Critical,
        () if all(&|value| value <= thresholds.recovery) => Recovered,
        () if before == Critical => Critical,
        () if all(&|value| value > thresholds.warning) => Warning,
        () => before,
    }
}

#[test]
fn random_values_give_the_tiers_of_the_model() {
    const FIGURES: [f64; 9] = [0.0, 0.004, 0.005, 0.006, 0.01, 0.011, 0.03, 0.031, 1.0];
    let mut random = StdRng::seed_from_u64(11);
    let thresholds = thresholds();
    let mut seen = [0; 3];
    for _ in 0..200 {
        let (mut hysteresis, mut history, mut tiers) =
            (Hysteresis::default(), Vec::new(), Vec::new());
        let mut value = Some(0.0);
        for number in 0..100_u32 {
            // A value lasts a while, or nothing would ever last as long as `for`.
            if random.random_bool(0.35) {
                let next = FIGURES.choose(&mut random).copied();
                value = next.filter(|_| random.random_bool(0.85));
            }
            history.push(value);
            let expected = model(&thresholds, &history, &tiers);
            let step = hysteresis.step(&thresholds, START + INTERVAL * number, value);
            assert_eq!(step.tier, expected, "step {number} of {history:?}");
            tiers.push(expected);
            seen[expected as usize] += 1;
            assert!(hysteresis.samples.len() <= thresholds.samples());
        }
    }
    assert!(seen.iter().all(|count| *count > 1000), "{seen:?}");
}
