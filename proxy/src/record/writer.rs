//! Takes lines from the way of requests and writes them in a thread of its own.
//!
//! A request only copies its line into a bounded buffer; the writer swaps the buffer for an empty
//! one, so that nobody ever waits for a disk or a pipe. Under load it wakes once each
//! [`COLLECT`]; idle it sleeps until the next line.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::batch::{Batch, Lines};
pub use super::flush::FlushOutcome;
use super::hand::{Books, Hand, Sink, Written};
use crate::clock;
use crate::system::memory;
use crate::worker::{Pause, Worker};
use parking_lot::{Condvar, Mutex};

/// How long lines are collected before they are written together. An event is in the file well
/// within 200 ms of its answer.
pub(super) const COLLECT: Duration = Duration::from_millis(50);
/// So many bytes are not kept waiting any longer: more of them would only find no room in the cache of
/// the processor, and each sink holds two such buffers.
const COLLECT_BYTES: usize = 512 * 1024;
/// Of lines that are not written yet, those in the writer's hand included. What comes beyond is
/// dropped and counted.
const PENDING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines that the writer panics of so often are given up, or all that come after them would be.
const ATTEMPTS_MAX: u32 = 3;
/// How many of the last lines are kept for the admin page.
pub(super) const RECENT_MAX: usize = 100;

/// The hand of the request's side. When it is dropped, the thread writes what is left and ends.
#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    pending: Mutex<Pending>,
    /// Wakes the writer.
    wake: Condvar,
    /// Wakes those who wait for a flush.
    flushed: Condvar,
    recent: Mutex<VecDeque<Vec<u8>>>,
    books: Books,
}

