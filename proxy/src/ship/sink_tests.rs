use super::*;
use crate::clock;
use crate::exchange::RequestId;
use crate::record::batch::LineBatch;
use crate::record::writer::{ATTEMPTS_MAX, Writer};
use crate::ship::dataset::PerDataset;
use crate::ship::spool::{self, SpoolRead, SpoolReader};
use crate::worker::Worker;

fn spool(folder: &std::path::Path) -> (Ledger, Arc<Spool>, SpoolReader) {
    let ledgers = PerDataset::<Ledger>::default();
    let config = spool::Config {
        path: folder.join("spool"),
        bytes_max: 1 << 20,
        sync: Duration::from_secs(1),
    };
    let (spool, reader, _) = Spool::open(&config, &ledgers).expect("a spool");
    (ledgers.access, spool, reader)
}

fn id(number: u64) -> RequestId {
    RequestId::fixed(&format!("{number:026}"))
}

#[test]
fn a_write_that_panicked_half_way_is_continued() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ledger, spool, mut reader) = spool(folder.path());
    let mut sink = SpoolSink::new(spool.clone());
    let mut batch = LineBatch::default();
    for number in 0..4 {
        ledger.record();
        batch.push(&id(number), b"{}");
    }
    // As if a write of all four had panicked after the second.
    sink.begun = Some(spool.appended(Dataset::Access));
    let two = batch.lines().split(2).0.last(2);
    let two = two.map(|line| (line.id.as_bytes(), line.bytes));
    assert_eq!(spool.append(Dataset::Access, two).0, 2);
    assert_eq!(sink.write(batch.lines(), Duration::ZERO).lines, 4);
    let SpoolRead::Events(events) = spool.read(&mut reader, 9, 9999) else {
        panic!("events");
    };
    let ids: Vec<_> = events.iter().map(|event| event.id[25] - b'0').collect();
    assert_eq!(ids, [0, 1, 2, 3], "each once");
    assert!(ledger.counts().is_balanced());
    assert_eq!((ledger.counts().spooled, sink.abandon()), (4, 0));
}

#[test]
fn lines_that_make_the_writer_panic_are_dropped_and_the_ledger_balances() {
    let folder = tempfile::tempdir().expect("a folder");
    let (ledger, spool, _) = spool(folder.path());
    let soon = || clock::now() + Duration::from_secs(10);
    let worker = Worker::unexposed("events-spool");
    let sink = Box::new(SpoolSink::new(spool.clone()));
    let accounting = Some(Arc::new(ledger.clone()) as Arc<dyn Accounting>);
    let writer = Writer::start(worker.clone(), sink, accounting).expect("a thread");
    worker.fail(ATTEMPTS_MAX);
    writer.append(&id(1), b"{}");
    assert_eq!(writer.flush(soon()), Ok(()));
    let counts = ledger.counts();
    assert!(counts.is_balanced(), "{counts:?}");
    assert_eq!((counts.dropped, counts.spooled), (1, 0));
    writer.append(&id(2), b"{}");
    assert_eq!(writer.flush(soon()), Ok(()));
    assert_eq!(ledger.counts().spooled, 1);
    assert_eq!(spool.appended(Dataset::Access), 1);
    // If it panics at the stop as well, its lines are counted as dropped and the stop does not wait for it.
    worker.fail(u32::MAX);
    writer.append(&id(3), b"{}");
    assert_eq!(writer.stop(soon()), Ok(()));
    let counts = ledger.counts();
    assert!(counts.is_balanced(), "{counts:?}");
    assert_eq!((counts.dropped, counts.in_channel), (2, 0));
}
