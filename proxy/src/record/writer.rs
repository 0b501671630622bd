//! Accepts lines from requests and writes them on a worker thread.
//!
//! A request only copies its line into a bounded backlog (`backlog.rs`); the writer takes one batch after the other, so
//! that no request ever waits for a disk or a pipe. Under load the writer wakes once per [`COLLECT`]; when idle it sleeps
//! until the next line.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::backlog::Backlog;
use super::batch::{BATCH_BYTES, BatchLines, LineBatch};
use super::sink::{Accounting, LineSink, WriteOutcome};
use crate::clock::{self, Elapsed};
use crate::exchange::RequestId;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::system::memory;
use crate::worker::Worker;
use crate::worker::thread::{LockedState, SharedState, State, WorkerThread};

/// How long lines are collected before they are written together. An event is in the file well within 200 ms of its
/// response.
pub(super) const COLLECT: Duration = Duration::from_millis(50);
/// A full batch is written at once: a larger one would not fit into the processor's cache.
const COLLECT_BYTES: usize = BATCH_BYTES;
/// The maximum size of unwritten lines, including those that the writer has taken. Further lines are dropped and
/// counted.
const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines on which the writer panics this often are dropped, otherwise it would never get past them.
pub(crate) const ATTEMPTS_MAX: u32 = 3;
/// How many recent lines are kept for the admin page.
pub(super) const RECENT_MAX: usize = 100;
/// A sink that keeps failing is logged at most this often.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// The timeout of an indefinite sleep.
const IDLE: Duration = Duration::from_secs(3600);

/// The handle that requests append to. When it is dropped, the thread writes the remaining lines and ends.
#[derive(Debug)]
pub(crate) struct Writer {
    thread: WorkerThread<PendingLines>,
    settlement: Arc<Settlement>,
}

/// Keeps recent lines, and accounts for all of them.
#[derive(Debug)]
struct Settlement {
    recent: Mutex<VecDeque<Vec<u8>>>,
    /// Set for only one of several writers of the same lines.
    accounting: Option<Arc<dyn Accounting>>,
}

#[derive(Debug)]
struct PendingLines {
    backlog: Backlog,
    /// Bytes that the writer has taken but not yet written.
    taken_bytes: usize,
    writer: WriterState,
    flushes_requested: u64,
    flushes_done: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterState {
    /// The next line has to wake it.
    Asleep,
    /// It will check the buffer by itself.
    Awake,
}

/// Lines that the writer has taken and not yet settled; they outlive a panic.
#[derive(Debug)]
struct UnsettledLines {
    batch: LineBatch,
    attempts: u32,
    throttle: LogThrottle,
    /// The number of lost lines that have not been logged yet.
    unreported: usize,
}

/// What the writer's thread does.
struct WriterLoop {
    settlement: Arc<Settlement>,
    sink: Box<dyn LineSink>,
    unsettled: UnsettledLines,
}

impl Writer {
    /// Starts the thread of a sink.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub(crate) fn start(
        worker: Worker,
        sink: Box<dyn LineSink>,
        accounting: Option<Arc<dyn Accounting>>,
    ) -> io::Result<Self> {
        let pending = PendingLines {
            backlog: Backlog::default(),
            taken_bytes: 0,
            writer: WriterState::Awake,
            flushes_requested: 0,
            flushes_done: 0,
        };
        let settlement = Arc::new(Settlement {
            recent: Mutex::new(VecDeque::with_capacity(RECENT_MAX)),
            accounting,
        });
        let mut writer_loop = WriterLoop {
            settlement: settlement.clone(),
            sink,
            unsettled: UnsettledLines::new(),
        };
        let thread = WorkerThread::spawn(worker, pending, move |worker, shared| {
            // Lines taken before a panic are written again.
            let run = || {
                writer_loop.run(worker, shared);
                Ok::<(), Infallible>(())
            };
            worker.supervise(run, |wait| shared.pause(wait));
            writer_loop.end(shared);
        })?;
        Ok(Writer { thread, settlement })
    }

