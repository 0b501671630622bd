//! File descriptors: how many the process may open, and how many of them clients may use.
//!
//! A client connection may need a second descriptor for a backend, and the admin listener, the spool and
//! notifiers need some too. Clients get at most half of the free ones, and the last ones are reserved
//! in any case. Connections beyond that wait in the kernel's backlog.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that is assumed for a process without one.
const UNLIMITED: u64 = 1 << 30;
/// How many of the last descriptors are reserved for everything but clients.
const RESERVED: std::ops::RangeInclusive<u64> = 16..=160;

/// How the descriptors of the process are divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// How many the process may open.
    limit: u64,
    /// How many client connections there may be at once.
    pub(super) clients_max: usize,
    /// Client descriptors are below this one.
    ceiling: u64,
}

/// Whether another client can be accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capacity {
    Free,
    Full,
}

impl Descriptors {
    /// Raises the soft limit to the hard one and divides what there is.
    #[must_use]
    pub(crate) fn raise() -> Self {
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        let wanted = Rlimit {
            current: maximum,
            maximum,
        };
        let limit = match setrlimit(Resource::Nofile, wanted) {
            Ok(()) => maximum,
            Err(error) => {
                log::warn!("cannot raise the limit of open files: {error}");
                current
            }
        };
        Descriptors::divide(limit.unwrap_or(UNLIMITED), open_now())
    }

    /// Divides `limit` descriptors, of which `open` are in use.
    fn divide(limit: u64, open: u64) -> Self {
        let reserved = (limit / 4).clamp(*RESERVED.start(), *RESERVED.end());
        let free = limit.saturating_sub(open + reserved);
        Descriptors {
            limit,
            clients_max: usize::try_from(free / 2).unwrap_or(usize::MAX).max(1),
            ceiling: limit.saturating_sub(reserved),
        }
    }

    /// A warning for the operator if the descriptors do not suffice for the configured number of connections.
    #[must_use]
    pub(crate) fn warning(&self, connections: usize) -> Option<String> {
        (connections > self.clients_max).then(|| {
            format!(
                "only {} of limits.connections ({connections}) can be open at once: each client connection \
                 may need one to a backend, and the process may open {} files. Further clients wait. Raise \
                 the limit of open files to {} (ulimit -n, LimitNOFILE=, --ulimit nofile=) or lower \
                 limits.connections",
                self.clients_max,
                self.limit,
                2 * connections as u64
                    + (self.limit - 2 * self.clients_max as u64).max(*RESERVED.end()),
            )
        })
    }

    /// Whether a client may use the next descriptor. The system assigns the lowest free one (POSIX, 2.6),
    /// so a duplicate of any descriptor shows how many are in use.
    pub(crate) fn capacity(&self, any: impl AsFd) -> Capacity {
        match rustix::io::fcntl_dupfd_cloexec(any, 0) {
            Ok(next) if i64::from(next.as_raw_fd()) < self.ceiling.cast_signed() => Capacity::Free,
            _ => Capacity::Full,
        }
    }
}

/// How many descriptors are open; a guess if the system does not report it.
fn open_now() -> u64 {
    const GUESS: u64 = 64;
    std::fs::read_dir("/proc/self/fd").map_or(GUESS, |files| files.count() as u64)
}

/// Whether accepting failed for lack of a resource that may be freed later.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    let exhausted = [
        rustix::io::Errno::MFILE,
        rustix::io::Errno::NFILE,
        rustix::io::Errno::NOBUFS,
        rustix::io::Errno::NOMEM,
    ];
    rustix::io::Errno::from_io_error(error).is_some_and(|errno| exhausted.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_reserved_for_backends_and_everything_else() {
        for (limit, open) in [(64, 20), (256, 40), (1024, 40), (1 << 20, 60)] {
            let shared = Descriptors::divide(limit, open);
            let taken = 2 * shared.clients_max as u64 + open;
            assert!(taken <= shared.ceiling.max(open + 2), "{shared:?}");
            assert!(limit - shared.ceiling >= 16, "{shared:?}");
            assert!(shared.clients_max > 0);
        }
        // Next to no descriptors still serve one client after another.
        assert_eq!(Descriptors::divide(20, 30).clients_max, 1);
    }

    #[test]
    fn the_warning_names_a_limit_that_would_suffice() {
        let shared = Descriptors::divide(1024, 40);
        assert_eq!(shared.warning(400), None);
        let warning = shared.warning(10_000).expect("does not fit");
        let allow = warning.split("open files to ").nth(1).expect("a number");
        let allow: u64 = allow
            .split(' ')
            .next()
            .expect("a number")
            .parse()
            .expect("a number");
        assert_eq!(
            Descriptors::divide(allow, 40).warning(10_000),
            None,
            "{warning}"
        );
    }

    #[test]
    fn the_last_descriptors_are_reserved() {
        let shared = Descriptors {
            limit: 0,
            clients_max: 1,
            ceiling: 1,
        };
        assert_eq!(shared.capacity(io::stdin()), Capacity::Full);
        let shared = Descriptors {
            ceiling: 1 << 20,
            ..shared
        };
        assert_eq!(shared.capacity(io::stdin()), Capacity::Free);
    }
}
