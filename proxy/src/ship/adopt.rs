//! Moves the events of another spool into the one in use: those that a predecessor left when it had drained or was killed,
//! those that this process had handed over in vain, and the separate alert spool of former versions.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::dataset::{Dataset, PerDataset};
use super::ledger::Ledger;
use super::spool::{self, Spool, SpoolRead, SpoolReader, Spooled};

/// Of one read, and between two syncs.
const EVENTS_MAX: usize = 1000;
const BYTES_MAX: usize = 1024 * 1024;

/// How the ledgers account for the events of the other spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EventOrigin {
    /// Recorded by another process, as events of this dataset if it is set.
    Other(Option<Dataset>),
    /// Recorded or recovered by this process: they are in the ledgers as spooled.
    Own,
}

/// The directory of the former alert spool.
pub(super) fn former_directory(spool: &Path) -> PathBuf {
    let mut path = spool.as_os_str().to_owned();
    path.push("-alerts");
    PathBuf::from(path)
}

/// Moves the events of the former alert spool in `directory` to `into`, and removes it. Returns how many were moved. Events
/// that do not fit stay until the next start.
///
/// # Errors
/// When the other spool cannot be opened or read, or `into` rejects an event.
pub(super) fn adopt_former(
    directory: &Path,
    into: &Spool,
    ledgers: &PerDataset<Ledger>,
) -> io::Result<u64> {
    if !directory.is_dir() {
        return Ok(0);
    }
    adopt_and_remove(
        directory,
        into,
        ledgers,
        EventOrigin::Other(Some(Dataset::Alert)),
    )
}

/// As [`adopt_former`], for the spool that a process drained into.
///
/// # Errors
/// As [`adopt_former`]; also when that process still runs.
pub(super) fn adopt_drained(
    directory: &Path,
    into: &Spool,
    ledgers: &PerDataset<Ledger>,
) -> io::Result<u64> {
    adopt_and_remove(directory, into, ledgers, EventOrigin::Other(None))
}

/// Moves what this process handed over in `directory`, and nobody has taken, to `into`, which also keeps its lock. Returns
/// how many events were moved.
///
/// # Errors
/// When the spool cannot be opened or read, or `into` rejects an event.
pub(super) fn take_back(
    directory: &Path,
    into: &Spool,
    ledgers: &PerDataset<Ledger>,
) -> io::Result<PerDataset<u64>> {
    let (from, mut reader) = open(directory)?;
    let moved = move_events((&from, &mut reader), into, ledgers, EventOrigin::Own)?;
    if let Some(lock) = Arc::into_inner(from).and_then(Spool::into_lock) {
        into.keep_lock(lock);
    }
    Ok(moved)
}

fn adopt_and_remove(
    directory: &Path,
    into: &Spool,
    ledgers: &PerDataset<Ledger>,
    origin: EventOrigin,
) -> io::Result<u64> {
    let (from, mut reader) = open(directory)?;
    let moved = move_events((&from, &mut reader), into, ledgers, origin)?;
    let moved = moved.access + moved.alert;
    for name in ["cursor", "lock"] {
        fs::remove_file(directory.join(name))?;
    }
    drop(from);
    // Fails if a dead-letter file or a damaged segment is left, which stays.
    let _ = fs::remove_dir(directory);
    Ok(moved)
}

fn open(directory: &Path) -> io::Result<(Arc<Spool>, SpoolReader)> {
    let config = spool::Config {
        path: directory.to_owned(),
        bytes_max: 0,
        sync: Duration::from_secs(1),
    };
    let (spool, reader, _) = Spool::open(&config, &PerDataset::<Ledger>::default())?;
    Ok((spool, reader))
}

fn move_events(
    (from, reader): (&Spool, &mut SpoolReader),
    into: &Spool,
    ledgers: &PerDataset<Ledger>,
    origin: EventOrigin,
) -> io::Result<PerDataset<u64>> {
    let mut moved = PerDataset::default();
    loop {
        match from.read(reader, EVENTS_MAX, BYTES_MAX) {
            SpoolRead::Events(events) => {
                let dataset_of = |event: &Spooled| match origin {
                    EventOrigin::Other(Some(dataset)) => dataset,
                    EventOrigin::Other(None) | EventOrigin::Own => event.dataset,
                };
                for events in events.chunk_by(|a, b| dataset_of(a) == dataset_of(b)) {
                    let dataset = events.first().map_or(Dataset::Access, dataset_of);
                    let ledger = ledgers.of(dataset);
                    let (count, outcome) = append(events, (into, dataset), ledger, origin);
                    into.sync()?;
                    for event in events.iter().take(count) {
                        from.acknowledge(event.number, event.number + 1);
                    }
                    *moved.of_mut(dataset) += count as u64;
                    if outcome.is_err() {
                        from.sync()?;
                    }
                    outcome?;
                }
            }
            SpoolRead::Lost(first, end) => {
                log::error!(
                    "spool: {} events in {} can no longer be read",
                    end - first,
                    from.directory().display()
                );
                from.acknowledge(first, end);
            }
            SpoolRead::Failed(error) => return Err(error),
            SpoolRead::Empty => break,
        }
    }
    from.sync()?;
    Ok(moved)
}

