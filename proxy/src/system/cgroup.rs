//! The limits and the usage of the control groups of this process (kernel documentation,
//! admin-guide/cgroup-v2 and cgroup-v1). Both versions may be mounted at once, with each controller in one.

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

/// The directories of a group and its ancestors.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Cgroup {
    /// The mount point of the hierarchy.
    mount: PathBuf,
    /// The path below it; empty for the root group.
    path: PathBuf,
}

/// Processor time.
#[derive(Debug, PartialEq)]
pub(super) struct CpuUsage {
    /// The limit.
    pub(super) processors: f64,
    /// By all processes of the group, since it was created.
    pub(super) used: Duration,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct MemoryUsage {
    pub(super) limit_bytes: u64,
    /// Without cached files that the kernel can drop immediately: the working set of Kubernetes.
    pub(super) used_bytes: u64,
}

impl Cgroup {
    /// The group and its ancestors, nearest first.
    fn levels(&self) -> impl Iterator<Item = PathBuf> {
        let paths: Vec<_> = self.path.ancestors().map(Path::to_owned).collect();
        paths
            .into_iter()
            .map(|path| match path.as_os_str().is_empty() {
                true => self.mount.clone(),
                false => self.mount.join(path),
            })
    }

    /// The same group in another hierarchy.
    fn level_in(&self, level: &Path, other: &Cgroup) -> PathBuf {
        let path = level.strip_prefix(&self.mount).unwrap_or(Path::new(""));
        let same = other.mount.join(path);
        if same.is_dir() {
            return same;
        }
        other.levels().next().unwrap_or_else(|| other.mount.clone())
    }
}

impl Cgroups {
    pub(super) fn of_this_process() -> Self {
        Self::find(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"))
    }

    /// `groups` and `mounts` have the format of `/proc/self/cgroup` and `/proc/self/mountinfo` (proc(5)).
    fn find(groups: &str, mounts: &str) -> Self {
        let mut cgroups = Cgroups::default();
        for line in groups.lines() {
            let mut fields = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) =
                (fields.next(), fields.next(), fields.next())
            else {
                continue;
            };
            if controllers.is_empty() {
                cgroups.unified = group(mounts, None, path);
            }
            for controller in controllers.split(',') {
                let cgroup = match controller {
                    "cpu" => &mut cgroups.cpu,
                    "cpuacct" => &mut cgroups.cpuacct,
                    "memory" => &mut cgroups.memory,
                    "blkio" => &mut cgroups.blkio,
                    _ => continue,
                };
                *cgroup = group(mounts, Some(controller), path);
            }
        }
        cgroups
    }

    /// The tightest limit of processor time below `processors`, and the usage at that level.
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

    /// The tightest memory limit below the machine's, and the usage at that level.
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

    /// The bytes this group has read from and written to block devices.
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

/// The group `path` of a hierarchy: of version 1 with this controller, otherwise of version 2.
fn group(mounts: &str, controller: Option<&str>, path: &str) -> Option<Cgroup> {
    mounts.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, mount) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (name, options) = (file_system.next()?, file_system.nth(1)?);
        let is_match = match controller {
            None => name == "cgroup2",
            Some(controller) => {
                name == "cgroup" && options.split(',').any(|option| option == controller)
            }
        };
        // In a container, the root of the mount is the container's own group. For a path outside of it
        // (`/../x` in a namespace), the root is the nearest group that is visible.
        let path = Path::new(path).strip_prefix(root).unwrap_or(Path::new(""));
        let mount = PathBuf::from(mount);
        let is_visible = mount.join(path).is_dir();
        let path = if is_visible { path } else { Path::new("") };
        is_match.then(|| Cgroup {
            path: path.to_owned(),
            mount,
        })
    })
}

/// `cpu.max`: `max 100000` or `150000 100000`.
fn quota(text: &str) -> Option<f64> {
    let (quota, period) = text.trim().split_once(' ')?;
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (period > 0).then(|| quota as f64 / period as f64)
}

fn memory(level: &Path, limit: &str, usage: &str, reclaimable: &str) -> Option<MemoryUsage> {
    // `max` is not a number: no limit.
    let limit_bytes = number(level.join(limit))?;
    let usage = number(level.join(usage))?;
    let reclaimable = field(&read(level.join("memory.stat")), reclaimable).unwrap_or(0);
    Some(MemoryUsage {
        limit_bytes,
        used_bytes: usage.saturating_sub(reclaimable),
    })
}

fn number(path: PathBuf) -> Option<u64> {
    read(path).trim().parse().ok()
}

/// The number after `name` in lines of `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.find(|(key, _)| *key == name)?.1.trim().parse().ok()
}

/// `io.stat` of version 2: `8:0 rbytes=1 wbytes=2 rios=3 ...`. Devices are named by their numbers.
fn io_stat(text: &str) -> Vec<Device> {
    let device = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?.to_owned();
        let value = |key: &str| {
            let mut pairs = line
                .split_ascii_whitespace()
                .filter_map(|word| word.split_once('='));
            pairs.find(|(name, _)| *name == key)?.1.parse().ok()
        };
        Some(Device {
            name,
            read_bytes: value("rbytes")?,
            written_bytes: value("wbytes")?,
        })
    };
    text.lines().filter_map(device).collect()
}

/// `blkio.throttle.io_service_bytes` of version 1: `8:0 Read 1` and `8:0 Write 2`, one per line.
fn io_service_bytes(text: &str) -> Vec<Device> {
    let mut devices: Vec<Device> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(operation), Some(bytes)) = (words.next(), words.next(), words.next())
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
            match operation {
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
        let is_match = fields.next()? == major && fields.next()? == minor;
        is_match.then(|| fields.next().map(str::to_owned))?
    })
}

#[cfg(test)]
#[path = "cgroup_tests.rs"]
mod tests;