#[derive(Debug)]
struct Pending {
    batch: Batch,
    /// Bytes the writer has taken and not yet written.
    in_hand_bytes: usize,
    writer: WriterState,
    flushes_wanted: u64,
    flushes_done: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriterState {
    /// Waits to be woken by the next line.
    Asleep,
    /// Will look at the buffer by itself.
    Awake,
    /// Writes what is there and ends.
    Stopping,
    Ended,
}

impl Writer {
    /// Starts the thread of a sink.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(worker: Worker, sink: Box<dyn Sink>, books: Books) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            pending: Mutex::new(Pending {
                batch: Batch::default(),
                in_hand_bytes: 0,
                writer: WriterState::Awake,
                flushes_wanted: 0,
                flushes_done: 0,
            }),
            wake: Condvar::new(),
            flushed: Condvar::new(),
            recent: Mutex::new(VecDeque::with_capacity(RECENT_MAX)),
            books,
        });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name(worker.name().to_owned())
            .spawn(move || theirs.run_on(&worker, sink))?;
        Ok(Writer {
            shared,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Hands over one line, without its newline. Never waits for the sink.
    pub(super) fn append(&self, line: &[u8]) {
        let shared = &self.shared;
        if let Books::Ledger(ledger) = &shared.books {
            ledger.record();
        }
        let mut pending = shared.pending.lock();
        let bytes = pending.batch.bytes_length() + pending.in_hand_bytes + line.len();
        let is_taken = bytes < PENDING_BYTES_MAX
            && matches!(
                pending.writer,
                WriterState::Asleep | WriterState::Awake | WriterState::Stopping
            );
        if !is_taken {
            drop(pending);
            shared.count(0, 1);
            return;
        }
        let was_small = pending.batch.bytes_length() < COLLECT_BYTES;
        pending.batch.push(line);
        let is_large = pending.batch.bytes_length() >= COLLECT_BYTES;
        let was_asleep = pending.writer == WriterState::Asleep;
        if was_asleep {
            pending.writer = WriterState::Awake;
        }
        drop(pending);
        if was_asleep || (was_small && is_large) {
            shared.wake.notify_one();
        }
    }

    /// Waits until everything that was appended before is written.
    pub(super) fn flush(&self, deadline: Instant) -> FlushOutcome {
        self.shared.flush(deadline)
    }

    /// Writes what is left and ends the thread, as far as that is done by the deadline.
    pub(super) fn stop(&self, deadline: Instant) -> FlushOutcome {
        self.shared.begin_stop();
        let mut pending = self.shared.pending.lock();
        while pending.writer != WriterState::Ended {
            let waited = self.shared.flushed.wait_until(&mut pending, deadline);
            if waited.timed_out() {
                return FlushOutcome::TimedOut;
            }
        }
        drop(pending);
        if let Some(thread) = self.thread.lock().take() {
            // It has nothing left to do; a panic in it has been reported by itself.
            drop(thread.join());
        }
        FlushOutcome::Flushed
    }

    /// The last lines, oldest first; those that wait to be written are among them.
    pub(super) fn recent(&self, count: usize) -> Vec<Vec<u8>> {
        let recent = self.shared.recent.lock();
        let pending = self.shared.pending.lock();
        let mut lines: Vec<Vec<u8>> = recent.iter().cloned().collect();
        lines.extend(pending.batch.lines().last(count).map(<[u8]>::to_vec));
        lines.split_off(lines.len().saturating_sub(count))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.begin_stop();
    }
}

impl Shared {
    fn begin_stop(&self) {
        let mut pending = self.pending.lock();
        if pending.writer != WriterState::Ended {
            pending.writer = WriterState::Stopping;
        }
        drop(pending);
        self.wake.notify_one();
    }

    fn flush(&self, deadline: Instant) -> FlushOutcome {
        let mut pending = self.pending.lock();
        if pending.writer == WriterState::Ended {
            return FlushOutcome::Flushed;
        }
        pending.flushes_wanted += 1;
        let wanted = pending.flushes_wanted;
        if pending.writer == WriterState::Asleep {
            pending.writer = WriterState::Awake;
        }
        self.wake.notify_one();
        while pending.flushes_done < wanted {
            if self.flushed.wait_until(&mut pending, deadline).timed_out() {
                return FlushOutcome::TimedOut;
            }
        }
        FlushOutcome::Flushed
    }

    /// The writer's thread. What it has in hand when it panics is written again.
    fn run_on(&self, worker: &Worker, mut sink: Box<dyn Sink>) {
        let mut hand = Hand::new();
        let run = || {
            self.run(worker, &mut *sink, &mut hand);
            Ok(())
        };
        worker.keep(run, |wait| self.pause(wait));
        self.end(&mut *sink, &hand);
    }

    fn run(&self, worker: &Worker, sink: &mut dyn Sink, hand: &mut Hand) {
        loop {
            let turn = self.next_turn(&mut hand.batch);
            if !hand.batch.is_empty() {
                let lines = hand.batch.lines();
                if hand.attempts == 0 {
                    self.remember(lines);
                }
                hand.attempts += 1;
                let written = if hand.attempts > ATTEMPTS_MAX {
                    Written {
                        lines: sink.kept(),
                        error: Some(io::Error::other("the writer panics of them")),
                    }
                } else {
                    worker.fault_point();
                    sink.write(lines, clock::unix_now())
                };
                let lost = lines.count().saturating_sub(written.lines);
                self.count(written.lines, lost);
                if let Some(error) = written.error {
                    hand.tell_lost(lost, &error);
                }
                hand.settle();
            }
            if turn.flushes > 0 || turn.state == WriterState::Stopping {
                sink.sync();
            }
            if self.finish(&turn) == WriterState::Ended {
                return;
            }
        }
    }

    /// Waits before a new start, until the stop at most.
    fn pause(&self, wait: Duration) -> Pause {
        let deadline = clock::now() + wait;
        let mut pending = self.pending.lock();
        while pending.writer != WriterState::Stopping {
            if self.wake.wait_until(&mut pending, deadline).timed_out() {
                return Pause::Over;
            }
        }
        Pause::Stopping
    }

    /// The thread ends. What it could not write, because it panicked at the stop as well, is lost and counted.
    fn end(&self, sink: &mut dyn Sink, hand: &Hand) {
        let mut pending = self.pending.lock();
        let in_hand = hand.batch.lines().count();
        let lost = in_hand.saturating_sub(sink.kept()) + pending.batch.lines().count();
        pending.batch.clear();
        pending.writer = WriterState::Ended;
        pending.flushes_done = pending.flushes_wanted;
        drop(pending);
        self.count(0, lost);
        self.flushed.notify_all();
    }

    /// Waits until there is something to do, and takes the lines into `batch`.
    fn next_turn(&self, batch: &mut Batch) -> Turn {
        let mut pending = self.pending.lock();
        if !batch.is_empty() {
            return pending.turn();
        }
        // Whatever came while the last lines were written waits for company first.
        self.collect(&mut pending);
        if pending.batch.is_empty() && !pending.is_urgent() {
            pending.writer = WriterState::Asleep;
            self.wait_for_company(&mut pending, batch);
            self.collect(&mut pending);
        }
        mem::swap(&mut pending.batch, batch);
        pending.in_hand_bytes = batch.bytes_length();
        pending.turn()
    }

    /// Sleeps until the next line. After a while the memory of the last burst is given back.
    fn wait_for_company(
        &self,
        pending: &mut parking_lot::MutexGuard<'_, Pending>,
        batch: &mut Batch,
    ) {
        let quiet_from = clock::now() + memory::INTERVAL;
        while pending.writer == WriterState::Asleep {
            if self.wake.wait_until(pending, quiet_from).timed_out() {
                break;
            }
        }
        if pending.writer == WriterState::Asleep {
            (pending.batch, *batch) = (Batch::default(), Batch::default());
            parking_lot::MutexGuard::unlocked(pending, memory::give_back);
        }
        while pending.writer == WriterState::Asleep {
            self.wake.wait(pending);
        }
    }

    fn collect(&self, pending: &mut parking_lot::MutexGuard<'_, Pending>) {
        let deadline = clock::now() + COLLECT;
        while !pending.is_urgent() && pending.batch.bytes_length() < COLLECT_BYTES {
            if self.wake.wait_until(pending, deadline).timed_out() {
                return;
            }
        }
    }

    /// Books a turn as done. Only a turn that began after the stop and left nothing behind ends the
    /// thread.
    fn finish(&self, turn: &Turn) -> WriterState {
        let mut pending = self.pending.lock();
        pending.in_hand_bytes = 0;
        pending.flushes_done += turn.flushes;
        if turn.state == WriterState::Stopping && pending.batch.is_empty() {
            pending.writer = WriterState::Ended;
            pending.flushes_done = pending.flushes_wanted;
        }
        let state = pending.writer;
        drop(pending);
        self.flushed.notify_all();
        state
    }

    fn remember(&self, lines: Lines<'_>) {
        let mut recent = self.recent.lock();
        for line in lines.last(RECENT_MAX) {
            // The oldest line's buffer is used again: nothing is allocated in the long run.
            let mut kept = if recent.len() < RECENT_MAX {
                Vec::new()
            } else {
                recent.pop_front().unwrap_or_default()
            };
            kept.clear();
            kept.extend_from_slice(line);
            recent.push_back(kept);
        }
    }

    fn count(&self, recorded: usize, dropped: usize) {
        match &self.books {
            Books::Counters(tally) => {
                tally.recorded.inc_by(recorded as u64);
                tally.dropped.inc_by(dropped as u64);
            }
            Books::Ledger(ledger) if dropped > 0 => ledger.drop_from_channel(dropped as u64),
            Books::Ledger(_) | Books::None => {}
        }
    }
}

impl Pending {
    fn turn(&self) -> Turn {
        Turn {
            flushes: self.flushes_wanted - self.flushes_done,
            state: self.writer,
        }
    }

    fn is_urgent(&self) -> bool {
        self.flushes_wanted > self.flushes_done || self.writer == WriterState::Stopping
    }
}

/// What one round of the writer has to do beside its lines.
#[derive(Debug)]
struct Turn {
    flushes: u64,
    state: WriterState,
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
