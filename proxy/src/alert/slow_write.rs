//! Detects slow writes. A thread that hangs in a write cannot be stopped; another thread checks it, and counts
//! the write once.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::alert::metrics::AlertWrites;
use crate::clock;

/// A healthy disk takes a few kilobytes in less.
pub(super) const WRITE_MAX: Duration = Duration::from_secs(5);

/// Watches the write in progress. Clones share it.
#[derive(Clone, Debug)]
pub(super) struct WriteWatch {
    progress: Arc<Mutex<WriteProgress>>,
    writes: AlertWrites,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteProgress {
    Idle,
    Writing(Instant),
    /// Counted as late.
    Late,
}

impl WriteWatch {
    pub(super) fn new(writes: AlertWrites) -> Self {
        WriteWatch {
            progress: Arc::new(Mutex::new(WriteProgress::Idle)),
            writes,
        }
    }

    /// Runs a write, and counts its outcome.
    pub(super) fn time(&self, write: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let started = clock::now();
        *self.progress.lock() = WriteProgress::Writing(started);
        let written = write();
        let before = std::mem::replace(&mut *self.progress.lock(), WriteProgress::Idle);
        match &written {
            Ok(()) => self.writes.written.inc(),
            Err(_) => self.writes.failed.inc(),
        }
        if before == WriteProgress::Late {
            let took = clock::now().saturating_duration_since(started).as_secs();
            log::warn!("alerts: a write took {took} s");
        }
        written
    }

    /// Counts the write in progress when it is late. Never blocks.
    pub(super) fn check(&self, now: Instant) {
        let mut progress = self.progress.lock();
        if let WriteProgress::Writing(at) = *progress
            && now.saturating_duration_since(at) >= WRITE_MAX
        {
            *progress = WriteProgress::Late;
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
    fn a_slow_write_is_counted_once_while_it_lasts() {
        let metrics = Metrics::new().expect("metrics");
        let alerts = AlertMetrics::register(&metrics).expect("metrics");
        let writes = alerts.writes("state").expect("counters");
        let watch = WriteWatch::new(writes.clone());
        watch.check(clock::now() + WRITE_MAX);
        let written = watch.time(|| {
            watch.check(clock::now());
            assert_eq!(writes.late.get(), 0);
            for _ in 0..3 {
                watch.check(clock::now() + WRITE_MAX);
            }
            assert_eq!(writes.late.get(), 1);
            Ok(())
        });
        assert!(written.is_ok());
        let failed = watch.time(|| Err(io::Error::other("full")));
        assert!(failed.is_err());
        let counted = (writes.written.get(), writes.failed.get(), writes.late.get());
        assert_eq!(counted, (1, 1, 1));
    }
}
