use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::super::sink::EventCounts;
use super::*;
use crate::metrics::Metrics;

const SOON: Duration = Duration::from_secs(10);

fn soon() -> Instant {
    clock::now() + SOON
}

fn counts() -> Arc<EventCounts> {
    let metrics = Metrics::new().expect("metrics");
    Arc::new(EventCounts::register(&metrics).expect("counters"))
}

fn id() -> RequestId {
    RequestId::new(Duration::ZERO)
}

/// A sink that reports each write and waits at a gate.
struct Gated {
    writes: SyncSender<Vec<u8>>,
    gate: Receiver<WriteOutcome>,
}

impl LineSink for Gated {
    fn write(&mut self, lines: BatchLines<'_>, _now: Duration) -> WriteOutcome {
        self.writes.send(lines.bytes().to_vec()).expect("a reader");
        self.gate.recv_timeout(SOON).expect("an open gate")
    }
}

fn gated() -> (
    Box<dyn LineSink>,
    Receiver<Vec<u8>>,
    SyncSender<WriteOutcome>,
) {
    let (writes, written) = sync_channel(16);
    let (open, gate) = sync_channel(16);
    (Box::new(Gated { writes, gate }), written, open)
}

fn all(lines: usize) -> WriteOutcome {
    WriteOutcome { lines, error: None }
}

/// A sink that accepts all lines.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl LineSink for Memory {
    fn write(&mut self, lines: BatchLines<'_>, _now: Duration) -> WriteOutcome {
        self.0.lock().extend_from_slice(lines.bytes());
        all(lines.count())
    }
}

#[test]
fn a_flush_waits_until_all_lines_are_written() {
    let memory = Memory::default();
    let counts = counts();
    let writer = Writer::start(
        Worker::unexposed("test"),
        Box::new(memory.clone()),
        Some(counts.clone()),
    )
    .expect("a thread");
    for number in 0..1000 {
        writer.append(&id(), format!("line {number}").as_bytes());
    }
    assert_eq!(writer.flush(soon()), Ok(()));
    let text = String::from_utf8(memory.0.lock().clone()).expect("UTF-8");
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), 1000);
    assert_eq!(lines[999], "line 999");
    assert!(text.ends_with('\n'));
    assert_eq!((counts.recorded.get(), counts.dropped.get()), (1000, 0));
}

#[test]
fn lines_are_written_without_a_flush() {
    let (sink, written, open) = gated();
    let writer = Writer::start(Worker::unexposed("test"), sink, None).expect("a thread");
    for text in ["first", "second"] {
        open.send(all(1)).expect("the writer");
        writer.append(&id(), text.as_bytes());
        // The second line also wakes a writer that is asleep or about to sleep.
        let bytes = written.recv_timeout(SOON).expect("a write");
        assert_eq!(bytes, format!("{text}\n").into_bytes());
    }
}

#[test]
fn lines_of_many_threads_are_written_whole() {
    let memory = Memory::default();
    let writer =
        Writer::start(Worker::unexposed("test"), Box::new(memory.clone()), None).expect("a thread");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let writer = &writer;
            scope.spawn(move || {
                for number in 0..500 {
                    writer.append(&id(), format!("{thread}:{number}").as_bytes());
                }
            });
        }
    });
    writer.flush(soon()).expect("in time");
    let text = String::from_utf8(memory.0.lock().clone()).expect("UTF-8");
    let distinct: std::collections::HashSet<_> = text.lines().collect();
    assert_eq!((text.lines().count(), distinct.len()), (2000, 2000));
}

#[test]
fn a_hung_sink_drops_lines_and_never_blocks() {
    let (sink, written, open) = gated();
    let counts = counts();
    let writer =
        Writer::start(Worker::unexposed("test"), sink, Some(counts.clone())).expect("a thread");
    let line = vec![b'x'; 1024 * 1024 - 1];
    writer.append(&id(), &line);
    written.recv_timeout(SOON).expect("a write that hangs");
    // The writer has taken one MiB, so there is room for seven more.
    for _ in 0..10 {
        writer.append(&id(), &line);
    }
    let dropped = counts.dropped.get();
    assert!((3..=4).contains(&dropped), "{dropped} dropped");
    assert_eq!(writer.flush(clock::now()), Err(Elapsed));

    // Each line is larger than a batch.
    for _ in 0..10 - dropped {
        open.send(all(1)).expect("the writer");
        assert_eq!(
            written.recv_timeout(SOON).expect("the rest").len(),
            1024 * 1024
        );
    }
    open.send(all(1)).expect("the writer");
    assert_eq!(writer.flush(soon()), Ok(()));
    assert_eq!(counts.recorded.get() + counts.dropped.get(), 11);
    writer.append(&id(), b"goes on");
    assert_eq!(written.recv_timeout(SOON).expect("a write"), b"goes on\n");
    open.send(all(1)).expect("the writer");
}

