//! Memory that is not used any more goes back to the system, and none is taken for its own sake.
//!
//! mimalloc keeps what was freed for the next load: each thread for itself, until that thread allocates
//! much again. An idle process never does, and would hold its peak for ever.

use std::time::Duration;

/// How often it is looked whether something can be given back.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// How much more than half must be in use for what was freed to be kept.
const LEVEL_MIN: u64 = 32;
/// How often memory is given back after a load: other threads free theirs a moment later.
const ROUNDS: u32 = 2;
/// Growth that is worth a look, beside a twentieth of what there was.
const GROWTH_MIN_BYTES: u64 = 1 << 20;

/// How much is in use at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// Connections and requests together.
    pub in_use: u64,
    /// Requests in work.
    pub in_flight: u64,
    pub resident_bytes: u64,
}

/// Whether memory is to be given back now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    No,
}

/// Sees when a load has gone. Pure: what is in use is passed in.
#[derive(Debug, Default)]
pub struct Tide {
    /// The most that was in use since memory was given back.
    high: u64,
    /// What was resident after that; 0 before the first look.
    resident_bytes: u64,
    rounds_left: u32,
}

impl Tide {
    /// Looks at what is in use now. A steady load keeps what it has: giving it back would cost a fault
    /// for each page that is taken again.
    pub fn look(&mut self, level: Level) -> Due {
        let fallen = self.high.saturating_sub(level.in_use);
        let grown_to = self.resident_bytes + self.resident_bytes / 20 + GROWTH_MIN_BYTES;
        let quiet = level.in_flight == 0 && self.resident_bytes > 0;
        if fallen >= LEVEL_MIN.max(self.high / 4) || (quiet && level.resident_bytes > grown_to) {
            self.rounds_left = ROUNDS;
        }
        self.high = self.high.max(level.in_use);
        if self.resident_bytes == 0 {
            self.resident_bytes = level.resident_bytes;
        }
        if self.rounds_left == 0 {
            return Due::No;
        }
        self.rounds_left -= 1;
        self.high = level.in_use;
        Due::Now
    }

    /// Notes what is resident after memory was given back.
    pub fn given_back(&mut self, resident_bytes: u64) {
        self.resident_bytes = resident_bytes;
    }
}

/// Gives back what this thread has freed, and what all have freed together.
///
/// mimalloc has no safe call for it, but it does so by itself before it says that memory is exhausted; and
/// so much memory as is asked for here nobody has.
pub fn give_back() {
    let mut nothing: Vec<u8> = Vec::new();
    let _ = nothing.try_reserve_exact(isize::MAX as usize / 2);
    std::hint::black_box(&nothing);
}

/// Takes memory by small pages. mimalloc asks for large ones where the system has them on request: then
/// a connection's first kilobyte can cost two megabytes, on one machine and not on the next.
pub fn take_small_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        log::debug!("huge pages stay as the system has them: {error}");
    }
}

/// Bytes of this process that are resident; 0 where the system does not say (proc(5), `statm`).
#[must_use]
pub fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn level(in_use: u64, in_flight: u64, resident_mib: u64) -> Level {
        Level {
            in_use,
            in_flight,
            resident_bytes: resident_mib * MIB,
        }
    }

    #[test]
    fn a_steady_load_is_left_alone_and_its_end_is_seen() {
        let mut tide = Tide::default();
        assert_eq!(tide.look(level(0, 0, 30)), Due::No);
        for connections in [5_000, 10_000, 9_990, 10_000, 8_000] {
            assert_eq!(tide.look(level(connections, 5000, 180)), Due::No);
        }
        for connections in [4_000, 2_000, 0] {
            assert_eq!(tide.look(level(connections, 10, 180)), Due::Now);
            tide.given_back(100 * MIB);
        }
        // Twice after the last ebb, and then no more.
        assert_eq!(tide.look(level(0, 0, 60)), Due::Now);
        tide.given_back(31 * MIB);
        for _ in 0..10 {
            assert_eq!(tide.look(level(0, 0, 31)), Due::No);
        }
    }

    #[test]
    fn what_few_connections_took_is_given_back_when_they_rest() {
        let mut tide = Tide::default();
        assert_eq!(tide.look(level(3, 0, 30)), Due::No);
        assert_eq!(tide.look(level(3, 3, 280)), Due::No);
        assert_eq!(tide.look(level(3, 0, 280)), Due::Now);
        tide.given_back(31 * MIB);
        assert_eq!(tide.look(level(3, 0, 31)), Due::Now);
        tide.given_back(31 * MIB);
        assert_eq!(tide.look(level(3, 0, 31)), Due::No);
        // What stays is in use: it is not looked for again.
        assert_eq!(tide.look(level(3, 0, 50)), Due::Now);
        tide.given_back(50 * MIB);
        assert_eq!(tide.look(level(3, 0, 50)), Due::Now);
        tide.given_back(50 * MIB);
        assert_eq!(tide.look(level(3, 0, 50)), Due::No);
    }

    #[test]
    fn asking_for_it_harms_nothing_and_memory_is_measured() {
        give_back();
        assert!(resident_bytes() > MIB);
    }
}