fn append(
    events: &[Spooled],
    (into, dataset): (&Spool, Dataset),
    ledger: &Ledger,
    origin: EventOrigin,
) -> (usize, io::Result<()>) {
    let all = events.len() as u64;
    match origin {
        EventOrigin::Other(_) => ledger.adopt(all),
        EventOrigin::Own => ledger.unspool(all),
    }
    let lines = events.iter().map(|event| (&event.id, &event.line[..]));
    let (count, outcome) = into.append(dataset, lines);
    let rest = all - count as u64;
    match origin {
        EventOrigin::Other(_) => ledger.disown(rest),
        EventOrigin::Own => ledger.spool(rest),
    }
    (count, outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(path: PathBuf, bytes_max: u64) -> spool::Config {
        spool::Config {
            path,
            bytes_max,
            sync: Duration::from_secs(1),
        }
    }

    fn fill(path: &Path, count: u32) {
        let config = config(path.to_owned(), 1 << 20);
        let (spool, _, _) = Spool::open(&config, &PerDataset::default()).expect("a spool");
        let ids: Vec<_> = (0..count).map(|number| format!("{number:026}")).collect();
        let events = ids.iter().map(|id| {
            let id = id.as_bytes().first_chunk().expect("26 characters");
            (id, &b"{\"a\":1}"[..])
        });
        assert_eq!(spool.append(Dataset::Access, events).0, count as usize);
        spool.sync().expect("synced");
    }

    #[test]
    fn the_former_alert_spool_is_migrated() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spool");
        let old = former_directory(&path);
        assert_eq!(old, folder.path().join("spool-alerts"));
        let ledgers = PerDataset::<Ledger>::default();
        let (spool, mut reader, _) =
            Spool::open(&config(path, 1 << 20), &ledgers).expect("a spool");
        let adopt = || adopt_former(&old, &spool, &ledgers).expect("adopted");
        assert_eq!(adopt(), 0, "there is none");
        fill(&old, 250);
        assert_eq!(adopt(), 250);
        assert!(!old.exists());
        let counts = ledgers.alert.counts();
        assert_eq!((counts.recovered, counts.spooled), (250, 250));
        assert!(counts.is_balanced());
        assert_eq!(ledgers.access.counts(), Default::default());
        let SpoolRead::Events(events) = spool.read(&mut reader, 1000, 1 << 20) else {
            panic!("events");
        };
        assert!(events.iter().all(|event| event.dataset == Dataset::Alert));
        assert_eq!((events.len(), &*events[7].line), (250, &b"{\"a\":1}"[..]));
    }

    #[test]
    fn events_that_do_not_fit_and_other_files_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spool");
        let old = former_directory(&path);
        fill(&old, 250);
        fs::write(old.join("dead-letter.ndjson"), b"{}\n").expect("a file");
        let ledgers = PerDataset::<Ledger>::default();
        let (spool, _, _) = Spool::open(&config(path.clone(), 1000), &ledgers).expect("a spool");
        adopt_former(&old, &spool, &ledgers).expect_err("a full spool");
        let first = ledgers.alert.counts();
        assert!(first.is_balanced() && first.spooled > 0 && first.spooled < 250);
        drop(spool);
        let ledgers = PerDataset::<Ledger>::default();
        let (spool, _, _) = Spool::open(&config(path, 1 << 20), &ledgers).expect("a spool");
        let moved = adopt_former(&old, &spool, &ledgers).expect("adopted");
        assert_eq!(moved + first.spooled, 250);
        assert_eq!(ledgers.alert.counts().spooled, 250);
        let left: Vec<_> = fs::read_dir(&old).expect("the folder").collect();
        assert_eq!(left.len(), 1);
    }
}