    /// Hands over one line without its newline. Never waits for the sink.
    pub(crate) fn append(&self, id: &RequestId, line: &[u8]) {
        if let Some(accounting) = &self.settlement.accounting {
            accounting.accept();
        }
        let mut inner = self.thread.lock();
        let is_open = inner.state != State::Ended;
        let pending = &mut inner.work;
        let bytes = pending.backlog.bytes_length() + pending.taken_bytes + line.len();
        if !is_open || bytes >= PENDING_BYTES_MAX {
            drop(inner);
            self.settlement.settle(0, 1);
            return;
        }
        let was_small = pending.backlog.bytes_length() < COLLECT_BYTES;
        pending.backlog.push(id, line);
        let is_large = pending.backlog.bytes_length() >= COLLECT_BYTES;
        let before = mem::replace(&mut pending.writer, WriterState::Awake);
        drop(inner);
        if before == WriterState::Asleep || (was_small && is_large) {
            self.thread.wake();
        }
    }

    /// Waits until all lines appended so far are written.
    pub(crate) fn flush(&self, deadline: Instant) -> Result<(), Elapsed> {
        let mut inner = self.thread.lock();
        if inner.state == State::Ended {
            return Ok(());
        }
        inner.work.flushes_requested += 1;
        inner.work.writer = WriterState::Awake;
        let requested = inner.work.flushes_requested;
        self.thread.wake();
        let is_due = |inner: &LockedState<PendingLines>| inner.work.flushes_done < requested;
        self.thread.wait_while(&mut inner, deadline, is_due)
    }

    /// Writes the remaining lines and ends the thread, as far as the deadline allows.
    pub(crate) fn stop(&self, deadline: Instant) -> Result<(), Elapsed> {
        self.thread.stop(deadline)
    }

    /// The most recent lines, oldest first, including those that are not written yet.
    pub(super) fn recent(&self, count: usize) -> Vec<Vec<u8>> {
        let recent = self.settlement.recent.lock();
        let inner = self.thread.lock();
        let mut lines: Vec<Vec<u8>> = recent.iter().cloned().collect();
        let pending = inner.work.backlog.last(count);
        lines.extend(pending.map(|line| line.bytes.to_vec()));
        lines.split_off(lines.len().saturating_sub(count))
    }
}

impl WriterLoop {
    fn run(&mut self, worker: &Worker, shared: &SharedState<PendingLines>) {
        let (sink, unsettled) = (&mut self.sink, &mut self.unsettled);
        loop {
            let turn = next_turn(shared, &mut unsettled.batch);
            if !unsettled.batch.is_empty() {
                let lines = unsettled.batch.lines();
                if unsettled.attempts == 0 {
                    self.settlement.remember(lines);
                }
                unsettled.attempts += 1;
                let written = if unsettled.attempts > ATTEMPTS_MAX {
                    WriteOutcome {
                        lines: sink.abandon(),
                        error: Some(io::Error::other("the writer panicked repeatedly on them")),
                    }
                } else {
                    worker.fault_point();
                    sink.write(lines, clock::unix_now())
                };
                let lost = lines.count().saturating_sub(written.lines);
                self.settlement.settle(written.lines, lost);
                if let Some(error) = written.error {
                    unsettled.report_lost(lost, &error);
                }
                unsettled.settle();
            }
            if turn.flushes > 0 || turn.state == State::Stopping {
                sink.sync();
            }
            if finish(shared, &turn) == State::Ended {
                return;
            }
        }
    }

    /// Runs when the thread ends. Lines that it could not write because it panicked at the stop are counted as
    /// dropped.
    fn end(&mut self, shared: &SharedState<PendingLines>) {
        let mut inner = shared.lock();
        inner.state = State::Ended;
        let pending = &mut inner.work;
        let taken = self.unsettled.batch.lines().count();
        let lost = taken.saturating_sub(self.sink.abandon()) + pending.backlog.count();
        pending.backlog = Backlog::default();
        pending.flushes_done = pending.flushes_requested;
        drop(inner);
        self.settlement.settle(0, lost);
        shared.notify();
    }
}

impl Settlement {
    fn remember(&self, lines: BatchLines<'_>) {
        let mut recent = self.recent.lock();
        for line in lines.last(RECENT_MAX) {
            // The buffer of the oldest line is reused to avoid allocations.
            let mut kept = if recent.len() < RECENT_MAX {
                Vec::new()
            } else {
                recent.pop_front().unwrap_or_default()
            };
            kept.clear();
            kept.extend_from_slice(line.bytes);
            recent.push_back(kept);
        }
    }

