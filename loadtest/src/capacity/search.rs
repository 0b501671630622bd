//! The search for the highest rate that holds: upwards by doubling, then between the last that held and
//! the first that did not, then the result is confirmed.
//!
//! Pure: it says which rate is to be tried next, and is told what came of it.

/// Runs of which most decide whether a rate holds, once one has failed.
const RUNS_MAX: usize = 3;
/// How far below a rate that was not confirmed the next one lies.
const STEP_DOWN: f64 = 0.9;

/// What is asked for; rates in requests a second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub from: f64,
    pub to: f64,
    /// The distance of the result from a rate that fails, as a share of it.
    pub precision: f64,
    /// How often the result has to hold beyond its first time.
    pub confirmations: usize,
}

/// What came of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Held,
    Failed,
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Next {
    Try(f64),
    /// The highest rate that held and was confirmed; `None`: there is none.
    Done(Option<f64>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    Doubling,
    Halving,
    Confirming,
    Done,
}

/// The search.
#[derive(Clone, Debug)]
pub struct Search {
    bounds: Bounds,
    phase: Phase,
    rate: f64,
    /// Of the rate that is being tried.
    runs: Vec<Outcome>,
    held: Option<f64>,
    failed: Option<f64>,
}

impl Search {
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Search {
            bounds,
            phase: Phase::Doubling,
            rate: bounds.from,
            runs: Vec::new(),
            held: None,
            failed: None,
        }
    }

    #[must_use]
    pub fn next(&self) -> Next {
        match self.phase {
            Phase::Done => Next::Done(self.held),
            _ => Next::Try(self.rate),
        }
    }

    /// Whether the rate that is tried is held against the result.
    #[must_use]
    pub fn is_confirming(&self) -> bool {
        self.phase == Phase::Confirming
    }

    /// Is told what came of the last rate.
    pub fn observe(&mut self, outcome: Outcome) {
        self.runs.push(outcome);
        let held = self.count(Outcome::Held);
        let failed = self.count(Outcome::Failed);
        // A machine that stumbles once is no reason to believe that a rate is too high; one that holds
        // once is believed for now, and asked again at the end.
        let wanted = match self.phase {
            Phase::Confirming => self.bounds.confirmations,
            _ if failed == 0 => 1,
            _ => RUNS_MAX / 2 + 1,
        };
        if failed > RUNS_MAX / 2 {
            self.settle(Outcome::Failed);
        } else if held >= wanted {
            self.settle(Outcome::Held);
        }
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.runs.iter().filter(|&&one| one == outcome).count()
    }

    fn settle(&mut self, outcome: Outcome) {
        self.runs.clear();
        match (self.phase, outcome) {
            (Phase::Confirming, Outcome::Held) => self.phase = Phase::Done,
            (Phase::Confirming, Outcome::Failed) => {
                self.failed = Some(self.rate);
                self.held = None;
                self.step_down();
            }
            (_, Outcome::Held) => {
                self.held = Some(self.rate);
                self.go_on();
            }
            (_, Outcome::Failed) => {
                self.failed = Some(self.rate);
                match self.held {
                    None => self.phase = Phase::Done,
                    Some(_) => self.go_on(),
                }
            }
        }
    }

    /// From a result that was not confirmed.
    fn step_down(&mut self) {
        if self.rate <= self.bounds.from {
            self.phase = Phase::Done;
            return;
        }
        self.rate = round((self.rate * STEP_DOWN).max(self.bounds.from));
        self.held = Some(self.rate);
    }

    fn go_on(&mut self) {
        let held = self.held.unwrap_or(self.bounds.from);
        match self.failed {
            None if held >= self.bounds.to => self.confirm(held),
            None => {
                self.phase = Phase::Doubling;
                self.rate = round((held * 2.0).min(self.bounds.to));
            }
            Some(failed) => {
                let between = round((held * failed).sqrt());
                let is_near = failed <= held * (1.0 + self.bounds.precision);
                if is_near || between <= held || between >= failed {
                    self.confirm(held);
                } else {
                    self.phase = Phase::Halving;
                    self.rate = between;
                }
            }
        }
    }

    fn confirm(&mut self, held: f64) {
        self.rate = held;
        self.phase = match self.bounds.confirmations {
            0 => Phase::Done,
            _ => Phase::Confirming,
        };
    }
}

/// Rates that can be read: three digits.
fn round(rate: f64) -> f64 {
    let scale = 10_f64.powf(rate.abs().max(1e-9).log10().floor() - 2.0);
    (rate / scale).round() * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        from: 10.0,
        to: 10_000.0,
        precision: 0.05,
        confirmations: 2,
    };

    /// Runs a search against something that decides; the result, and how many runs there were.
    fn search(bounds: Bounds, mut holds: impl FnMut(f64, usize) -> bool) -> (Option<f64>, usize) {
        let mut search = Search::new(bounds);
        for run in 0..1000 {
            match search.next() {
                Next::Done(found) => return (found, run),
                Next::Try(rate) => search.observe(match holds(rate, run) {
                    true => Outcome::Held,
                    false => Outcome::Failed,
                }),
            }
        }
        panic!("it does not come to an end");
    }

    #[test]
    fn it_finds_what_holds_within_its_precision() {
        for capacity in [10.0, 11.0, 73.0, 512.0, 999.0, 4321.0, 9999.0] {
            let (found, runs) = search(BOUNDS, |rate, _| rate <= capacity);
            let found = found.expect("a rate");
            assert!(
                found <= capacity && found >= capacity / 1.06,
                "{found} of {capacity}"
            );
            assert!(runs <= 30, "{runs} for {capacity}");
        }
    }

    #[test]
    fn the_ends_are_ends() {
        assert_eq!(search(BOUNDS, |_, _| false), (None, 2));
        assert_eq!(search(BOUNDS, |_, _| true).0, Some(10_000.0));
    }

    #[test]
    fn one_stumble_does_not_decide_and_luck_is_found_out() {
        let (found, _) = search(BOUNDS, |rate, run| rate <= 500.0 && run % 4 != 1);
        assert!(found.expect("a rate") > 470.0, "{found:?}");
        // At 640 it held once, by luck, and never again.
        let mut luck = 1;
        let (found, _) = search(BOUNDS, |rate, _| {
            let lucky = rate > 500.0 && rate < 700.0 && luck > 0;
            luck -= usize::from(lucky);
            rate <= 500.0 || lucky
        });
        let found = found.expect("a rate");
        assert!((440.0..=500.0).contains(&found), "{found}");
    }

    #[test]
    fn rates_can_be_read() {
        assert_eq!(
            (round(123.456), round(9876.0), round(0.123_456)),
            (123.0, 9880.0, 0.123)
        );
    }
}
