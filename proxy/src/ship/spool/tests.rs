//! Model-based tests: random appends, reads, acknowledgements and kills.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tempfile::TempDir;

use super::*;

mod damage;
mod datasets;

type Event = (u64, [u8; 26], Vec<u8>);

/// xorshift64: the same run every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn config(path: &Path, bytes_max: u64) -> Config {
    Config {
        path: path.join("spool"),
        bytes_max,
        sync: Duration::from_millis(500),
    }
}

fn event(serial: u64, dice: &mut Dice) -> ([u8; 26], Vec<u8>) {
    let ulid = ulid::Ulid::from_parts(1_790_000_000_000 + serial, u128::from(serial));
    let id = *ulid
        .to_string()
        .as_bytes()
        .first_chunk()
        .expect("26 characters");
    let line = format!(
        "{{\"serial\":{serial},\"fill\":\"{}\"}}",
        "x".repeat(dice.below(900) as usize)
    );
    (id, line.into_bytes())
}

fn append(spool: &Spool, events: &[([u8; 26], Vec<u8>)]) -> usize {
    let (count, outcome) = spool.append(
        Dataset::Access,
        events.iter().map(|(id, line)| (id, &line[..])),
    );
    assert_eq!(outcome.is_ok(), count == events.len());
    count
}

fn drain(spool: &Spool, reader: &mut SpoolReader) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        match spool.read(reader, 7, 4_000) {
            SpoolRead::Events(events) => {
                assert!(!events.is_empty());
                all.extend(
                    events
                        .into_iter()
                        .map(|e| (e.number, e.id, e.line.into_vec())),
                );
            }
            SpoolRead::Empty => return all,
            other => panic!("{other:?}"),
        }
    }
}

fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("spool")).expect("a folder");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    paths.sort();
    paths
}

#[test]
fn events_are_read_in_order_and_removed_when_acknowledged() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 16 << 20);
    let mut dice = Dice(7);
    let (spool, mut reader, found) = Spool::open(&config, &PerDataset::default()).expect("open");
    assert_eq!(found, 0);
    assert!(matches!(
        spool.read(&mut reader, 10, 1_000),
        SpoolRead::Empty
    ));
    let events: Vec<_> = (0..5_000).map(|serial| event(serial, &mut dice)).collect();
    for batch in events.chunks(37) {
        assert_eq!(append(&spool, batch), batch.len());
    }
    assert!(segments(directory.path()).len() > 2);
    assert_eq!(spool.oldest_at(), Some(Duration::from_secs(1_790_000_000)));
    let read = drain(&spool, &mut reader);
    assert_eq!(read.len(), 5_000);
    for ((number, id, line), (serial, event)) in read.iter().zip(events.iter().enumerate()) {
        assert_eq!((*number, id, line), (serial as u64, &event.0, &event.1));
    }
    spool.acknowledge(0, 4_900);
    assert_eq!(segments(directory.path()).len(), 1);
    spool.acknowledge(4_900, 5_000);
    assert_eq!(spool.oldest_at(), None);
    spool.sync().expect("sync");
    drop(spool);
    let (spool, mut reader, found) = Spool::open(&config, &PerDataset::default()).expect("open");
    assert_eq!((found, spool.bytes()), (0, PerDataset::default()));
    assert_eq!(append(&spool, &events[..1]), 1);
    assert_eq!(drain(&spool, &mut reader)[0].0, 5_000);
}

#[test]
fn a_full_spool_rejects_events_and_loses_none() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 200_000);
    let mut dice = Dice(11);
    let (spool, mut reader, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    let events: Vec<_> = (0..1_000).map(|serial| event(serial, &mut dice)).collect();
    let (count, outcome) = spool.append(
        Dataset::Access,
        events.iter().map(|(id, line)| (id, &line[..])),
    );
    assert!(outcome.is_err() && count > 100 && count < 1_000, "{count}");
    assert!(spool.bytes().access <= 200_000, "{:?}", spool.bytes());
    let large = (events[999].0, vec![b'x'; 5_000]);
    assert_eq!(append(&spool, &[large]), 0);
    assert_eq!(drain(&spool, &mut reader).len(), count);
    spool.acknowledge(0, count as u64);
    assert_eq!(append(&spool, &events[..3]), 3);
    assert_eq!(drain(&spool, &mut reader).len(), 3);
}

#[test]
fn an_event_longer_than_one_read_is_read_whole() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 64 << 20);
    let (spool, mut reader, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    let (id, short) = event(1, &mut Dice(3));
    let events = [
        (id, short),
        (id, vec![b'x'; 900_000]),
        (id, vec![b'y'; 300_000]),
    ];
    assert_eq!(append(&spool, &events), 3);
    let read: Vec<_> = drain(&spool, &mut reader)
        .into_iter()
        .map(|(_, _, line)| line)
        .collect();
    let expected: Vec<_> = events.into_iter().map(|(_, line)| line).collect();
    assert!(read == expected);
}

#[test]
fn a_spool_is_locked_by_one_process() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let first = Spool::open(&config, &PerDataset::default()).expect("open");
    let second = Spool::open(&config, &PerDataset::default())
        .map(|_| ())
        .expect_err("locked");
    assert!(second.to_string().contains("another process"));
    drop(first);
    Spool::open(&config, &PerDataset::default()).expect("free again");
}

