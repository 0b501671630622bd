//! Adopts the spool that alert transitions had of their own in former versions: what is in it moves to
//! the one spool, so that no transition is lost over an upgrade.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::dataset::{Dataset, PerDataset};
use super::ledger::Ledger;
use super::spool::{self, Next, Spool, Spooled};

const EVENTS_MAX: usize = 100;
const BYTES_MAX: usize = 1024 * 1024;

/// Where that spool was.
pub(super) fn directory(spool: &Path) -> PathBuf {
    let mut path = spool.as_os_str().to_owned();
    path.push("-alerts");
    PathBuf::from(path)
}

/// Moves the events of the spool in `directory` to `into`, and removes what is empty then. Gives how many
/// were moved. What does not fit stays for the next start.
///
/// # Errors
/// When that spool cannot be opened or read, or `into` does not accept its events.
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
            Next::Events(events) => {
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
            Next::Lost(first, end) => {
                log::error!(
                    "spool: {} events in {} can no longer be read",
                    end - first,
                    directory.display()
                );
                from.acknowledge(first, end);
            }
            Next::Failed(error) => return Err(error),
            Next::Empty => break,
        }
    }
    from.sync()?;
    drop(from);
    for name in ["cursor", "lock"] {
        fs::remove_file(directory.join(name))?;
    }
    // A dead-letter file, or a damaged segment, stays.
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
    fn the_old_spool_of_alerts_moves_to_the_one_spool() {
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
        let Next::Events(events) = spool.read(&mut reader, 1000, 1 << 20) else {
            panic!("events");
        };
        assert!(events.iter().all(|event| event.dataset == Dataset::Alert));
        assert_eq!((events.len(), &*events[7].line), (250, &b"{\"a\":1}"[..]));
    }

    #[test]
    fn what_does_not_fit_and_what_is_no_event_stays() {
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
