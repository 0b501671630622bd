//! Progress output: a bar on a terminal, else a log line every few seconds.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pacer::Pacer;
use crate::stats::StatsRecorder;

const REDRAW_INTERVAL: Duration = Duration::from_secs(1);
const LOG_INTERVAL: Duration = Duration::from_secs(5);
const BAR: &str = "{bar:24} {msg}";

/// Shows progress until dropped.
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
            // A panic of the output is not an error of the test.
            drop(thread.join());
        }
    }
}

impl Progress {
    /// Starts the output.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn show(pacer: &Arc<Pacer>, recorder: &Arc<StatsRecorder>) -> anyhow::Result<Self> {
        let done = Arc::new(AtomicBool::new(false));
        let (is_done, pacer, recorder) = (done.clone(), pacer.clone(), recorder.clone());
        let thread = std::thread::Builder::new()
            .name("progress".to_owned())
            .spawn(move || draw(&is_done, &pacer, &recorder))?;
        Ok(Progress {
            done,
            thread: Some(thread),
        })
    }
}

fn draw(done: &AtomicBool, pacer: &Pacer, recorder: &StatsRecorder) {
    let is_terminal = std::io::stderr().is_terminal();
    let every = if is_terminal {
        REDRAW_INTERVAL
    } else {
        LOG_INTERVAL
    };
    let total_ms = pacer.schedule().duration().as_millis() as u64;
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
        let live = recorder.take_live();
        errors += live.errors;
        let line = format!(
            "{:.0} of {:.0} s, {:.1}/s done, {} in flight, p50 {:.1} ms, p99 {:.1} ms, errors {errors}",
            pacer
                .elapsed()
                .min(pacer.schedule().duration())
                .as_secs_f64(),
            pacer.schedule().duration().as_secs_f64(),
            live.requests as f64 / every.as_secs_f64(),
            pacer.in_flight(),
            live.latency.quantile_ms(0.5),
            live.latency.quantile_ms(0.99),
        );
        if is_terminal {
            bar.set_position(total_ms.min(pacer.elapsed().as_millis() as u64));
            bar.set_message(line);
        } else {
            log_line(&line);
        }
    }
    bar.finish_and_clear();
}

fn log_line(line: &str) {
    // A line that cannot be written is not an error of the test.
    let _ = writeln!(std::io::stderr(), "{line}");
}
