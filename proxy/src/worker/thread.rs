//! Threads beside the way of requests: started with what they and others share, woken when there is
//! something to do, started again when they panic, and ended within a deadline. What lies on the desk outlives
//! a panic.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::clock::{self, Elapsed};
use crate::worker::{Pause, Worker};

/// The hand of all others. When it is dropped the thread is told to stop, and not waited for.
#[derive(Debug)]
pub struct SideThread<T> {
    desk: Arc<Desk<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread and the others share.
#[derive(Debug)]
pub struct Desk<T> {
    inner: Mutex<Inner<T>>,
    /// Wakes the thread, and whoever waits for its end.
    changed: Condvar,
}

/// What lies on the desk.
#[derive(Debug)]
pub struct Inner<T> {
    pub work: T,
    pub state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    /// It does what is left and ends.
    Stopping,
    Ended,
}

impl<T: Send + 'static> SideThread<T> {
    /// Starts a thread that does `run` until its desk says [`State::Stopping`]. When it panics it is run again,
    /// so that what it holds beside the desk has to fit a new beginning.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(
        worker: Worker,
        work: T,
        mut run: impl FnMut(&Desk<T>) + Send + 'static,
    ) -> io::Result<Self> {
        let state = State::Running;
        let desk = Arc::new(Desk {
            inner: Mutex::new(Inner { work, state }),
            changed: Condvar::new(),
        });
        let theirs = EndsWithIt(desk.clone());
        let thread = std::thread::Builder::new()
            .name(worker.name().to_owned())
            .spawn(move || {
                let desk = &theirs.0;
                let run = || {
                    run(desk);
                    Ok(())
                };
                worker.keep(run, |wait| desk.pause(wait));
            })?;
        Ok(SideThread {
            desk,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl<T> SideThread<T> {
    /// What is shared. Hold it for a moment only: the thread waits for it, and others do.
    pub fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.desk.lock()
    }

    /// Wakes the thread.
    pub fn wake(&self) {
        self.desk.changed.notify_all();
    }

    /// Lets the thread do what is left, and waits for its end.
    ///
    /// # Errors
    /// [`Elapsed`] when it has not come by the deadline.
    pub fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.desk.begin_stop();
        let mut inner = self.desk.lock();
        while inner.state != State::Ended {
            let waited = self.desk.changed.wait_until(&mut inner, deadline);
            if waited.timed_out() {
                return Err(Elapsed);
            }
        }
        drop(inner);
        if let Some(thread) = self.thread.lock().take() {
            // It has nothing left to do; a panic in it has been reported by itself.
            drop(thread.join());
        }
        Ok(())
    }
}

impl<T> Drop for SideThread<T> {
    fn drop(&mut self) {
        self.desk.begin_stop();
    }
}

impl<T> Desk<T> {
    pub fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock()
    }

    /// Waits until `ready` or the stop, at most until the deadline.
    pub fn wait_until(
        &self,
        inner: &mut MutexGuard<'_, Inner<T>>,
        deadline: Instant,
        ready: impl Fn(&T) -> bool,
    ) {
        while inner.state == State::Running && !ready(&inner.work) {
            if self.changed.wait_until(inner, deadline).timed_out() {
                return;
            }
        }
    }

    /// Waits for so long, unless the end comes first.
    fn pause(&self, wait: Duration) -> Pause {
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

/// Notes the end of the thread also when it panics: nobody is to wait for it then.
struct EndsWithIt<T>(Arc<Desk<T>>);

impl<T> Drop for EndsWithIt<T> {
    fn drop(&mut self) {
        self.0.inner.lock().state = State::Ended;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn add_up(desk: &Desk<(Vec<u64>, u64)>) {
        let mut inner = desk.lock();
        loop {
            desk.wait_until(&mut inner, clock::now() + LONG, |work| !work.0.is_empty());
            let (numbers, sum) = &mut inner.work;
            *sum += numbers.drain(..).sum::<u64>();
            if inner.state == State::Stopping {
                return;
            }
        }
    }

    #[test]
    fn what_is_left_at_the_stop_is_done() {
        let thread =
            SideThread::start(Worker::unseen("sum"), (Vec::new(), 0), add_up).expect("a thread");
        for number in 1..=100 {
            thread.lock().work.0.push(number);
            thread.wake();
        }
        assert_eq!(thread.stop(clock::now() + LONG), Ok(()));
        assert_eq!(thread.lock().work.1, 5050);
        assert_eq!(thread.stop(clock::now()), Ok(()));
    }

    #[test]
    fn a_thread_that_panics_is_started_again_and_what_lies_on_its_desk_is_there() {
        let worker = Worker::unseen("sum");
        let theirs = worker.clone();
        let run = move |desk: &Desk<(Vec<u64>, u64)>| {
            theirs.fault_point();
            add_up(desk);
        };
        worker.fail(2);
        let thread = SideThread::start(worker.clone(), (vec![1, 2], 0), run).expect("a thread");
        let deadline = clock::now() + LONG;
        while thread.lock().work.1 != 3 {
            assert!(clock::now() < deadline);
            std::thread::yield_now();
        }
        assert_eq!(worker.seen(), (2, 1));
        // The stop does not wait for the pause before a new start.
        worker.fail(1);
        thread.lock().work.0.push(4);
        assert_eq!(thread.stop(clock::now() + LONG), Ok(()));
        assert_eq!(thread.lock().work.1, 7);
    }

    #[test]
    fn a_thread_that_hangs_is_waited_for_until_the_deadline_and_one_that_panicked_not_at_all() {
        let (end, wait) = std::sync::mpsc::sync_channel::<()>(1);
        let hung = SideThread::start(
            Worker::unseen("hung"),
            (),
            move |_| while wait.recv().is_ok() {},
        )
        .expect("a thread");
        assert_eq!(hung.stop(clock::now() + LONG / 6000), Err(Elapsed));
        drop(end);
        assert_eq!(hung.stop(clock::now() + LONG), Ok(()));
        let gone = SideThread::start(Worker::unseen("gone"), (), |_| panic!("on purpose"))
            .expect("a thread");
        assert_eq!(gone.stop(clock::now() + LONG), Ok(()));
    }
}
