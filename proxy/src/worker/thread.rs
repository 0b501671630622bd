//! Worker threads with shared state: woken when there is work, restarted when they panic, and stopped within a
//! deadline. The shared state outlives a panic.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::{self, Elapsed};
use crate::worker::{Pause, Worker};

/// The handle of a worker thread. Dropping it stops the thread without waiting for its end.
#[derive(Debug)]
pub struct WorkerThread<T> {
    shared: Arc<SharedState<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// The state that the thread shares with its handle.
#[derive(Debug)]
pub struct SharedState<T> {
    inner: Mutex<LockedState<T>>,
    /// Wakes the thread and those that wait for it.
    changed: Condvar,
}

/// The shared state, locked.
#[derive(Debug)]
pub struct LockedState<T> {
    pub work: T,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// The thread finishes its work and ends.
    Stopping,
    Ended,
}

impl<T: Send + 'static> WorkerThread<T> {
    /// Starts a thread that calls `run`, which returns once the state is [`State::Stopping`]. `run` is called again
    /// after a panic, so anything that it captures must be valid for another run.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(
        worker: Worker,
        work: T,
        mut run: impl FnMut(&SharedState<T>) + Send + 'static,
    ) -> io::Result<Self> {
        Self::spawn(worker, work, move |worker, shared| {
            let run = || {
                run(shared);
                Ok::<(), Infallible>(())
            };
            worker.supervise(run, |wait| shared.pause(wait));
        })
    }

    /// Starts a thread that calls `body` once. `body` itself restarts what panics in it ([`Worker::supervise`]).
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn spawn(
        worker: Worker,
        work: T,
        body: impl FnOnce(&Worker, &SharedState<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let state = State::Running;
        let shared = Arc::new(SharedState {
            inner: Mutex::new(LockedState { work, state }),
            changed: Condvar::new(),
        });
        let ends = EndOnDrop(shared.clone());
        let thread = std::thread::Builder::new()
            .name(worker.name().to_owned())
            .spawn(move || body(&worker, &ends.0))?;
        Ok(WorkerThread {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl<T> WorkerThread<T> {
    /// Locks the shared state. Hold the lock only briefly: the thread and others wait for it.
    pub fn lock(&self) -> MutexGuard<'_, LockedState<T>> {
        self.shared.lock()
    }

    /// Wakes the thread.
    pub fn wake(&self) {
        self.shared.notify();
    }

    /// Waits while `condition` holds, at most until the deadline.
    ///
    /// # Errors
    /// [`Elapsed`] when it still holds at the deadline.
    pub fn wait_while(
        &self,
        inner: &mut MutexGuard<'_, LockedState<T>>,
        deadline: Instant,
        condition: impl Fn(&LockedState<T>) -> bool,
    ) -> Result<(), Elapsed> {
        while condition(inner) {
            if self.shared.changed.wait_until(inner, deadline).timed_out() {
                return Err(Elapsed);
            }
        }
        Ok(())
    }

    /// Lets the thread finish its work, and waits for it to end.
    ///
    /// # Errors
    /// [`Elapsed`] when it has not ended by the deadline.
    pub fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.shared.begin_stop();
        let mut inner = self.shared.lock();
        self.wait_while(&mut inner, deadline, |inner| inner.state != State::Ended)?;
        drop(inner);
        if let Some(thread) = self.thread.lock().take() {
            // The thread has finished; a panic has been logged.
            drop(thread.join());
        }
        Ok(())
    }
}

impl<T> Drop for WorkerThread<T> {
    fn drop(&mut self) {
        self.shared.begin_stop();
    }
}

impl<T> SharedState<T> {
    pub fn lock(&self) -> MutexGuard<'_, LockedState<T>> {
        self.inner.lock()
    }

    /// Wakes everyone who waits for a change.
    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until `ready` or the stop, at most until the deadline.
    pub fn wait_until(
        &self,
        inner: &mut MutexGuard<'_, LockedState<T>>,
        deadline: Instant,
        ready: impl Fn(&T) -> bool,
    ) {
        while inner.state == State::Running && !ready(&inner.work) {
            if self.changed.wait_until(inner, deadline).timed_out() {
                return;
            }
        }
    }

    /// The pause before a restart, which the stop ends early.
    pub fn pause(&self, wait: Duration) -> Pause {
        let mut inner = self.lock();
        self.wait_until(&mut inner, clock::now() + wait, |_| false);
        match inner.state {
            State::Running => Pause::Over,
            State::Stopping | State::Ended => Pause::Stopping,
        }
    }

    fn begin_stop(&self) {
        let mut inner = self.inner.lock();
        if inner.state == State::Running {
            inner.state = State::Stopping;
        }
        drop(inner);
        self.changed.notify_all();
    }
}

/// Notes the end of the thread, even after a panic, so that nothing waits for it.
struct EndOnDrop<T>(Arc<SharedState<T>>);

impl<T> Drop for EndOnDrop<T> {
    fn drop(&mut self) {
        self.0.inner.lock().state = State::Ended;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn add_up(shared: &SharedState<(Vec<u64>, u64)>) {
        let mut inner = shared.lock();
        loop {
            shared.wait_until(&mut inner, clock::now() + LONG, |work| !work.0.is_empty());
            let (numbers, sum) = &mut inner.work;
            *sum += numbers.drain(..).sum::<u64>();
            if inner.state == State::Stopping {
                return;
            }
        }
    }

    #[test]
    fn work_left_at_the_stop_is_finished() {
        let thread = WorkerThread::start(Worker::unexposed("sum"), (Vec::new(), 0), add_up)
            .expect("a thread");
        for number in 1..=100 {
            thread.lock().work.0.push(number);
            thread.wake();
        }
        assert_eq!(thread.stop(clock::now() + LONG), Ok(()));
        assert_eq!(thread.lock().work.1, 5050);
        assert_eq!(thread.stop(clock::now()), Ok(()));
    }

    #[test]
    fn a_thread_that_panics_is_restarted_and_keeps_its_shared_state() {
        let worker = Worker::unexposed("sum");
        let theirs = worker.clone();
        let run = move |shared: &SharedState<(Vec<u64>, u64)>| {
            theirs.fault_point();
            add_up(shared);
        };
        worker.fail(2);
        let thread = WorkerThread::start(worker.clone(), (vec![1, 2], 0), run).expect("a thread");
        let deadline = clock::now() + LONG;
        while thread.lock().work.1 != 3 {
            assert!(clock::now() < deadline);
            std::thread::yield_now();
        }
        assert_eq!(worker.seen(), (2, 1));
        // The stop does not wait for the pause before a restart.
        worker.fail(1);
        thread.lock().work.0.push(4);
        assert_eq!(thread.stop(clock::now() + LONG), Ok(()));
        assert_eq!(thread.lock().work.1, 7);
    }

    #[test]
    fn a_stop_waits_for_a_hung_thread_until_the_deadline_and_not_for_one_that_panicked() {
        let (end, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let hung = WorkerThread::start(
            Worker::unexposed("hung"),
            (),
            move |_| while wait.recv().is_ok() {},
        )
        .expect("a thread");
        assert_eq!(hung.stop(clock::now() + LONG / 6000), Err(Elapsed));
        drop(end);
        assert_eq!(hung.stop(clock::now() + LONG), Ok(()));
        let gone = WorkerThread::start(Worker::unexposed("gone"), (), |_| panic!("on purpose"))
            .expect("a thread");
        assert_eq!(gone.stop(clock::now() + LONG), Ok(()));
    }
}
