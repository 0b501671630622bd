//! CPU, memory, disks and disk I/O as weir sees them from where it runs, and how late its runtimes are.
//!
//! Where a control group limits the processor or the memory (a container, a systemd slice with a
//! limit), use is measured against that limit; else against the machine. It is a side service: a thread
//! reads every five seconds, and a scrape shows what was read last. Nothing on the way of a request waits
//! for it, also when a file system hangs.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use self::cgroup::Cgroups;
use self::machine::Machine;
use self::sampler::Sampler;
use crate::clock;
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State, WorkerThread};

mod cgroup;
pub mod lag;
mod machine;
pub mod memory;
pub mod metrics;
mod sampler;

/// How often everything is read.
const INTERVAL: Duration = Duration::from_secs(5);
/// Use of the processor is known from the second reading on: that one comes soon.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// What was read last. What could not be read is absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    /// Share of the processor time that may be used: 1 is all of it.
    pub cpu_ratio: Option<f64>,
    /// Share of the memory that may be used, without what the kernel can take back at once.
    pub memory_ratio: Option<f64>,
    pub disks: Vec<Disk>,
    pub devices: Vec<Device>,
}

/// A file system that can be written to.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    pub mount: String,
    /// `used / (used + available)`, as df(1) has it: what is kept for root alone is neither.
    pub used_ratio: f64,
}

/// What has gone through a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

#[cfg(test)]
impl Reading {
    /// Everything there can be.
    pub(crate) fn example() -> Self {
        Reading {
            cpu_ratio: Some(0.25),
            memory_ratio: Some(0.5),
            disks: vec![Disk {
                mount: "/data".to_owned(),
                used_ratio: 0.7,
            }],
            devices: vec![Device {
                name: "vda".to_owned(),
                read_bytes: 1,
                written_bytes: 2,
            }],
        }
    }
}

/// The thread that reads. It ends when this is dropped, which does not wait for it: it may hang in a
/// file system.
#[derive(Debug)]
pub struct System {
    _thread: WorkerThread<()>,
}

impl System {
    /// Starts the thread; its readings go to `last`.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(last: Arc<Mutex<Reading>>, worker: Worker) -> io::Result<Self> {
        let theirs = worker.clone();
        let thread = WorkerThread::start(worker, (), move |shared| run(shared, &last, &theirs))?;
        Ok(System { _thread: thread })
    }
}

fn run(shared: &SharedState<()>, last: &Mutex<Reading>, worker: &Worker) {
    let mut sampler = Sampler::new(Cgroups::of_this_process(), Machine::new());
    let mut pause = FIRST_INTERVAL;
    loop {
        worker.fault_point();
        let reading = sampler.read(clock::now());
        *last.lock() = reading;
        let mut inner = shared.lock();
        shared.wait_until(&mut inner, clock::now() + pause, |()| false);
        if inner.state == State::Stopping {
            return;
        }
        pause = INTERVAL;
    }
}