    fn settle(&self, written: usize, dropped: usize) {
        if let Some(accounting) = &self.accounting {
            accounting.settle(written as u64, dropped as u64);
        }
    }
}

/// Waits for work, and takes the lines into `batch`.
fn next_turn(shared: &SharedState<PendingLines>, batch: &mut LineBatch) -> Turn {
    let mut inner = shared.lock();
    if !batch.is_empty() {
        return Turn::of(&inner);
    }
    // Lines that arrived during the last write are collected for a while first.
    collect(shared, &mut inner);
    if inner.work.backlog.is_empty() && !inner.work.is_flush_due() && inner.state == State::Running
    {
        inner.work.writer = WriterState::Asleep;
        sleep(shared, &mut inner, batch);
        collect(shared, &mut inner);
    }
    inner.work.backlog.take(batch);
    inner.work.taken_bytes = batch.bytes_length();
    Turn::of(&inner)
}

/// Sleeps until the next line. The memory of the last burst is freed after a while.
fn sleep(
    shared: &SharedState<PendingLines>,
    inner: &mut MutexGuard<'_, LockedState<PendingLines>>,
    batch: &mut LineBatch,
) {
    let is_awake = |pending: &PendingLines| pending.writer == WriterState::Awake;
    shared.wait_until(inner, clock::now() + memory::INTERVAL, is_awake);
    if !is_awake(&inner.work) && inner.state == State::Running {
        (inner.work.backlog, *batch) = (Backlog::default(), LineBatch::default());
        MutexGuard::unlocked(inner, memory::return_unused);
    }
    while !is_awake(&inner.work) && inner.state == State::Running {
        shared.wait_until(inner, clock::now() + IDLE, is_awake);
    }
}

fn collect(
    shared: &SharedState<PendingLines>,
    inner: &mut MutexGuard<'_, LockedState<PendingLines>>,
) {
    let is_enough = |pending: &PendingLines| {
        pending.is_flush_due() || pending.backlog.bytes_length() >= COLLECT_BYTES
    };
    shared.wait_until(inner, clock::now() + COLLECT, is_enough);
}

/// Notes that a turn is done. The thread ends after a turn that began after the stop, once no lines are left.
fn finish(shared: &SharedState<PendingLines>, turn: &Turn) -> State {
    let mut inner = shared.lock();
    inner.work.taken_bytes = 0;
    inner.work.flushes_done += turn.flushes;
    if turn.state == State::Stopping && inner.work.backlog.is_empty() {
        inner.state = State::Ended;
        inner.work.flushes_done = inner.work.flushes_requested;
    }
    let state = inner.state;
    drop(inner);
    if turn.flushes > 0 || state == State::Ended {
        shared.notify();
    }
    state
}

impl PendingLines {
    fn is_flush_due(&self) -> bool {
        self.flushes_requested > self.flushes_done
    }
}

impl UnsettledLines {
    fn new() -> Self {
        UnsettledLines {
            batch: LineBatch::default(),
            attempts: 0,
            throttle: LogThrottle::every(LOG_INTERVAL),
            unreported: 0,
        }
    }

    fn settle(&mut self) {
        self.batch.clear();
        self.attempts = 0;
    }

    fn report_lost(&mut self, lost: usize, why: &io::Error) {
        self.unreported += lost;
        if self.throttle.failed(clock::now()) == LogDecision::Log {
            log::error!("{} events were not written: {why}", self.unreported);
            self.unreported = 0;
        }
    }
}

/// What one round of the writer has to do in addition to its lines.
#[derive(Debug)]
struct Turn {
    flushes: u64,
    state: State,
}

impl Turn {
    fn of(inner: &LockedState<PendingLines>) -> Self {
        let requested = inner.work.flushes_requested - inner.work.flushes_done;
        // A flush is done after the last of the batches.
        let flushes = if inner.work.backlog.is_empty() {
            requested
        } else {
            0
        };
        Turn {
            flushes,
            state: inner.state,
        }
    }
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
