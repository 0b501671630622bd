//! Worker threads that run async code: each has its own runtime, is restarted with a new one when it panics or fails,
//! and is notified of the stop through a channel.

use std::fmt;
use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

use super::Worker;
use super::thread::WorkerThread;
use crate::clock::Elapsed;

/// How long a runtime waits for blocking tasks when it ends, since a disk may hang.
const SHUTDOWN_MAX: Duration = Duration::from_millis(100);

/// The deadline of the stop; `None` until the stop begins.
pub type StopSignal = watch::Receiver<Option<Instant>>;

/// The handle of the thread. Dropping it stops the thread without waiting for its end.
#[derive(Debug)]
pub struct RuntimeThread {
    stop: watch::Sender<Option<Instant>>,
    thread: WorkerThread<()>,
}

impl RuntimeThread {
    /// Starts a thread that runs the future from `make` to completion, again after a panic or an error.
    ///
    /// # Errors
    /// When the thread or the runtime cannot be created.
    pub fn start<R, F, E>(worker: Worker, make: impl FnOnce(StopSignal) -> R) -> io::Result<Self>
    where
        R: FnMut() -> F + Send + 'static,
        F: Future<Output = Result<(), E>>,
        E: fmt::Display,
    {
        let (stop, stopping) = watch::channel(None);
        // Created here so that a failure is an error at startup, and not only a failing worker.
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
            worker.supervise(run, |wait| shared.pause(wait));
        })?;
        Ok(RuntimeThread { stop, thread })
    }

    /// Lets the thread finish its work until the deadline, and waits until `grace` after it for the thread to end.
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
    #[error("cannot create a runtime: {0}")]
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