#[test]
fn lines_that_fail_are_counted_as_dropped() {
    let (sink, written, open) = gated();
    let counts = counts();
    let writer =
        Writer::start(Worker::unexposed("test"), sink, Some(counts.clone())).expect("a thread");
    open.send(WriteOutcome {
        lines: 0,
        error: Some(io::ErrorKind::StorageFull.into()),
    })
    .expect("the writer");
    writer.append(&id(), b"lost");
    assert_eq!(writer.flush(soon()), Ok(()));
    written.recv_timeout(SOON).expect("a write");
    open.send(all(1)).expect("the writer");
    writer.append(&id(), b"kept");
    assert_eq!(writer.flush(soon()), Ok(()));
    assert_eq!((counts.recorded.get(), counts.dropped.get()), (1, 1));
}

#[test]
fn a_stop_writes_what_is_left_and_ends_the_thread() {
    let memory = Memory::default();
    let counts = counts();
    let writer = Writer::start(
        Worker::unexposed("test"),
        Box::new(memory.clone()),
        Some(counts.clone()),
    )
    .expect("a thread");
    writer.append(&id(), b"last words");
    assert_eq!(writer.stop(soon()), Ok(()));
    assert_eq!(*memory.0.lock(), b"last words\n");
    writer.append(&id(), b"too late");
    assert_eq!((counts.recorded.get(), counts.dropped.get()), (1, 1));
    // Further calls do not wait for a thread that has ended.
    assert_eq!(writer.stop(soon()), Ok(()));
    assert_eq!(writer.flush(soon()), Ok(()));
}

#[test]
fn a_dropped_writer_ends_its_thread() {
    let memory = Memory::default();
    let writer =
        Writer::start(Worker::unexposed("test"), Box::new(memory.clone()), None).expect("a thread");
    writer.append(&id(), b"left");
    drop(writer);
    clock::eventually("the line", || *memory.0.lock() == b"left\n");
}

#[test]
fn the_last_lines_are_kept_written_or_not() {
    let (sink, written, open) = gated();
    let writer = Writer::start(Worker::unexposed("test"), sink, None).expect("a thread");
    for number in 0..150 {
        writer.append(&id(), number.to_string().as_bytes());
    }
    let recent = |count| -> Vec<String> {
        let lines = writer.recent(count).into_iter();
        lines
            .map(|line| String::from_utf8(line).expect("UTF-8"))
            .collect()
    };
    assert_eq!(recent(2), ["148", "149"]);
    written.recv_timeout(SOON).expect("a write");
    writer.append(&id(), b"150");
    assert_eq!(recent(2), ["149", "150"]);
    assert_eq!(recent(RECENT_MAX).len(), RECENT_MAX);
    assert_eq!(recent(0).len(), 0);
    for _ in 0..8 {
        open.send(all(150)).expect("the writer");
    }
    writer.flush(soon()).expect("in time");
    assert_eq!(recent(3), ["148", "149", "150"]);
}

#[test]
fn a_panic_of_the_writer_loses_no_line() {
    let worker = Worker::unexposed("events");
    let (memory, counts) = (Memory::default(), counts());
    let sink = Box::new(memory.clone());
    let accounting: Option<Arc<dyn Accounting>> = Some(counts.clone());
    let writer = Writer::start(worker.clone(), sink, accounting).expect("a thread");
    for round in 0..3_u64 {
        worker.fail(2);
        for number in 0..100 {
            writer.append(&id(), format!("{round}:{number}").as_bytes());
        }
        assert_eq!(writer.flush(soon()), Ok(()));
        assert_eq!(worker.seen(), ((round + 1) * 2, 1));
        assert_eq!(writer.recent(3).len(), 3);
    }
    // The stop does not wait for the pause before a restart.
    worker.fail(1);
    writer.append(&id(), b"last");
    assert_eq!(writer.stop(soon()), Ok(()));
    let text = String::from_utf8(memory.0.lock().clone()).expect("UTF-8");
    let lines: Vec<_> = text.lines().collect();
    let expected = (0..3).flat_map(|round| (0..100).map(move |number| format!("{round}:{number}")));
    let expected: Vec<_> = expected.chain(["last".to_owned()]).collect();
    assert_eq!(lines, expected, "each once, and in their order");
    assert_eq!((counts.recorded.get(), counts.dropped.get()), (301, 0));
}
