//! Limits and usage of the control group of this process (kernel documentation, admin-guide/cgroup-v2 and
//! cgroup-v1). Both versions may be mounted at once, with each controller in one of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Device;
use super::machine::read;

/// The control groups of one process.
#[derive(Debug, Default)]
pub(super) struct Cgroups {
    unified: Option<Cgroup>,
    cpu: Option<Cgroup>,
    cpuacct: Option<Cgroup>,
    memory: Option<Cgroup>,
    blkio: Option<Cgroup>,
}

/// The directory of a group below the mount point of its hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cgroup {
    /// Where the hierarchy is mounted.
    top: PathBuf,
    /// The path of the group below `top`; empty for the root group.
    below: PathBuf,
}

/// CPU time.
#[derive(Debug, PartialEq)]
pub(super) struct CpuUsage {
    /// The limit, in processors.
    pub(super) processors: f64,
    /// CPU time of all processes of the group since its creation.
    pub(super) used: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemoryUsage {
    pub(super) limit_bytes: u64,
    /// Without page cache that the kernel can drop at once: the working set in Kubernetes.
    pub(super) used_bytes: u64,
}

impl Cgroup {
    /// The group and its ancestors, nearest first.
    fn levels(&self) -> impl Iterator<Item = PathBuf> {
        let below: Vec<_> = self.below.ancestors().map(Path::to_owned).collect();
        below
            .into_iter()
            .map(|below| match below.as_os_str().is_empty() {
                true => self.top.clone(),
                false => self.top.join(below),
            })
    }

    /// The same group in another hierarchy.
    fn level_in(&self, level: &Path, other: &Cgroup) -> PathBuf {
        let below = level.strip_prefix(&self.top).unwrap_or(Path::new(""));
        let there = other.top.join(below);
        if there.is_dir() {
            return there;
        }
        other.levels().next().unwrap_or_else(|| other.top.clone())
    }
}

impl Cgroups {
    pub(super) fn of_this_process() -> Self {
        Self::find(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
    }

    /// Parses `/proc/self/cgroup` and `/proc/self/mountinfo` (proc(5)).
    fn find(groups: &str, mounts: &str) -> Self {
        let mut found = Cgroups::default();
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if controllers.is_empty() {
                found.unified = group(mounts, None, path);
            }
            for controller in controllers.split(',') {
                let place = match controller {
                    "cpu" => &mut found.cpu,
                    "cpuacct" => &mut found.cpuacct,
                    "memory" => &mut found.memory,
                    "blkio" => &mut found.blkio,
                    _ => continue,
                };
                *place = group(mounts, Some(controller), path);
            }
        }
        found
    }

    /// The lowest CPU limit below `processors`, and the usage at that level.
    pub(super) fn cpu(&self, processors: usize) -> Option<CpuUsage> {
        let v2 = self.unified.iter().flat_map(Cgroup::levels);
        let v2 = v2.filter_map(|level| {
            let used = field(&read(level.join("cpu.stat")), "usage_usec")?;
            Some(CpuUsage {
                processors: quota(&read(level.join("cpu.max")))?,
                used: Duration::from_micros(used),
            })
        });
        let v1 = self.cpu.iter().zip(&self.cpuacct).flat_map(|(cpu, acct)| {
            cpu.levels().filter_map(|level| {
                let quota = number(level.join("cpu.cfs_quota_us"))?;
                let period = number(level.join("cpu.cfs_period_us"))?;
                let used = number(cpu.level_in(&level, acct).join("cpuacct.usage"))?;
                Some(CpuUsage {
                    processors: quota as f64 / period as f64,
                    used: Duration::from_nanos(used),
                })
            })
        });
        v2.chain(v1)
            .filter(|cpu| cpu.processors > 0.0 && cpu.processors < processors as f64)
            .min_by(|one, other| one.processors.total_cmp(&other.processors))
    }

    /// The lowest memory limit below the memory of the machine, and the usage at that level.
    pub(super) fn memory(&self, machine_bytes: u64) -> Option<MemoryUsage> {
        let v2 = self.unified.iter().flat_map(Cgroup::levels);
        let v2 =
            v2.filter_map(|level| memory(&level, "memory.max", "memory.current", "inactive_file"));
        let v1 = self.memory.iter().flat_map(Cgroup::levels);
        let v1 = v1.filter_map(|level| {
            let (limit, usage) = ("memory.limit_in_bytes", "memory.usage_in_bytes");
            memory(&level, limit, usage, "total_inactive_file")
        });
        v2.chain(v1)
            .filter(|memory| memory.limit_bytes > 0 && memory.limit_bytes < machine_bytes)
            .min_by_key(|memory| memory.limit_bytes)
    }

