//! The search for the highest rate that passes: doubles the rate until one fails, bisects between the last rate that
//! passed and the first that failed, and confirms the result.
//!
//! Pure: returns the next rate to try, and takes the result of each run.

/// After a failed run, the majority of this many runs decides about a rate.
const RUNS_MAX: usize = 3;
/// The next rate, as a share of one that was not confirmed.
const STEP_DOWN: f64 = 0.9;

/// Options of the search; rates in requests per second.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchOptions {
    pub from: f64,
    pub to: f64,
    /// The largest distance of the result from a rate that fails, as a share of it.
    pub precision: f64,
    /// How many further runs must pass at the result.
    pub confirmations: usize,
}

/// The result of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunResult {
    Passed,
    Failed,
}

/// The next step of the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Try(f64),
    /// The highest rate that passed and was confirmed; `None`: there is none.
    Done(Option<f64>),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum SearchPhase {
    Doubling,
    Bisecting,
    Confirming,
    Done,
}

/// The search.
#[derive(Clone, Debug)]
pub struct Search {
    options: SearchOptions,
    phase: SearchPhase,
    rate: f64,
    /// The runs at the current rate.
    runs: Vec<RunResult>,
    passed: Option<f64>,
    failed: Option<f64>,
}

impl Search {
    #[must_use]
    pub fn new(options: SearchOptions) -> Self {
        Search {
            options,
            phase: SearchPhase::Doubling,
            rate: options.from,
            runs: Vec::new(),
            passed: None,
            failed: None,
        }
    }

    #[must_use]
    pub fn next(&self) -> Step {
        match self.phase {
            SearchPhase::Done => Step::Done(self.passed),
            _ => Step::Try(self.rate),
        }
    }

    /// Whether the current rate is the result, to be confirmed.
    #[must_use]
    pub fn is_confirming(&self) -> bool {
        self.phase == SearchPhase::Confirming
    }

    /// Takes the result of a run at the current rate.
    pub fn observe(&mut self, result: RunResult) {
        self.runs.push(result);
        let passed = self.count(RunResult::Passed);
        let failed = self.count(RunResult::Failed);
        // A single failure may be an outlier, so the majority decides. A single success is accepted, since the result is
        // confirmed at the end.
        let needed = match self.phase {
            SearchPhase::Confirming => self.options.confirmations,
            _ if failed == 0 => 1,
            _ => RUNS_MAX / 2 + 1,
        };
        if failed > RUNS_MAX / 2 {
            self.finish_rate(RunResult::Failed);
        } else if passed >= needed {
            self.finish_rate(RunResult::Passed);
        }
    }

    fn count(&self, result: RunResult) -> usize {
        self.runs.iter().filter(|&&one| one == result).count()
    }

    fn finish_rate(&mut self, result: RunResult) {
        self.runs.clear();
        match (self.phase, result) {
            (SearchPhase::Confirming, RunResult::Passed) => self.phase = SearchPhase::Done,
            (SearchPhase::Confirming, RunResult::Failed) => {
                self.failed = Some(self.rate);
                self.passed = None;
                self.step_down();
            }
            (_, RunResult::Passed) => {
                self.passed = Some(self.rate);
                self.advance();
            }
            (_, RunResult::Failed) => {
                self.failed = Some(self.rate);
                match self.passed {
                    None => self.phase = SearchPhase::Done,
                    Some(_) => self.advance(),
                }
            }
        }
    }

    /// Continues below a result that was not confirmed.
    fn step_down(&mut self) {
        if self.rate <= self.options.from {
            self.phase = SearchPhase::Done;
            return;
        }
        self.rate = round((self.rate * STEP_DOWN).max(self.options.from));
        self.passed = Some(self.rate);
    }

    fn advance(&mut self) {
        let passed = self.passed.unwrap_or(self.options.from);
        match self.failed {
            None if passed >= self.options.to => self.confirm(passed),
            None => {
                self.phase = SearchPhase::Doubling;
                self.rate = round((passed * 2.0).min(self.options.to));
            }
            Some(failed) => {
                let between = round((passed * failed).sqrt());
                let is_near = failed <= passed * (1.0 + self.options.precision);
                if is_near || between <= passed || between >= failed {
                    self.confirm(passed);
                } else {
                    self.phase = SearchPhase::Bisecting;
                    self.rate = between;
                }
            }
        }
    }

    fn confirm(&mut self, passed: f64) {
        self.rate = passed;
        self.phase = match self.options.confirmations {
            0 => SearchPhase::Done,
            _ => SearchPhase::Confirming,
        };
    }
}

/// Rounds to three significant digits.
fn round(rate: f64) -> f64 {
    let scale = 10_f64.powf(rate.abs().max(1e-9).log10().floor() - 2.0);
    (rate / scale).round() * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: SearchOptions = SearchOptions {
        from: 10.0,
        to: 10_000.0,
        precision: 0.05,
        confirmations: 2,
    };

    /// Runs a search; returns its result and the number of runs.
    fn search(
        options: SearchOptions,
        mut passes: impl FnMut(f64, usize) -> bool,
    ) -> (Option<f64>, usize) {
        let mut search = Search::new(options);
        for run in 0..1000 {
            match search.next() {
                Step::Done(found) => return (found, run),
                Step::Try(rate) => search.observe(match passes(rate, run) {
                    true => RunResult::Passed,
                    false => RunResult::Failed,
                }),
            }
        }
        panic!("the search does not end");
    }

    #[test]
    fn the_capacity_is_found_within_the_precision() {
        for capacity in [10.0, 11.0, 73.0, 512.0, 999.0, 4321.0, 9999.0] {
            let (found, runs) = search(OPTIONS, |rate, _| rate <= capacity);
            let found = found.expect("a rate");
            assert!(
                found <= capacity && found >= capacity / 1.06,
                "{found} of {capacity}"
            );
            assert!(runs <= 30, "{runs} for {capacity}");
        }
    }

    #[test]
    fn the_search_ends_at_its_bounds() {
        assert_eq!(search(OPTIONS, |_, _| false), (None, 2));
        assert_eq!(search(OPTIONS, |_, _| true).0, Some(10_000.0));
    }

    #[test]
    fn a_single_outlier_does_not_decide() {
        let (found, _) = search(OPTIONS, |rate, run| rate <= 500.0 && run % 4 != 1);
        assert!(found.expect("a rate") > 470.0, "{found:?}");
        // 640 passes once and then never again.
        let mut luck = 1;
        let (found, _) = search(OPTIONS, |rate, _| {
            let lucky = rate > 500.0 && rate < 700.0 && luck > 0;
            luck -= usize::from(lucky);
            rate <= 500.0 || lucky
        });
        let found = found.expect("a rate");
        assert!((440.0..=500.0).contains(&found), "{found}");
    }

    #[test]
    fn rates_are_rounded_to_three_digits() {
        assert_eq!(
            (round(123.456), round(9876.0), round(0.123_456)),
            (123.0, 9880.0, 0.123)
        );
    }
}