#[test]
fn a_temporary_read_error_loses_nothing() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let (spool, mut reader, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    append(&spool, &[event(1, &mut Dice(23))]);
    let path = segments(directory.path()).remove(0);
    let aside = path.with_extension("aside");
    fs::rename(&path, &aside).expect("renamed");
    fs::create_dir(&path).expect("a folder, which opens and does not read");
    for _ in 0..3 {
        assert!(matches!(
            spool.read(&mut reader, 10, 1_000),
            SpoolRead::Failed(_)
        ));
    }
    fs::remove_dir(&path).expect("removed");
    fs::rename(&aside, &path).expect("renamed");
    assert_eq!(drain(&spool, &mut reader).len(), 1);
}

#[test]
fn a_removed_segment_is_closed() {
    let directory = TempDir::new().expect("a directory");
    let config = config(directory.path(), 1 << 20);
    let (spool, mut reader, _) = Spool::open(&config, &PerDataset::default()).expect("open");
    append(&spool, &[event(1, &mut Dice(37))]);
    let number = drain(&spool, &mut reader)[0].0;
    let path = segments(directory.path()).remove(0);
    // As after a write that failed for a full disk.
    spool.inner.lock().active = None;
    spool.acknowledge(number, number + 1);
    assert!(!path.exists());
    assert_eq!(drain(&spool, &mut reader).len(), 0);
    let held = fs::read_dir("/proc/self/fd").expect("the open files");
    let held = held.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    let name = path.to_string_lossy().into_owned();
    assert!(
        held.into_iter()
            .all(|file| !file.to_string_lossy().contains(&name))
    );
}

fn lengths(directory: &Path) -> BTreeMap<PathBuf, u64> {
    let paths = segments(directory).into_iter();
    paths
        .map(|path| {
            let length = fs::metadata(&path).expect("metadata").len();
            (path, length)
        })
        .collect()
}

/// Simulates a kill: keeps everything that was synced and any part of the rest.
fn kill(directory: &Path, synced: &BTreeMap<PathBuf, u64>, dice: &mut Dice) {
    for path in segments(directory) {
        let length = fs::metadata(&path).expect("metadata").len();
        let safe = synced.get(&path).copied().unwrap_or(0).min(length);
        let kept = safe + dice.below(length - safe + 1);
        let file = OpenOptions::new().write(true).open(&path).expect("open");
        match dice.below(4) {
            // The length is there, the data is not.
            0 => {
                file.set_len(kept).expect("cut");
                file.set_len(length).expect("zeros");
            }
            1 => {}
            _ => file.set_len(kept).expect("cut"),
        }
    }
    let cursor = directory.join("spool/cursor");
    match dice.below(6) {
        0 => fs::remove_file(&cursor).expect("remove"),
        1 => fs::write(&cursor, vec![0xff; dice.below(70) as usize]).expect("write"),
        _ => {}
    }
}

#[test]
fn no_kill_loses_synced_events_or_prevents_a_start() {
    for seed in 1..60 {
        let directory = TempDir::new().expect("a directory");
        let config = config(directory.path(), 2 << 20);
        let mut dice = Dice(seed * 7_919);
        let mut serial = 0;
        // What must be read again: appended, synced, not acknowledged.
        let mut owed: BTreeSet<[u8; 26]> = BTreeSet::new();
        let mut ever: BTreeMap<[u8; 26], Vec<u8>> = BTreeMap::new();
        for _ in 0..6 {
            let (spool, mut reader, found) =
                Spool::open(&config, &PerDataset::default()).expect("open");
            let read = drain(&spool, &mut reader);
            assert_eq!(read.len() as u64, found, "seed {seed}");
            let there: BTreeSet<_> = read.iter().map(|(_, id, _)| *id).collect();
            assert!(owed.is_subset(&there), "seed {seed}: something is lost");
            for (_, id, line) in &read {
                assert_eq!(
                    ever.get(id),
                    Some(line),
                    "seed {seed}: an event that was never written"
                );
            }
            assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0));
            // Events read at startup were on disk.
            owed.extend(there);
            let mut synced = lengths(directory.path());
            let mut unacknowledged: Vec<Event> = read;
            let mut appended: Vec<[u8; 26]> = Vec::new();
            for _ in 0..dice.below(40) {
                match dice.below(5) {
                    0 => {
                        spool.sync().expect("sync");
                        owed.extend(appended.drain(..));
                        synced = lengths(directory.path());
                    }
                    1 if !unacknowledged.is_empty() => {
                        let count = dice.below(unacknowledged.len() as u64 + 1) as usize;
                        for (number, id, _) in unacknowledged.drain(..count) {
                            spool.acknowledge(number, number + 1);
                            owed.remove(&id);
                            appended.retain(|other| *other != id);
                        }
                    }
                    _ => {
                        let count = dice.below(40);
                        let events: Vec<_> = (serial..serial + count)
                            .map(|s| event(s, &mut dice))
                            .collect();
                        serial += count;
                        let taken = append(&spool, &events);
                        for (id, line) in &events[..taken] {
                            ever.insert(*id, line.clone());
                            appended.push(*id);
                        }
                        unacknowledged.extend(drain(&spool, &mut reader));
                    }
                }
            }
            drop(spool);
            kill(directory.path(), &synced, &mut dice);
        }
    }
}
