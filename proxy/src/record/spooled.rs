//! The sink towards Elasticsearch: events go to the spool, and the shipper takes them from there.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Lines;
use super::hand::{Sink, Written};
use crate::ship::spool::{ID_BYTES, Spool};

/// What stands before the id in every event; see `event.rs`.
const BEFORE_ID: &[u8] = br#""event":{"id":""#;

/// The sink that appends to the spool.
pub(super) struct Spooled {
    spool: Arc<Spool>,
    /// Where the spool ended before the write that is under way, or that panicked.
    begun: Option<u64>,
}

impl Spooled {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Spooled { spool, begun: None }
    }
}

impl Sink for Spooled {
    fn write(&mut self, lines: Lines<'_>, _now: Duration) -> Written {
        // Nobody else appends: what is there more is of these lines, from a write that panicked.
        let begun = *self.begun.get_or_insert_with(|| self.spool.end());
        let before = appended_since(&self.spool, begun);
        let events = lines
            .last(lines.count().saturating_sub(before))
            .map_while(|line| Some((id_of(line)?, line)));
        let (appended, outcome) = self.spool.append(events);
        self.begun = None;
        Written {
            lines: before + appended,
            error: outcome.err(),
        }
    }

    fn kept(&mut self) -> usize {
        let begun = self.begun.take();
        begun.map_or(0, |begun| appended_since(&self.spool, begun))
    }

    fn sync(&mut self) {
        if let Err(error) = self.spool.sync() {
            log::error!("spool: the disk does not take it: {error}");
        }
    }
}

fn appended_since(spool: &Spool, begun: u64) -> usize {
    usize::try_from(spool.end().saturating_sub(begun)).unwrap_or(usize::MAX)
}

/// Where it stands in every event of this version.
const USUAL_PLACE: usize =
    r#"{"@timestamp":"2026-11-22T08:30:00.123456Z","ecs":{"version":"8.17.0"},"#.len();

/// The id in an event.
fn id_of(line: &[u8]) -> Option<&[u8; ID_BYTES]> {
    let is_usual = line
        .get(USUAL_PLACE..)
        .is_some_and(|rest| rest.starts_with(BEFORE_ID));
    let at = match is_usual {
        true => USUAL_PLACE,
        false => memchr::memmem::find(line, BEFORE_ID)?,
    };
    line[at + BEFORE_ID.len()..].first_chunk()
}

#[cfg(test)]
mod tests {
    use super::super::batch::Batch;
    use super::*;
    use crate::record::event::Format;
    use crate::record::fixture::filled;
    use crate::record::sampling::Sampling;
    use crate::ship::ledger::Ledger;
    use crate::ship::spool::{self, Next};

    #[test]
    fn a_write_that_panicked_half_way_is_gone_on_with() {
        let folder = tempfile::tempdir().expect("a folder");
        let (ledger, config) = (
            Ledger::default(),
            spool::Config {
                path: folder.path().join("spool"),
                bytes_max: 1 << 20,
                sync: Duration::from_secs(1),
            },
        );
        let (spool, mut reader, _) = Spool::open(&config, &ledger).expect("a spool");
        let mut sink = Spooled::new(spool.clone());
        let mut batch = Batch::default();
        for number in 0..4 {
            ledger.record();
            batch.push(format!(r#"{{"event":{{"id":"{number:026}"}}}}"#).as_bytes());
        }
        // As if a write of all four had panicked behind the second.
        sink.begun = Some(spool.end());
        let two = batch.lines().split(2).0.last(2);
        let two = two.map(|line| (id_of(line).expect("an id"), line));
        assert_eq!(spool.append(two).0, 2);
        assert_eq!(sink.write(batch.lines(), Duration::ZERO).lines, 4);
        let Next::Events(events) = spool.read(&mut reader, 9, 9999) else {
            panic!("events");
        };
        let ids: Vec<_> = events.iter().map(|event| event.id[25] - b'0').collect();
        assert_eq!(ids, [0, 1, 2, 3], "each once");
        assert!(ledger.counts().balance());
        assert_eq!((ledger.counts().spooled, sink.kept()), (4, 0));
    }

    #[test]
    fn the_id_is_found_in_an_event() {
        let exchange = filled();
        let mut line = Vec::new();
        Format::new("test", Sampling::ALL).append(&exchange, Duration::ZERO, &mut line);
        assert!(line[USUAL_PLACE..].starts_with(BEFORE_ID));
        let id = id_of(&line).expect("an id");
        assert_eq!(&id[..], exchange.id.as_str().as_bytes());
        assert_eq!(id_of(b"{}"), None);
        assert_eq!(id_of(br#"{"event":{"id":"01K"#), None);
    }
}
