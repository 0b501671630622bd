use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use prometheus::IntCounter;

use super::super::hand::Tally;
use super::super::spooled::Spooled;
use super::*;
use crate::ship::ledger::Ledger;
use crate::ship::spool::{self, Spool};

const SOON: Duration = Duration::from_secs(10);

fn soon() -> Instant {
    clock::now() + SOON
}

fn tally() -> Tally {
    let counter = |name| IntCounter::new(name, "for the test").expect("a counter");
    Tally {
        recorded: counter("recorded"),
        dropped: counter("dropped"),
    }
}

/// A sink that tells each write and waits to be let on.
struct Gated {
    writes: SyncSender<Vec<u8>>,
    gate: Receiver<Written>,
}

impl Sink for Gated {
    fn write(&mut self, lines: Lines<'_>, _now: Duration) -> Written {
        self.writes.send(lines.bytes().to_vec()).expect("a reader");
        self.gate.recv_timeout(SOON).expect("to be let on")
    }
}

fn gated() -> (Box<dyn Sink>, Receiver<Vec<u8>>, SyncSender<Written>) {
    let (writes, written) = sync_channel(16);
    let (open, gate) = sync_channel(16);
    (Box::new(Gated { writes, gate }), written, open)
}

fn all(lines: usize) -> Written {
    Written { lines, error: None }
}

/// A sink that takes everything.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Sink for Memory {
    fn write(&mut self, lines: Lines<'_>, _now: Duration) -> Written {
        self.0.lock().extend_from_slice(lines.bytes());
        all(lines.count())
    }
}

#[test]
fn what_was_appended_before_a_flush_is_written() {
    let memory = Memory::default();
    let tally = tally();
    let writer = Writer::start(
        Worker::unseen("test"),
        Box::new(memory.clone()),
        Books::Counters(tally.clone()),
    )
    .expect("a thread");
    for number in 0..1000 {
        writer.append(format!("line {number}").as_bytes());
    }
    assert_eq!(writer.flush(soon()), FlushOutcome::Flushed);
    let text = String::from_utf8(memory.0.lock().clone()).expect("UTF-8");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1000);
    assert_eq!(lines[999], "line 999");
    assert!(text.ends_with('\n'));
    assert_eq!((tally.recorded.get(), tally.dropped.get()), (1000, 0));
}

#[test]
fn lines_are_written_without_being_asked_for() {
    let (sink, written, open) = gated();
    let writer = Writer::start(Worker::unseen("test"), sink, Books::None).expect("a thread");
    for text in ["first", "second"] {
        open.send(all(1)).expect("the writer");
        writer.append(text.as_bytes());
        // Also the second wakes a writer that has gone to sleep or is about to.
        let bytes = written.recv_timeout(SOON).expect("a write");
        assert_eq!(bytes, format!("{text}\n").into_bytes());
    }
}

#[test]
fn lines_of_many_threads_come_whole_and_all() {
    let memory = Memory::default();
    let writer = Writer::start(
        Worker::unseen("test"),
        Box::new(memory.clone()),
        Books::None,
    )
    .expect("a thread");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let writer = &writer;
            scope.spawn(move || {
                for number in 0..500 {
                    writer.append(format!("{thread}:{number}").as_bytes());
                }
            });
        }
    });
    writer.flush(soon());
    let text = String::from_utf8(memory.0.lock().clone()).expect("UTF-8");
    let distinct: std::collections::HashSet<_> = text.lines().collect();
    assert_eq!((text.lines().count(), distinct.len()), (2000, 2000));
}

#[test]
fn a_sink_that_hangs_costs_events_and_never_blocks() {
    let (sink, written, open) = gated();
    let tally = tally();
    let writer = Writer::start(Worker::unseen("test"), sink, Books::Counters(tally.clone()))
        .expect("a thread");
    let line = vec![b'x'; 1024 * 1024 - 1];
    writer.append(&line);
    written.recv_timeout(SOON).expect("a write that hangs");
    // One MiB is in the writer's hand, so seven more have room.
    for _ in 0..10 {
        writer.append(&line);
    }
    let dropped = tally.dropped.get();
    assert!((3..=4).contains(&dropped), "{dropped} dropped");
    assert_eq!(writer.flush(clock::now()), FlushOutcome::TimedOut);

    open.send(all(1)).expect("the writer");
    let rest = written.recv_timeout(SOON).expect("the rest").len();
    assert_eq!(rest as u64, (10 - dropped) * 1024 * 1024);
    open.send(all(10 - usize::try_from(dropped).expect("small")))
        .expect("the writer");
    assert_eq!(writer.flush(soon()), FlushOutcome::Flushed);
    assert_eq!(tally.recorded.get() + tally.dropped.get(), 11);
    writer.append(b"goes on");
    assert_eq!(written.recv_timeout(SOON).expect("a write"), b"goes on\n");
    open.send(all(1)).expect("the writer");
}

#[test]
fn lines_that_fail_are_counted_as_dropped() {
    let (sink, written, open) = gated();
    let tally = tally();
    let writer = Writer::start(Worker::unseen("test"), sink, Books::Counters(tally.clone()))
        .expect("a thread");
    open.send(Written {
        lines: 0,
        error: Some(io::ErrorKind::StorageFull.into()),
    })
    .expect("the writer");
    writer.append(b"lost");
    assert_eq!(writer.flush(soon()), FlushOutcome::Flushed);
    written.recv_timeout(SOON).expect("a write");
    open.send(all(1)).expect("the writer");
    writer.append(b"kept");
    assert_eq!(writer.flush(soon()), FlushOutcome::Flushed);
    assert_eq!((tally.recorded.get(), tally.dropped.get()), (1, 1));
}

