use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::Tier::{Critical, None as Well, Warning};
use super::*;

const INTERVAL: Duration = Duration::from_secs(15);
const START: Duration = Duration::from_secs(1_795_336_200);

fn lines() -> Lines {
    Lines {
        worse: Worse::Up,
        warning: 0.01,
        critical: 0.03,
        recovery: 0.005,
        hold: Duration::from_secs(30),
        interval: INTERVAL,
    }
}

/// Steps an interval apart; what changed, with the number of the step.
fn changes(memory: &mut Memory, lines: &Lines, figures: &[Option<f64>]) -> Vec<(usize, Tier)> {
    let mut changes = Vec::new();
    for (number, figure) in figures.iter().enumerate() {
        let at = START + lines.interval * u32::try_from(number).expect("few");
        let step = memory.step(lines, at, *figure);
        if let Some(before) = step.changed_from {
            assert_ne!(before, step.tier);
            changes.push((number, step.tier));
        }
    }
    changes
}

fn held(figures: &[f64], steps: usize) -> Vec<Option<f64>> {
    let each = |figure: &f64| vec![Some(*figure); steps];
    figures.iter().flat_map(each).collect()
}

#[test]
fn errors_that_come_and_go_change_the_tier_four_times() {
    let percent = [0.2, 2.0, 0.8, 0.4, 5.0, 2.0, 0.8, 0.4];
    let figures = held(&percent.map(|percent| percent / 100.0), 5);
    let found = changes(&mut Memory::default(), &lines(), &figures);
    assert_eq!(
        found,
        [(7, Warning), (17, Well), (22, Critical), (37, Well)]
    );
}

#[test]
fn what_gets_worse_downwards_is_the_same_in_the_mirror() {
    let mirrored = Lines {
        worse: Worse::Down,
        warning: 0.5,
        critical: 0.2,
        recovery: 0.6,
        ..lines()
    };
    let figures = held(&[0.7, 0.4, 0.55, 0.1, 0.4, 0.6], 4);
    let found = changes(&mut Memory::default(), &mirrored, &figures);
    assert_eq!(found, [(6, Warning), (14, Critical), (22, Well)]);
}

#[test]
fn a_line_itself_is_not_beyond_it_and_noise_does_not_decide() {
    let noisy = [0.01 + 1e-12, 0.03 - 1e-12, 0.03 + 1e-12];
    let found = changes(&mut Memory::default(), &lines(), &held(&noisy[..1], 9));
    assert_eq!(found, []);
    let mut memory = Memory::default();
    let found = changes(&mut memory, &lines(), &held(&noisy[1..], 9));
    assert_eq!(found, [(2, Warning)]);
    let recovery = held(&[0.03, 0.005 + 1e-12], 3);
    let found = changes(&mut Memory::default(), &lines(), &recovery);
    assert_eq!(found, [(2, Warning), (5, Well)]);
}

#[test]
fn one_figure_between_begins_the_time_anew() {
    let mut figures = held(&[0.02], 2);
    figures.extend(held(&[0.009], 1));
    figures.extend(held(&[0.02], 3));
    let found = changes(&mut Memory::default(), &lines(), &figures);
    assert_eq!(found, [(5, Warning)]);
    // So does one that is missing.
    figures[2] = None;
    let found = changes(&mut Memory::default(), &lines(), &figures);
    assert_eq!(found, [(5, Warning)]);
}

#[test]
fn without_traffic_a_tier_is_held_for_an_hour_and_then_forgotten() {
    let (lines, mut memory) = (lines(), Memory::default());
    changes(&mut memory, &lines, &held(&[0.05], 3));
    let last = START + INTERVAL * 2;
    let step = memory.step(&lines, last + FORGET_AFTER, None);
    let (tier, basis) = (Critical, Basis::Held);
    let changed_from = None;
    assert_eq!(
        step,
        Step {
            tier,
            basis,
            changed_from
        }
    );
    let step = memory.step(&lines, last + FORGET_AFTER + INTERVAL, None);
    let (tier, basis, changed_from) = (Well, Basis::Forgotten, Some(Critical));
    assert_eq!(
        step,
        Step {
            tier,
            basis,
            changed_from
        }
    );
    // What comes back begins anew: between the lines it has no tier.
    let step = memory.step(&lines, last + FORGET_AFTER + INTERVAL * 2, Some(0.02));
    assert_eq!((step.tier, step.basis), (Well, Basis::Measured));
    let never = Memory::default().step(&lines, START, None);
    assert_eq!((never.tier, never.basis), (Well, Basis::Forgotten));
}

