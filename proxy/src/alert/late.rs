//! Writes that may take too long. A thread that hangs in one cannot be told to stop; that it hangs is seen by
//! whoever looks, and counted once.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::alert::metrics::AlertWrites;
use crate::clock;

/// A disk that works has taken a few kilobytes by then.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(5);

/// The write that is under way; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Writing {
    begun: Arc<Mutex<Begun>>,
    writes: AlertWrites,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Nothing,
    At(Instant),
    /// It has been counted.
    Late,
}

impl Writing {
    pub(super) fn new(writes: AlertWrites) -> Self {
        Writing {
            begun: Arc::new(Mutex::new(Begun::Nothing)),
            writes,
        }
    }

    /// Does a write, and counts what came of it.
    pub(super) fn time(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let begun = clock::now();
        *self.begun.lock() = Begun::At(begun);
        let written = write();
        let before = std::mem::replace(&mut *self.begun.lock(), Begun::Nothing);
        match &written {
            Ok(()) => self.writes.written.inc(),
            Err(_) => self.writes.failed.inc(),
        }
        if before == Begun::Late {
            let took = clock::now().saturating_duration_since(begun).as_secs();
            log::warn!("alerts: the disk took {took} s for what they write down");
        }
        written
    }

    /// Counts the write that is under way when it is late. Waits for nothing.
    pub(super) fn snapshot(&self, now: Instant) {
        let mut begun = self.begun.lock();
        if let Begun::At(at) = *begun
            && now.saturating_duration_since(at) >= WRITE_MAX
        {
            *begun = Begun::Late;
            self.writes.late.inc();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::metrics::AlertMetrics;
    use crate::metrics::Metrics;

    #[test]
    fn a_write_that_takes_too_long_is_counted_once_while_it_lasts() {
        let metrics = Metrics::new().expect("metrics");
        let alerts = AlertMetrics::register(&metrics).expect("metrics");
        let writes = alerts.writes("state").expect("counters");
        let writing = Writing::new(writes.clone());
        writing.snapshot(clock::now() + WRITE_MAX);
        let written = writing.time(|| {
            writing.snapshot(clock::now());
            assert_eq!(writes.late.get(), 0);
            for _ in 0..3 {
                writing.snapshot(clock::now() + WRITE_MAX);
            }
            assert_eq!(writes.late.get(), 1);
            Ok(())
        });
        assert!(written.is_ok());
        let failed = writing.time(|| Err(io::Error::other("full")));
        assert!(failed.is_err());
        let counted = (writes.written.get(), writes.failed.get(), writes.late.get());
        assert_eq!(counted, (1, 1, 1));
    }
}
