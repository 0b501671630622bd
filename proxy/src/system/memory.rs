//! Returns unused memory to the operating system.
//!
//! mimalloc keeps freed memory for later allocations, in each thread until that thread allocates again. An idle
//! process does not, and would stay at its peak forever.

use std::time::Duration;

/// How often to check whether memory can be returned.
pub const INTERVAL: Duration = Duration::from_secs(2);
/// The minimum drop in usage after which memory is returned.
const LEVEL_MIN: u64 = 32;
/// How often memory is returned after a load, since other threads free their memory a moment later.
const ROUNDS: u32 = 2;
/// The minimum growth that counts, in addition to a twentieth of the resident memory.
const GROWTH_MIN_BYTES: u64 = 1 << 20;

/// The usage at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadLevel {
    /// Connections and requests together.
    pub in_use: u64,
    /// Requests in flight.
    pub in_flight: u64,
    pub resident_bytes: u64,
}

/// Whether memory has to be returned now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    Now,
    No,
}

/// Detects the end of a load. Pure: the usage is passed in.
#[derive(Debug, Default)]
pub struct LoadDetector {
    /// The peak usage since memory was returned.
    peak: u64,
    /// The resident memory after that; 0 before the first check.
    resident_bytes: u64,
    rounds_left: u32,
}

impl LoadDetector {
    /// Checks the current usage. A steady load keeps its memory: returning it would cost a page fault for each page
    /// that is reused.
    pub fn check(&mut self, level: LoadLevel) -> Due {
        let fallen = self.peak.saturating_sub(level.in_use);
        let grown_to = self.resident_bytes + self.resident_bytes / 20 + GROWTH_MIN_BYTES;
        let quiet = level.in_flight == 0 && self.resident_bytes > 0;
        if fallen >= LEVEL_MIN.max(self.peak / 4) || (quiet && level.resident_bytes > grown_to) {
            self.rounds_left = ROUNDS;
        }
        self.peak = self.peak.max(level.in_use);
        if self.resident_bytes == 0 {
            self.resident_bytes = level.resident_bytes;
        }
        if self.rounds_left == 0 {
            return Due::No;
        }
        self.rounds_left -= 1;
        self.peak = level.in_use;
        Due::Now
    }

    /// Notes the resident memory after memory was returned.
    pub fn returned(&mut self, resident_bytes: u64) {
        self.resident_bytes = resident_bytes;
    }
}

/// Returns the memory that this thread has freed, and that all threads have freed to the shared heap.
///
/// mimalloc has no safe API for this, but does it before it fails an allocation, and no system can satisfy the
/// allocation that is attempted here.
pub fn return_unused() {
    let mut nothing: Vec<u8> = Vec::new();
    let _ = nothing.try_reserve_exact(isize::MAX as usize / 2);
    std::hint::black_box(&nothing);
}

/// Disables huge pages. mimalloc uses them where the system offers them, and then the first kilobyte of a connection
/// can take two megabytes, depending on the machine.
pub fn disable_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        log::debug!("cannot disable huge pages: {error}");
    }
}

/// The resident memory of this process; 0 if it is unknown (proc(5), `statm`).
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
    fn a_steady_load_is_left_alone_and_its_end_is_detected() {
        let mut detector = LoadDetector::default();
        assert_eq!(detector.check(level(0, 0, 30)), Due::No);
        for connections in [5_000, 10_000, 9_990, 10_000, 8_000] {
            assert_eq!(detector.check(level(connections, 5000, 180)), Due::No);
        }
        for connections in [4_000, 2_000, 0] {
            assert_eq!(detector.check(level(connections, 10, 180)), Due::Now);
            detector.returned(100 * MIB);
        }
        // Twice after the last drop, and then no more.
        assert_eq!(detector.check(level(0, 0, 60)), Due::Now);
        detector.returned(31 * MIB);
        for _ in 0..10 {
            assert_eq!(detector.check(level(0, 0, 31)), Due::No);
        }
    }

    #[test]
    fn memory_of_few_connections_is_returned_when_they_are_idle() {
        let mut detector = LoadDetector::default();
        assert_eq!(detector.check(level(3, 0, 30)), Due::No);
        assert_eq!(detector.check(level(3, 3, 280)), Due::No);
        assert_eq!(detector.check(level(3, 0, 280)), Due::Now);
        detector.returned(31 * MIB);
        assert_eq!(detector.check(level(3, 0, 31)), Due::Now);
        detector.returned(31 * MIB);
        assert_eq!(detector.check(level(3, 0, 31)), Due::No);
        // What remains is in use: it is not returned again.
        assert_eq!(detector.check(level(3, 0, 50)), Due::Now);
        detector.returned(50 * MIB);
        assert_eq!(detector.check(level(3, 0, 50)), Due::Now);
        detector.returned(50 * MIB);
        assert_eq!(detector.check(level(3, 0, 50)), Due::No);
    }

    #[test]
    fn returning_memory_is_harmless_and_memory_is_measured() {
        return_unused();
        assert!(resident_bytes() > MIB);
    }
}
