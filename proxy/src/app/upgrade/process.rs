//! The other process of a handover, by a descriptor that refers to it even after its id is used by another (pidfd).

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal};

use crate::clock;

/// How long the end of a process that was killed may take.
const KILLED_MAX: Duration = Duration::from_secs(2);

/// A process of the same user.
#[derive(Debug)]
pub(super) struct PeerProcess(OwnedFd);

/// Whether a process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProcessState {
    Running,
    Ended,
}

impl PeerProcess {
    /// `None` if it has ended, or is not visible here.
    pub(super) fn open(id: i32) -> Option<Self> {
        let opened = rustix::process::pidfd_open(Pid::from_raw(id)?, PidfdFlags::empty());
        let opened = opened.inspect_err(|error| {
            log::warn!("process {id} cannot be watched in a handover: {error}");
        });
        opened.ok().map(PeerProcess)
    }

    /// Waits until it has ended, for at most `patience`.
    pub(super) fn wait(&self, patience: Duration) -> ProcessState {
        let until = clock::now() + patience;
        loop {
            let timeout = Timespec::try_from(left(until)).ok();
            let mut watched = [PollFd::new(&self.0, PollFlags::IN)];
            match rustix::event::poll(&mut watched, timeout.as_ref()) {
                Ok(0) => return ProcessState::Running,
                Ok(_) => return ProcessState::Ended,
                Err(Errno::INTR) => {}
                Err(_) => return ProcessState::Running,
            }
        }
    }

    /// Waits until it has ended, and kills it after `patience`: what it holds becomes free.
    pub(super) fn end(&self, patience: Duration) {
        if self.wait(patience) == ProcessState::Running {
            // It may have ended by itself.
            let _ = rustix::process::pidfd_send_signal(&self.0, Signal::KILL);
            self.wait(KILLED_MAX);
        }
    }
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(clock::now())
}
