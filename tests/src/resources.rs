//! What a process holds: memory, descriptors and threads, and whether they return to where they were.

use std::time::Duration;

use crate::process::Process;
use crate::wait;

/// How long after a load everything is released.
const RELEASED_WITHIN: Duration = Duration::from_secs(10);

/// What a process holds at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Resources {
    pub resident_bytes: u64,
    pub descriptors: usize,
    pub threads: u64,
}

impl Resources {
    #[must_use]
    pub fn of(process: &Process) -> Self {
        Resources {
            resident_bytes: process.resident_bytes(),
            descriptors: process.open_descriptors(),
            threads: process.threads(),
        }
    }

    /// Whether each is at most a fifth above what it was at rest.
    fn have_returned_to(self, rest: Resources) -> bool {
        self.resident_bytes <= rest.resident_bytes + rest.resident_bytes / 5
            && self.descriptors <= rest.descriptors + rest.descriptors / 5
            && self.threads <= rest.threads + rest.threads / 5
    }

    /// Waits until the process holds at most a fifth more than at rest; returns what it holds.
    ///
    /// # Panics
    /// It does not within ten seconds.
    pub async fn returned_to(rest: Resources, process: &Process) -> Self {
        let mut held = Resources::of(process);
        let releasing = async {
            while !held.have_returned_to(rest) {
                wait::tick().await;
                held = Resources::of(process);
            }
        };
        let released = tokio::time::timeout(RELEASED_WITHIN, releasing).await;
        assert!(
            released.is_ok(),
            "at rest {rest:?}, after the load {held:?}"
        );
        held
    }
}
