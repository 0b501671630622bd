//! Samples CPU, memory, disks and disk I/O of the container or machine, and the scheduling lag of the runtimes.
//!
//! If a control group limits CPU or memory (a container, a systemd slice), usage is measured against that limit,
//! otherwise against the machine. A side service: a worker takes a sample every five seconds, and a scrape exposes
//! the last one. No request waits for it, even if a file system hangs.

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

/// How often a sample is taken.
const INTERVAL: Duration = Duration::from_secs(5);
/// CPU usage is known from the second sample on, so the second follows soon.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// A sample. Values that could not be read are absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemSample {
    /// CPU usage as a share of the limit.
    pub cpu_ratio: Option<f64>,
    /// Memory usage as a share of the limit, without memory that the kernel can reclaim at once.
    pub memory_ratio: Option<f64>,
    pub disks: Vec<Disk>,
    pub devices: Vec<Device>,
}

/// A writable file system.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    pub mount: String,
    /// `used / (used + available)`, as in df(1): space reserved for root is neither.
    pub used_ratio: f64,
}

/// The I/O of a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

#[cfg(test)]
impl SystemSample {
    /// A sample with every value.
    pub(crate) fn example() -> Self {
        SystemSample {
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

/// The worker that takes samples. Dropping it stops the worker without waiting, since it may hang in a file system.
#[derive(Debug)]
pub struct System {
    _thread: WorkerThread<()>,
}

impl System {
    /// Starts the worker, which stores its samples in `last`.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn start(last: Arc<Mutex<SystemSample>>, worker: Worker) -> io::Result<Self> {
        let theirs = worker.clone();
        let thread = WorkerThread::start(worker, (), move |shared| run(shared, &last, &theirs))?;
        Ok(System { _thread: thread })
    }
}

fn run(shared: &SharedState<()>, last: &Mutex<SystemSample>, worker: &Worker) {
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
