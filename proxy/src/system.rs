//! Usage of CPU, memory, disks and disk I/O of the container or machine, and the scheduling lag of the
//! runtimes.
//!
//! If a control group limits the processor or the memory (a container, a systemd slice), usage is relative
//! to that limit, otherwise to the machine. It is a side service: a thread takes a sample every five
//! seconds, and a scrape shows the last one. Requests never wait for it, even when a file system hangs.

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

/// The interval between samples.
const INTERVAL: Duration = Duration::from_secs(5);
/// Processor usage is known from the second sample on, so it follows soon after the first.
const FIRST_INTERVAL: Duration = Duration::from_secs(1);

/// One sample. Values that could not be read are absent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SystemSample {
    /// The used share of the available processor time: 1 is all of it.
    pub cpu_ratio: Option<f64>,
    /// The used share of the available memory, without what the kernel can reclaim immediately.
    pub memory_ratio: Option<f64>,
    pub disks: Vec<Disk>,
    pub devices: Vec<Device>,
}

/// A writable file system.
#[derive(Clone, Debug, PartialEq)]
pub struct Disk {
    pub mount: String,
    /// `used / (used + available)`, like df(1): blocks reserved for root count as neither.
    pub used_ratio: f64,
}

/// The bytes read from and written to a block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub name: String,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

#[cfg(test)]
impl SystemSample {
    /// A sample with all values.
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

/// The thread that takes samples. Dropping this stops it without waiting for it, because it may hang in a
/// file system.
#[derive(Debug)]
pub struct System {
    _thread: WorkerThread<()>,
}

impl System {
    /// Starts the thread, which writes its samples to `last`.
    ///
    /// # Errors
    /// When the system cannot create a thread.
    pub fn start(last: Arc<Mutex<SystemSample>>, worker: Worker) -> io::Result<Self> {
        let own_worker = worker.clone();
        let thread =
            WorkerThread::start(worker, (), move |shared| run(shared, &last, &own_worker))?;
        Ok(System { _thread: thread })
    }
}

fn run(shared: &SharedState<()>, last: &Mutex<SystemSample>, worker: &Worker) {
    let mut sampler = Sampler::new(Cgroups::of_this_process(), Machine::new());
    let mut pause = FIRST_INTERVAL;
    loop {
        worker.fault_point();
        let sample = sampler.sample(clock::now());
        *last.lock() = sample;
        let mut inner = shared.lock();
        shared.wait_until(&mut inner, clock::now() + pause, |()| false);
        if inner.state == State::Stopping {
            return;
        }
        pause = INTERVAL;
    }
}
