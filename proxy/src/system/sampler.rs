//! Takes samples; a share of time is computed from two successive ones.

use std::time::{Duration, Instant};

use super::SystemSample;
use super::cgroup::Cgroups;
use super::machine::Machine;

/// Takes one sample after another.
pub(super) struct Sampler {
    cgroups: Cgroups,
    machine: Machine,
    /// The processor time of the control group at the last sample, and when that was.
    last_cpu: Option<(Instant, Duration)>,
}

impl Sampler {
    pub(super) fn new(cgroups: Cgroups, machine: Machine) -> Self {
        Sampler {
            cgroups,
            machine,
            last_cpu: None,
        }
    }

    pub(super) fn sample(&mut self, now: Instant) -> SystemSample {
        self.machine.refresh();
        let processors = self.machine.processors();
        let cpu = self.cgroups.cpu(processors);
        let memory = self.cgroups.memory(self.machine.memory_bytes());
        let cpu_ratio = match &cpu {
            Some(cpu) => {
                let last = self.last_cpu.replace((now, cpu.used));
                last.and_then(|last| share(last, (now, cpu.used), cpu.processors))
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

/// The share of the time of `processors` that was used between two samples.
fn share(last: (Instant, Duration), now: (Instant, Duration), processors: f64) -> Option<f64> {
    let elapsed = now.0.saturating_duration_since(last.0).as_secs_f64();
    let used = now.1.saturating_sub(last.1).as_secs_f64();
    (elapsed > 0.0 && processors > 0.0).then(|| used / (elapsed * processors))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn cpu_usage_is_relative_to_elapsed_time_and_processors() {
        let start = clock::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let used = Duration::from_secs;
        assert_eq!(share((start, used(1)), (after(4), used(3)), 0.5), Some(1.0));
        assert_eq!(
            share((start, used(1)), (after(4), used(2)), 2.0),
            Some(0.125)
        );
        assert_eq!(share((start, used(3)), (after(4), used(1)), 1.0), Some(0.0));
        assert_eq!(share((start, used(1)), (start, used(3)), 1.0), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_sample_of_this_machine_is_plausible() {
        let mut sampler = Sampler::new(Cgroups::of_this_process(), Machine::new());
        sampler.sample(clock::now());
        let sample = sampler.sample(clock::now() + Duration::from_secs(1));
        let is_share = |ratio: f64| (0.0..=1.0).contains(&ratio);
        let memory = sample.memory_ratio.expect("memory");
        assert!(memory > 0.0 && is_share(memory), "{sample:?}");
        assert!(sample.cpu_ratio.is_some_and(|cpu| cpu >= 0.0), "{sample:?}");
        assert!(
            sample.disks.iter().all(|disk| is_share(disk.used_ratio)),
            "{sample:?}"
        );
    }
}
