//! File descriptors: how many the process may have open, and how many of them clients may take.
//!
//! A client's connection may need a second descriptor, towards a backend, and the admin side, the spool
//! and notifiers need some too. Clients get at most half of what is left; and whatever takes the others,
//! the last ones are never a client's. What does not fit waits in the kernel's queue.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What a process without a limit is taken to have.
const UNLIMITED: u64 = 1 << 30;
/// Of the last descriptors, how many clients leave to everything else.
const KEPT: std::ops::RangeInclusive<u64> = 16..=160;

/// How the descriptors of the process are shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Descriptors {
    /// How many the process may have open.
    limit: u64,
    /// How many connections of clients there may be at once.
    pub(super) clients_max: usize,
    /// A client's descriptor is below this one.
    ceiling: u64,
}

/// Whether another client can be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Free,
    Full,
}

impl Descriptors {
    /// Raises the soft limit to the hard one, and shares out what there is.
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
                log::warn!("the limit of open files stays as it is: {error}");
                current
            }
        };
        Descriptors::share(limit.unwrap_or(UNLIMITED), open_now())
    }

    /// Shares out `limit` descriptors, of which `open` are in use.
    fn share(limit: u64, open: u64) -> Self {
        let kept = (limit / 4).clamp(*KEPT.start(), *KEPT.end());
        let free = limit.saturating_sub(open + kept);
        Descriptors {
            limit,
            clients_max: usize::try_from(free / 2).unwrap_or(usize::MAX).max(1),
            ceiling: limit.saturating_sub(kept),
        }
    }

    /// What the operator should know: that so many connections as are wanted do not fit.
    #[must_use]
    pub(crate) fn warning(&self, connections: usize) -> Option<String> {
        (connections > self.clients_max).then(|| {
            format!(
                "limits.connections is {connections}, but {} open files allow {} connections at \
                 once, each with one to a backend; others wait until one is closed. Allow {} open \
                 files (ulimit -n, LimitNOFILE=, --ulimit nofile=) or lower limits.connections",
                self.limit,
                self.clients_max,
                2 * connections as u64
                    + (self.limit - 2 * self.clients_max as u64).max(*KEPT.end()),
            )
        })
    }

    /// Whether the next descriptor may be a client's. The system gives the lowest that is free (POSIX,
    /// 2.6), so that a copy of any one shows how many are in use, by whomever.
    pub(crate) fn room(&self, any: impl AsFd) -> Room {
        match rustix::io::fcntl_dupfd_cloexec(any, 0) {
            Ok(next) if i64::from(next.as_raw_fd()) < self.ceiling.cast_signed() => Room::Free,
            _ => Room::Full,
        }
    }
}

/// How many descriptors are open; a guess where the system does not say.
fn open_now() -> u64 {
    const GUESS: u64 = 64;
    std::fs::read_dir("/proc/self/fd").map_or(GUESS, |files| files.count() as u64)
}

/// Whether accepting failed for want of something that others may give back.
pub(crate) fn is_want(error: &io::Error) -> bool {
    let wants = [
        rustix::io::Errno::MFILE,
        rustix::io::Errno::NFILE,
        rustix::io::Errno::NOBUFS,
        rustix::io::Errno::NOMEM,
    ];
    rustix::io::Errno::from_io_error(error).is_some_and(|errno| wants.contains(&errno))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_a_descriptor_for_each_backend_and_some_for_the_rest() {
        for (limit, open) in [(64, 20), (256, 40), (1024, 40), (1 << 20, 60)] {
            let shared = Descriptors::share(limit, open);
            let taken = 2 * shared.clients_max as u64 + open;
            assert!(taken <= shared.ceiling.max(open + 2), "{shared:?}");
            assert!(limit - shared.ceiling >= 16, "{shared:?}");
            assert!(shared.clients_max > 0);
        }
        // What is next to nothing still serves one after another.
        assert_eq!(Descriptors::share(20, 30).clients_max, 1);
    }

    #[test]
    fn what_does_not_fit_is_told_with_what_would() {
        let shared = Descriptors::share(1024, 40);
        assert_eq!(shared.warning(400), None);
        let warning = shared.warning(10_000).expect("does not fit");
        let allow = warning.split("Allow ").nth(1).expect("a number");
        let allow: u64 = allow
            .split(' ')
            .next()
            .expect("a number")
            .parse()
            .expect("a number");
        assert_eq!(
            Descriptors::share(allow, 40).warning(10_000),
            None,
            "{warning}"
        );
    }

    #[test]
    fn the_last_descriptors_are_no_clients() {
        let shared = Descriptors {
            limit: 0,
            clients_max: 1,
            ceiling: 1,
        };
        assert_eq!(shared.room(io::stdin()), Room::Full);
        let shared = Descriptors {
            ceiling: 1 << 20,
            ..shared
        };
        assert_eq!(shared.room(io::stdin()), Room::Free);
    }
}
