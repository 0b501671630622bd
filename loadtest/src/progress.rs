//! What is seen while a test runs: a bar where there is a terminal, else a line now and then.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pacer::Pace;
use crate::stats::Tallies;

const REDRAWN: Duration = Duration::from_secs(1);
const TOLD: Duration = Duration::from_secs(5);
const BAR: &str = "{bar:24} {msg}";

/// Runs until it is stopped or dropped.
#[derive(Debug)]
pub struct Progress {
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It only prints.
            drop(thread.join());
        }
    }
}

impl Progress {
    /// # Errors
    /// When there can be no other thread.
    pub fn show(pace: &Arc<Pace>, tallies: &Arc<Tallies>) -> anyhow::Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let (theirs, pace, tallies) = (done.clone(), pace.clone(), tallies.clone());
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || draw(&theirs, &pace, &tallies))?;
        Ok(Progress {
            done,
            thread: Some(thread),
        })
    }
}

fn draw(done: &AtomicBool, pace: &Pace, tallies: &Tallies) {
    let is_terminal = std::io::stderr().is_terminal();
    let every = if is_terminal { REDRAWN } else { TOLD };
    let total_ms = pace.schedule().duration().as_millis() as u64;
    let bar = ProgressBar::with_draw_target(
        Some(total_ms),
        match is_terminal {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        },
    );
    if let Ok(style) = ProgressStyle::with_template(BAR) {
        bar.set_style(style.progress_chars("=> "));
    }
    let mut errors = 0;
    loop {
        std::thread::park_timeout(every);
        if done.load(Ordering::Relaxed) {
            break;
        }
        let live = tallies.look();
        errors += live.errors;
        let line = format!(
            "{:.0} of {:.0} s, {:.1}/s done, {} under way, p50 {:.1} ms, p99 {:.1} ms, errors {errors}",
            pace.elapsed().min(pace.schedule().duration()).as_secs_f64(),
            pace.schedule().duration().as_secs_f64(),
            live.requests as f64 / every.as_secs_f64(),
            pace.in_flight(),
            live.latency.quantile_ms(0.5),
            live.latency.quantile_ms(0.99),
        );
        if is_terminal {
            bar.set_position(total_ms.min(pace.elapsed().as_millis() as u64));
            bar.set_message(line);
        } else {
            tell(&line);
        }
    }
    bar.finish_and_clear();
}

fn tell(line: &str) {
    // A log that cannot be written ends no test.
    let _ = writeln!(std::io::stderr(), "{line}");
}