    /// The block device I/O of this group.
    pub(super) fn devices(&self) -> Vec<Device> {
        let own = |group: &Option<Cgroup>, file: &str| {
            let level = group.as_ref().and_then(|group| group.levels().next());
            level
                .map(|level| read(level.join(file)))
                .unwrap_or_default()
        };
        let mut devices = io_stat(&own(&self.unified, "io.stat"));
        if devices.is_empty() {
            devices = io_service_bytes(&own(&self.blkio, "blkio.throttle.io_service_bytes"));
        }
        let diskstats = read("/proc/diskstats");
        for device in &mut devices {
            if let Some(name) = device_name(&diskstats, &device.name) {
                device.name = name;
            }
        }
        devices
    }
}

/// The mounted group `path` of the hierarchy of this controller (version 1), or of version 2 without one.
fn group(mounts: &str, controller: Option<&str>, path: &str) -> Option<Cgroup> {
    mounts.lines().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, top) = (mount.next()?, mount.next()?);
        let mut kind = kind.split(' ');
        let (name, options) = (kind.next()?, kind.nth(1)?);
        let is_it = match controller {
            None => name == "cgroup2",
            Some(controller) => {
                name == "cgroup" && options.split(',').any(|option| option == controller)
            }
        };
        // In a container the root of the mount is the container's own group. A path that is not below it (`/../x` in
        // a namespace) does not exist there: then the root is used.
        let below = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        let top = PathBuf::from(top);
        let is_there = top.join(below).is_dir();
        let below = if is_there { below } else { Path::new("") };
        is_it.then(|| Cgroup {
            below: below.to_owned(),
            top,
        })
    })
}

/// `cpu.max`: `max 100000` or `150000 100000`.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

fn memory(level: &Path, limit: &str, usage: &str, droppable: &str) -> Option<MemoryUsage> {
    // `max` is not a number: there is no limit.
    let limit_bytes = number(level.join(limit))?;
    let usage = number(level.join(usage))?;
    let droppable = field(&read(level.join("memory.stat")), droppable).unwrap_or(0);
    Some(MemoryUsage {
        limit_bytes,
        used_bytes: usage.saturating_sub(droppable),
    })
}

fn number(path: PathBuf) -> Option<u64> {
    read(path).trim().parse().ok()
}

/// The number after `name` in lines of `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines
        .find(|(found, _)| *found == name)?
        .1
        .trim()
        .parse()
        .ok()
}

/// `io.stat` of version 2: `8:0 rbytes=1 wbytes=2 rios=3 ...`. Devices are named by their numbers.
fn io_stat(text: &str) -> Vec<Device> {
    let device = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        let of = |key: &str| {
            let mut pairs = line
                .split_ascii_whitespace()
                .filter_map(|word| word.split_once('='));
            pairs.find(|(found, _)| *found == key)?.1.parse().ok()
        };
        Some(Device {
            name,
            read_bytes: of("rbytes")?,
            written_bytes: of("wbytes")?,
        })
    };
    text.lines().filter_map(device).collect()
}

/// `blkio.throttle.io_service_bytes` of version 1: `8:0 Read 1` and `8:0 Write 2`, each a line.
fn io_service_bytes(text: &str) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(direction), Some(bytes)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let Ok(bytes) = bytes.parse() else {
            continue;
        };
        if devices.last().is_none_or(|last| last.name != name) {
            devices.push(Device {
                name: name.to_owned(),
                read_bytes: 0,
                written_bytes: 0,
            });
        }
        if let Some(device) = devices.last_mut() {
            match direction {
                "Read" => device.read_bytes = bytes,
                "Write" => device.written_bytes = bytes,
                _ => {}
            }
        }
    }
    devices
}

/// The name of the device `8:0`.
fn device_name(diskstats: &str, numbers: &str) -> Option<String> {
    let (major, minor) = numbers.split_once(':')?;
    diskstats.lines().find_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let is_it = fields.next()? == major && fields.next()? == minor;
        is_it.then(|| fields.next().map(str::to_owned))?
    })
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
