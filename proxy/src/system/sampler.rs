//! Takes samples. CPU usage is computed from two consecutive ones.

use std::time::{Duration, Instant};

use super::SystemSample;
use super::cgroup::Cgroups;
use super::machine::Machine;

/// Takes samples.
pub(super) struct Sampler {
    cgroups: Cgroups,
    machine: Machine,
    /// The previous CPU time of the control group, and when it was read.
    cpu_before: Option<(Instant, Duration)>,
}

impl Sampler {
    pub(super) fn new(cgroups: Cgroups, machine: Machine) -> Self {
        Sampler {
            cgroups,
            machine,
            cpu_before: None,
        }
    }

    pub(super) fn read(&mut self, now: Instant) -> SystemSample {
        self.machine.refresh();
        let processors = self.machine.processors();
        let cpu = self.cgroups.cpu(processors);
        let memory = self.cgroups.memory(self.machine.memory_bytes());
        let cpu_ratio = match &cpu {
            Some(cpu) => {
                let before = self.cpu_before.replace((now, cpu.used));
                before.and_then(|before| share(before, (now, cpu.used), cpu.processors))
            }
            None => self.machine.cpu_ratio(),
        };
        let memory_ratio = match &memory {
            Some(memory) => Some(memory.used_bytes as f64 / memory.limit_bytes as f64),
            None => self.machine.memory_ratio(),
        };
        let is_limited = cpu.is_some() || memory.is_some();
        let own = is_limited.then(|| self.cgroups.devices());
        let devices = own.filter(|devices| !devices.is_empty());
        SystemSample {
            cpu_ratio,
            memory_ratio,
            disks: self.machine.disks(),
            devices: devices.unwrap_or_else(machine_devices),
        }
    }
}

fn machine_devices() -> Vec<super::Device> {
    super::machine::devices(&super::machine::read("/proc/diskstats"))
}

/// The usage of `processors` between two samples, as a share.
fn share(before: (Instant, Duration), now: (Instant, Duration), processors: f64) -> Option<f64> {
    let passed = now.0.saturating_duration_since(before.0).as_secs_f64();
    let used = now.1.saturating_sub(before.1).as_secs_f64();
    (passed > 0.0 && processors > 0.0).then(|| used / (passed * processors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_share_is_that_of_the_time_that_passed() {
        let begun = clock::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let used = Duration::from_secs;
        assert_eq!(share((begun, used(1)), (after(4), used(3)), 0.5), Some(1.0));
        assert_eq!(
            share((begun, used(1)), (after(4), used(2)), 2.0),
            Some(0.125)
        );
        assert_eq!(share((begun, used(3)), (after(4), used(1)), 1.0), Some(0.0));
        assert_eq!(share((begun, used(1)), (begun, used(3)), 1.0), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_is_measured() {
        let mut sampler = Sampler::new(Cgroups::of_this_process(), Machine::new());
        sampler.read(clock::now());
        let reading = sampler.read(clock::now() + Duration::from_secs(1));
        let is_share = |ratio: f64| (0.0..=1.0).contains(&ratio);
        let memory = reading.memory_ratio.expect("memory");
        assert!(memory > 0.0 && is_share(memory), "{reading:?}");
        assert!(
            reading.cpu_ratio.is_some_and(|cpu| cpu >= 0.0),
            "{reading:?}"
        );
        assert!(
            reading.disks.iter().all(|disk| is_share(disk.used_ratio)),
            "{reading:?}"
        );
    }
}
