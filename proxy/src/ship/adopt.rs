//! Migrates the separate alert spool of former versions into the shared spool, so that an upgrade loses no
//! transition.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dataset::{Dataset, PerDataset};
use super::ledger::Ledger;
use super::spool::{self, Spool, SpoolRead, Spooled};

const EVENTS_MAX: usize = 100;
const BYTES_MAX: usize = 1024 * 1024;

/// The directory of the former alert spool.
pub(super) fn directory(spool: &Path) -> PathBuf {
    let mut path = spool.as_os_str().to_owned();
    path.push("-alerts");
    PathBuf::from(path)
}

/// Moves the events of the spool in `directory` to `into` and removes the emptied spool. Returns how many were
/// moved. Events that do not fit stay until the next start.
///
/// # Errors
/// When the former spool cannot be opened or read, or `into` rejects an event.
pub(super) fn adopt(directory: &Path, into: &Spool, ledger: &Ledger) -> io::Result<u64> {
    if !directory.is_dir() {
        return Ok(0);
    }
    let config = spool::Config {
        path: directory.to_owned(),
        bytes_max: 0,
        sync: Duration::from_secs(1),
    };
    let (from, mut reader, _) = Spool::open(&config, &PerDataset::<Ledger>::default())?;
    let mut moved = 0;
    loop {
        match from.read(&mut reader, EVENTS_MAX, BYTES_MAX) {
            SpoolRead::Events(events) => {
                let (count, outcome) = append(&events, into, ledger);
                into.sync()?;
                for event in events.iter().take(count) {
                    from.acknowledge(event.number, event.number + 1);
                }
                moved += count as u64;
                if outcome.is_err() {
                    from.sync()?;
                }
                outcome?;
            }
            SpoolRead::Lost(first, end) => {
                log::error!(
                    "spool: {} events in {} can no longer be read",
                    end - first,
                    directory.display()
                );
                from.acknowledge(first, end);
            }
            SpoolRead::Failed(error) => return Err(error),
            SpoolRead::Empty => break,
        }
    }
    from.sync()?;
    drop(from);
    for name in ["cursor", "lock"] {
        fs::remove_file(directory.join(name))?;
    }
    // Fails if a dead-letter file or a damaged segment is left, which stays.
    let _ = fs::remove_dir(directory);
    Ok(moved)
}

fn append(events: &[Spooled], into: &Spool, ledger: &Ledger) -> (usize, io::Result<()>) {
    ledger.adopt(events.len() as u64);
    let lines = events.iter().map(|event| (&event.id, &event.line[..]));
    let (count, outcome) = into.append(Dataset::Alert, lines);
    ledger.disown((events.len() - count) as u64);
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
        let old = directory(&path);
        assert_eq!(old, folder.path().join("spool-alerts"));
        let ledgers = PerDataset::<Ledger>::default();
        let (spool, mut reader, _) =
            Spool::open(&config(path, 1 << 20), &ledgers).expect("a spool");
        let adopt = || adopt(&old, &spool, &ledgers.alert).expect("adopted");
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
        let old = directory(&path);
        fill(&old, 250);
        fs::write(old.join("dead-letter.ndjson"), b"{}\n").expect("a file");
        let ledgers = PerDataset::<Ledger>::default();
        let (spool, _, _) = Spool::open(&config(path.clone(), 1000), &ledgers).expect("a spool");
        adopt(&old, &spool, &ledgers.alert).expect_err("a full spool");
        let first = ledgers.alert.counts();
        assert!(first.is_balanced() && first.spooled > 0 && first.spooled < 250);
        drop(spool);
        let ledgers = PerDataset::<Ledger>::default();
        let (spool, _, _) = Spool::open(&config(path, 1 << 20), &ledgers).expect("a spool");
        let moved = adopt(&old, &spool, &ledgers.alert).expect("adopted");
        assert_eq!(moved + first.spooled, 250);
        assert_eq!(ledgers.alert.counts().spooled, 250);
        let left: Vec<_> = fs::read_dir(&old).expect("the folder").collect();
        assert_eq!(left.len(), 1);
    }
}
