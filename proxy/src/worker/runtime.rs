//! Worker threads that run async code: each has a runtime of its own, is restarted with a new one when it
//! panics or fails, and learns of the stop through a channel.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::Worker;
use super::thread::WorkerThread;
use crate::clock::Elapsed;

/// How long work that was handed to other threads may take when a runtime ends: a disk may hang.
const SHUTDOWN_MAX: Duration = Duration::from_millis(100);

/// Until when the thread may continue; `None` as long as it is not stopping.
pub type StopSignal = watch::Receiver<Option<Instant>>;

/// The handle of the thread. Dropping it stops the thread without waiting for its end.
#[derive(Debug)]
pub struct RuntimeThread {
    stop: watch::Sender<Option<Instant>>,
    thread: WorkerThread<()>,
}

impl RuntimeThread {
    /// Starts a thread that runs what `make` gives to its end, again after a panic or an error.
    ///
    /// # Errors
    /// When the system has no thread or no runtime to give.
    pub fn start<R, F, E>(worker: Worker, make: impl FnOnce(StopSignal) -> R) -> io::Result<Self>
    where
        R: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<(), E>>,
        E: fmt::Display,
    {
        let (stop, stopping) = watch::channel(None);
        // A runtime that cannot be made is an error at the start, and not only a failing worker.
        let mut first = Some(runtime()?);
        let mut run = make(stopping);
        let thread = WorkerThread::spawn(worker, (), move |worker, shared| {
            let run = || -> Result<(), RunError<E>> {
                let runtime = match first.take() {
                    Some(runtime) => runtime,
                    None => runtime().map_err(RunError::NoRuntime)?,
                };
                let outcome = runtime.block_on(run());
                runtime.shutdown_timeout(SHUTDOWN_MAX);
                outcome.map_err(RunError::Failed)
            };
            worker.keep(run, |wait| shared.pause(wait));
        })?;
        Ok(RuntimeThread { stop, thread })
    }

    /// Lets the thread do what is left until the deadline, and waits a little longer for its end.
    ///
    /// # Errors
    /// [`Elapsed`] when it has not ended `grace` after the deadline.
    pub fn stop(&self, deadline: Instant, grace: Duration) -> Result<(), Elapsed> {
        self.stop.send_replace(Some(deadline));
        self.thread.stop(deadline + grace)
    }
}

impl Drop for RuntimeThread {
    fn drop(&mut self) {
        if self.stop.borrow().is_none() {
            self.stop.send_replace(Some(crate::clock::now()));
        }
    }
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
enum RunError<E> {
    #[error("it has no runtime: {0}")]
    NoRuntime(io::Error),
    #[error("{0}")]
    Failed(E),
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .build()
}
