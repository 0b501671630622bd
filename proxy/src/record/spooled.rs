//! The sink towards Elasticsearch: events go to the spool, and the shipper takes them from there.

use std::sync::Arc;
use std::time::Duration;

use super::batch::Lines;
use super::writer::{Sink, Written};
use crate::ship::spool::{ID_BYTES, Spool};

/// What stands before the id in every event; see `event.rs`.
const BEFORE_ID: &[u8] = br#""event":{"id":""#;

/// The sink that appends to the spool.
pub(super) struct Spooled {
    spool: Arc<Spool>,
}

impl Spooled {
    pub(super) fn new(spool: Arc<Spool>) -> Self {
        Spooled { spool }
    }
}

impl Sink for Spooled {
    fn write(&mut self, lines: Lines<'_>, _now: Duration) -> Written {
        let events = lines
            .last(lines.count())
            .map_while(|line| Some((id_of(line)?, line)));
        let (appended, outcome) = self.spool.append(events);
        Written {
            lines: appended,
            error: outcome.err(),
        }
    }

    fn sync(&mut self) {
        if let Err(error) = self.spool.sync() {
            log::error!("spool: the disk does not take it: {error}");
        }
    }
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
    use super::*;
    use crate::record::event::Format;
    use crate::record::fixture::filled;
    use crate::record::sampling::Sampling;

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
