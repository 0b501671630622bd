//! Returns freed memory to the system, and disables transparent huge pages.
//!
//! mimalloc retains freed memory per thread, until the thread allocates much again. An idle process never
//! does, and would keep its peak forever.

use std::time::Duration;

/// How often the release policy is evaluated.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// A smaller decrease of connections and requests is not the end of a load.
const DECREASE_MIN: u64 = 32;
/// How often memory is released after a load: other threads free theirs a moment later.
const ROUNDS: u32 = 2;
/// Smaller growth is ignored, as is growth by less than a twentieth.
const GROWTH_MIN_BYTES: u64 = 1 << 20;

/// The load at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadLevel {
    /// Connections and requests together.
    pub in_use: u64,
    /// Active requests.
    pub in_flight: u64,
    pub resident_bytes: u64,
}

/// Whether memory is to be released now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    Now,
    No,
}

/// Decides when to release memory: after the end of a load. Pure: the load is passed in.
#[derive(Debug, Default)]
pub struct ReleasePolicy {
    /// The highest load since the last release.
    peak: u64,
    /// Resident bytes after the last release; 0 before the first evaluation.
    resident_bytes: u64,
    rounds_left: u32,
}

impl ReleasePolicy {
    /// Evaluates the current load. Under a steady load nothing is released: every page that is used again
    /// would cost a page fault.
    pub fn evaluate(&mut self, level: LoadLevel) -> Release {
        let decrease = self.peak.saturating_sub(level.in_use);
        let growth_limit = self.resident_bytes + self.resident_bytes / 20 + GROWTH_MIN_BYTES;
        let is_idle = level.in_flight == 0 && self.resident_bytes > 0;
        if decrease >= DECREASE_MIN.max(self.peak / 4)
            || (is_idle && level.resident_bytes > growth_limit)
        {
            self.rounds_left = ROUNDS;
        }
        self.peak = self.peak.max(level.in_use);
        if self.resident_bytes == 0 {
            self.resident_bytes = level.resident_bytes;
        }
        if self.rounds_left == 0 {
            return Release::No;
        }
        self.rounds_left -= 1;
        self.peak = level.in_use;
        Release::Now
    }

    /// Notes the resident bytes after a release.
    pub fn released(&mut self, resident_bytes: u64) {
        self.resident_bytes = resident_bytes;
    }
}

/// Releases what this thread has freed, and what is freed and shared by all threads.
///
/// mimalloc has no safe function for this, but it collects freed memory before an allocation fails, and the
/// allocation here is larger than the address space.
pub fn release_freed() {
    let mut impossible: Vec<u8> = Vec::new();
    let _ = impossible.try_reserve_exact(isize::MAX as usize / 2);
    std::hint::black_box(&impossible);
}

/// Disables transparent huge pages. mimalloc requests them where the system offers them on request; the
/// first kilobyte of a connection can then cost two megabytes, on some machines and not on others.
pub fn disable_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        log::debug!("cannot disable transparent huge pages: {error}");
    }
}

/// Resident bytes of this process; 0 if the system does not report them (proc(5), `statm`).
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

    fn level(in_use: u64, in_flight: u64, resident_mib: u64) -> LoadLevel {
        LoadLevel {
            in_use,
            in_flight,
            resident_bytes: resident_mib * MIB,
        }
    }

    #[test]
    fn memory_is_released_at_the_end_of_a_steady_load() {
        let mut policy = ReleasePolicy::default();
        assert_eq!(policy.evaluate(level(0, 0, 30)), Release::No);
        for connections in [5_000, 10_000, 9_990, 10_000, 8_000] {
            assert_eq!(policy.evaluate(level(connections, 5000, 180)), Release::No);
        }
        for connections in [4_000, 2_000, 0] {
            assert_eq!(policy.evaluate(level(connections, 10, 180)), Release::Now);
            policy.released(100 * MIB);
        }
        // Twice after the last decrease, and then no more.
        assert_eq!(policy.evaluate(level(0, 0, 60)), Release::Now);
        policy.released(31 * MIB);
        for _ in 0..10 {
            assert_eq!(policy.evaluate(level(0, 0, 31)), Release::No);
        }
    }

    #[test]
    fn memory_of_few_connections_is_released_when_they_are_idle() {
        let mut policy = ReleasePolicy::default();
        assert_eq!(policy.evaluate(level(3, 0, 30)), Release::No);
        assert_eq!(policy.evaluate(level(3, 3, 280)), Release::No);
        assert_eq!(policy.evaluate(level(3, 0, 280)), Release::Now);
        policy.released(31 * MIB);
        assert_eq!(policy.evaluate(level(3, 0, 31)), Release::Now);
        policy.released(31 * MIB);
        assert_eq!(policy.evaluate(level(3, 0, 31)), Release::No);
        // What remains is in use: growth is measured from there.
        assert_eq!(policy.evaluate(level(3, 0, 50)), Release::Now);
        policy.released(50 * MIB);
        assert_eq!(policy.evaluate(level(3, 0, 50)), Release::Now);
        policy.released(50 * MIB);
        assert_eq!(policy.evaluate(level(3, 0, 50)), Release::No);
    }

    #[test]
    fn a_release_succeeds_and_resident_bytes_are_read() {
        release_freed();
        assert!(resident_bytes() > MIB);
    }
}