#[test]
fn a_stop_writes_what_is_left_and_ends_the_thread() {
    let memory = Memory::default();
    let tally = tally();
    let writer = Writer::start(
        Worker::unseen("test"),
        Box::new(memory.clone()),
        Books::Counters(tally.clone()),
    )
    .expect("a thread");
    writer.append(b"last words");
    assert_eq!(writer.stop(soon()), FlushOutcome::Flushed);
    assert_eq!(*memory.0.lock(), b"last words\n");
    assert!(writer.thread.lock().is_none(), "the thread was joined");
    writer.append(b"too late");
    assert_eq!((tally.recorded.get(), tally.dropped.get()), (1, 1));
    // Again and afterwards nobody waits for a thread that is gone.
    assert_eq!(writer.stop(soon()), FlushOutcome::Flushed);
    assert_eq!(writer.flush(soon()), FlushOutcome::Flushed);
}

#[test]
fn a_dropped_writer_ends_its_thread() {
    let memory = Memory::default();
    let writer = Writer::start(
        Worker::unseen("test"),
        Box::new(memory.clone()),
        Books::None,
    )
    .expect("a thread");
    writer.append(b"left");
    let thread = writer.thread.lock().take().expect("a thread");
    drop(writer);
    thread.join().expect("an end without a panic");
    assert_eq!(*memory.0.lock(), b"left\n");
}

#[test]
fn the_last_lines_are_remembered_written_or_not() {
    let (sink, written, open) = gated();
    let writer = Writer::start(Worker::unseen("test"), sink, Books::None).expect("a thread");
    for number in 0..150 {
        writer.append(number.to_string().as_bytes());
    }
    let recent = |count| -> Vec<String> {
        let lines = writer.recent(count).into_iter();
        lines
            .map(|line| String::from_utf8(line).expect("UTF-8"))
            .collect()
    };
    assert_eq!(recent(2), ["148", "149"]);
    written.recv_timeout(SOON).expect("a write");
    writer.append(b"150");
    assert_eq!(recent(2), ["149", "150"]);
    assert_eq!(recent(RECENT_MAX).len(), RECENT_MAX);
    assert_eq!(recent(0).len(), 0);
    for _ in 0..8 {
        open.send(all(150)).expect("the writer");
    }
    writer.flush(soon());
    assert_eq!(recent(3), ["148", "149", "150"]);
}

fn spooled(folder: &std::path::Path) -> (Box<dyn Sink>, Ledger, Arc<Spool>) {
    let ledger = Ledger::default();
    let config = spool::Config {
        path: folder.join("spool"),
        bytes_max: 1 << 20,
        sync: Duration::from_secs(1),
    };
    let (spool, _, _) = Spool::open(&config, &ledger).expect("a spool");
    (Box::new(Spooled::new(spool.clone())), ledger, spool)
}

fn event(number: u64) -> Vec<u8> {
    format!("{{\"event\":{{\"id\":\"{number:026}\"}}}}").into_bytes()
}

#[test]
fn a_panic_of_the_writer_loses_no_line() {
    let worker = Worker::unseen("events");
    let (memory, tally) = (Memory::default(), tally());
    let sink = Box::new(memory.clone());
    let books = Books::Counters(tally.clone());
    let writer = Writer::start(worker.clone(), sink, books).expect("a thread");
    for round in 0..3_u64 {
        worker.fail(2);
        for number in 0..100 {
            writer.append(format!("{round}:{number}").as_bytes());
        }
        assert_eq!(writer.flush(soon()), FlushOutcome::Flushed);
        assert_eq!(worker.seen(), ((round + 1) * 2, 1));
        assert_eq!(writer.recent(3).len(), 3);
    }
    // The stop does not wait for the pause before a new start.
    worker.fail(1);
    writer.append(b"last");
    assert_eq!(writer.stop(soon()), FlushOutcome::Flushed);
    let text = String::from_utf8(memory.0.lock().clone()).expect("UTF-8");
    let lines: Vec<_> = text.lines().collect();
    let expected = (0..3).flat_map(|round| (0..100).map(move |number| format!("{round}:{number}")));
    let expected: Vec<_> = expected.chain(["last".to_owned()]).collect();
    assert_eq!(lines, expected, "each once, and in their order");
    assert_eq!((tally.recorded.get(), tally.dropped.get()), (301, 0));
}

#[test]
fn what_the_writer_always_panics_of_is_given_up_and_counted_and_the_books_balance() {
    let folder = tempfile::tempdir().expect("a folder");
    let (sink, ledger, spool) = spooled(folder.path());
    let worker = Worker::unseen("events-spool");
    let books = Books::Ledger(ledger.clone());
    let writer = Writer::start(worker.clone(), sink, books).expect("a thread");
    worker.fail(ATTEMPTS_MAX);
    writer.append(&event(1));
    assert_eq!(writer.flush(soon()), FlushOutcome::Flushed);
    let counts = ledger.counts();
    assert!(counts.balance(), "{counts:?}");
    assert_eq!((counts.dropped, counts.spooled), (1, 0));
    writer.append(&event(2));
    assert_eq!(writer.flush(soon()), FlushOutcome::Flushed);
    assert_eq!(ledger.counts().spooled, 1);
    assert_eq!(spool.end(), 1);
    // It panics at the end as well: nobody waits for it, and what it had is counted.
    worker.fail(u32::MAX);
    writer.append(&event(3));
    assert_eq!(writer.stop(soon()), FlushOutcome::Flushed);
    let counts = ledger.counts();
    assert!(counts.balance(), "{counts:?}");
    assert_eq!((counts.dropped, counts.in_channel), (2, 0));
}