#[test]
fn a_tier_goes_on_after_a_restart_and_is_not_told_again() {
    let lines = lines();
    let mut memory = Memory::resumed(Critical, START);
    let step = memory.step(&lines, START + INTERVAL * 10, Some(0.02));
    assert_eq!((step.tier, step.changed_from), (Critical, None));
    let mut memory = Memory::resumed(Critical, START);
    let step = memory.step(&lines, START + FORGET_AFTER * 2, None);
    assert_eq!((step.tier, step.changed_from), (Well, Some(Critical)));
}

#[test]
fn a_hold_that_is_no_multiple_of_the_interval_is_rounded_up() {
    for (hold_s, samples, window_ms) in [
        (0, 1, 7_500),
        (15, 2, 22_500),
        (20, 3, 37_500),
        (30, 3, 37_500),
    ] {
        let lines = Lines {
            hold: Duration::from_secs(hold_s),
            ..lines()
        };
        assert_eq!(lines.samples(), samples);
        assert_eq!(lines.window(), Duration::from_millis(window_ms));
    }
    let at_once = Lines {
        hold: Duration::ZERO,
        ..lines()
    };
    let found = changes(
        &mut Memory::default(),
        &at_once,
        &held(&[0.02, 0.05, 0.0], 1),
    );
    assert_eq!(found, [(0, Warning), (1, Critical), (2, Well)]);
}

#[test]
fn late_steps_and_figures_that_are_none_do_no_harm() {
    let (lines, mut memory) = (lines(), Memory::default());
    let mut last = Well;
    for number in 0..3_u32 {
        // Up to half an interval late.
        let at = START + INTERVAL * number + Duration::from_millis(2500) * number;
        last = memory.step(&lines, at, Some(0.05)).tier;
    }
    assert_eq!(last, Critical);
    for figure in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let step = memory.step(&lines, START + INTERVAL * 5, Some(figure));
        assert_eq!((step.tier, step.basis), (Critical, Basis::Held));
    }
}

/// The rule of the reference, read over the whole history at every step.
fn model(lines: &Lines, history: &[Option<f64>], tiers: &[Tier]) -> Tier {
    let count = lines.samples();
    let last = history
        .len()
        .checked_sub(count)
        .map(|from| &history[from..]);
    let all = |is: &dyn Fn(f64) -> bool| {
        last.is_some_and(|last| last.iter().all(|figure| figure.is_some_and(is)))
    };
    let before = tiers.last().copied().unwrap_or(Well);
    match () {
        () if all(&|figure| figure > lines.critical) => Critical,
        () if all(&|figure| figure <= lines.recovery) => Well,
        () if before == Critical => Critical,
        () if all(&|figure| figure > lines.warning) => Warning,
        () => before,
    }
}

#[test]
fn random_figures_come_to_the_tiers_of_the_model() {
    const FIGURES: [f64; 9] = [0.0, 0.004, 0.005, 0.006, 0.01, 0.011, 0.03, 0.031, 1.0];
    let mut random = StdRng::seed_from_u64(11);
    let lines = lines();
    let mut seen = [0; 3];
    for _ in 0..200 {
        let (mut memory, mut history, mut tiers) = (Memory::default(), Vec::new(), Vec::new());
        let mut figure = Some(0.0);
        for number in 0..100_u32 {
            // It stays for a while, or else nothing ever lasts as long as `for`.
            if random.random_bool(0.35) {
                let next = FIGURES.choose(&mut random).copied();
                figure = next.filter(|_| random.random_bool(0.85));
            }
            history.push(figure);
            let expected = model(&lines, &history, &tiers);
            let step = memory.step(&lines, START + INTERVAL * number, figure);
            assert_eq!(step.tier, expected, "step {number} of {history:?}");
            tiers.push(expected);
            seen[expected as usize] += 1;
            assert!(memory.samples.len() <= lines.samples());
        }
    }
    assert!(seen.iter().all(|count| *count > 1000), "{seen:?}");
}
