//! The whole machine: its processors, memory, file systems and block devices.

use std::collections::BTreeMap;
use std::path::Path;

use sysinfo::{CpuRefreshKind, DiskRefreshKind, Disks, MemoryRefreshKind, RefreshKind};

use super::{Device, Disk};

/// Bytes of a sector in `/proc/diskstats`, regardless of the sector size of the device (kernel documentation,
/// admin-guide/iostats).
const SECTOR_BYTES: u64 = 512;
/// The maximum number of file systems, which bounds the labels.
const DISKS_MAX: usize = 64;
const DEVICES_MAX: usize = 64;

/// Reads the whole machine.
pub(super) struct Machine {
    /// `None` on a system that the library does not support.
    system: Option<sysinfo::System>,
    disks: Option<Disks>,
    /// CPU usage is known from the second refresh on.
    refreshes: u64,
}

impl Machine {
    pub(super) fn new() -> Self {
        Machine {
            system: sysinfo::System::new().ok(),
            disks: Disks::new().ok(),
            refreshes: 0,
        }
    }

    pub(super) fn refresh(&mut self) {
        let what = RefreshKind::nothing()
            .with_cpu(CpuRefreshKind::nothing().with_usage())
            .with_memory(MemoryRefreshKind::nothing().with_ram());
        if let Some(system) = &mut self.system {
            system.refresh_specifics(what);
        }
        if let Some(disks) = &mut self.disks {
            disks.refresh_specifics(true, DiskRefreshKind::nothing().with_storage());
        }
        self.refreshes += 1;
    }

    pub(super) fn processors(&self) -> usize {
        self.system.as_ref().map_or(0, |system| system.cpus().len())
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.system
            .as_ref()
            .map_or(0, sysinfo::System::total_memory)
    }

    pub(super) fn cpu_ratio(&self) -> Option<f64> {
        let system = self.system.as_ref().filter(|_| self.refreshes > 1)?;
        Some(f64::from(system.global_cpu_usage()) / 100.0)
    }

    pub(super) fn memory_ratio(&self) -> Option<f64> {
        let system = self.system.as_ref()?;
        used_ratio(system.total_memory(), system.available_memory())
    }

    /// The writable file systems. One with several mount points (such as host files in a container) is reported once,
    /// by its shortest path.
    pub(super) fn disks(&self) -> Vec<Disk> {
        let mut shortest: BTreeMap<(u64, u64), Disk> = BTreeMap::new();
        for (place, disk) in self.disks.iter().flatten().enumerate() {
            let mount = disk.mount_point();
            let ratio = space_ratio(mount);
            let (false, true, Some(used_ratio)) = (disk.is_read_only(), mount.is_dir(), ratio)
            else {
                continue;
            };
            let mount = mount.to_string_lossy().into_owned();
            let key = match disk.id() {
                Some(id) => (0, id),
                None => (1, place as u64),
            };
            let found = shortest.get(&key);
            if found.is_none_or(|found| mount.len() < found.mount.len()) {
                shortest.insert(key, Disk { mount, used_ratio });
            }
        }
        shortest.into_values().take(DISKS_MAX).collect()
    }
}

/// The share of a file system in use, without space reserved for root (statvfs(3)).
fn space_ratio(mount: &Path) -> Option<f64> {
    let space = rustix::fs::statvfs(mount).ok()?;
    let used = space.f_blocks.saturating_sub(space.f_bfree);
    used_ratio(used + space.f_bavail, space.f_bavail)
}

fn used_ratio(total: u64, available: u64) -> Option<f64> {
    (total > 0).then(|| 1.0 - available.min(total) as f64 / total as f64)
}

/// The content of a file; empty if it cannot be read.
pub(super) fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The devices in `/proc/diskstats`, without partitions (their bytes are counted for their device), memory devices,
/// and devices that were never used.
pub(super) fn devices(diskstats: &str) -> Vec<Device> {
    let all = diskstats.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace().skip(2);
        let name = fields.next()?.to_owned();
        // After the name: reads, reads merged, sectors read, milliseconds, writes, merged, sectors.
        let read: u64 = fields.nth(2)?.parse().ok()?;
        let written: u64 = fields.nth(3)?.parse().ok()?;
        Some(Device {
            name,
            read_bytes: read * SECTOR_BYTES,
            written_bytes: written * SECTOR_BYTES,
        })
    });
    let mut whole: Vec<Device> = Vec::new();
    for device in all.filter(|device| device.read_bytes + device.written_bytes > 0) {
        let in_memory = ["loop", "ram", "zram"]
            .iter()
            .any(|kind| is_numbered(&device.name, kind));
        // A partition follows its device.
        let is_part = whole.iter().any(|of| is_partition(&device.name, &of.name));
        if !in_memory && !is_part {
            whole.push(device);
        }
    }
    whole.truncate(DEVICES_MAX);
    whole
}

fn is_numbered(name: &str, kind: &str) -> bool {
    name.strip_prefix(kind).is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Whether `name` is a partition of `device`: `sda1` of `sda`, or, with a `p` after a digit, `nvme0n1p2` of `nvme0n1`.
fn is_partition(name: &str, device: &str) -> bool {
    if device.ends_with(|last: char| last.is_ascii_digit()) {
        is_numbered(name, &format!("{device}p"))
    } else {
        is_numbered(name, device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISKSTATS: &str = "
   7       0 loop0 10 0 80 1 0 0 0 0 0 1 1 0 0 0 0 0 0
 254       0 vda 2078726 64139 100 2636181 349724 407129 300 1127351 0 244644 3832814 286734 60 1 62643 55814 6636
 254       1 vda1 2078726 64139 90 2636181 349724 407129 290 1127351 0 244644 3832814
   8       0 sda 0 0 0 0 0 0 0 0 0 0 0
 259       0 nvme0n1 1 0 2 1 1 0 4 1 0 1 1
 259       1 nvme0n1p1 1 0 2 1 1 0 4 1 0 1 1
 259       5 nvme0n11 1 0 6 1 1 0 8 1 0 1 1
 253       0 zram0 5 0 8 0 5 0 8 0 0 0 0
   8      16 broken 1
";

    #[test]
    fn used_devices_are_listed_without_partitions() {
        let device = |name: &str, read: u64, written: u64| Device {
            name: name.to_owned(),
            read_bytes: read * 512,
            written_bytes: written * 512,
        };
        assert_eq!(
            devices(DISKSTATS),
            [
                device("vda", 100, 300),
                device("nvme0n1", 2, 4),
                device("nvme0n11", 6, 8)
            ]
        );
        assert_eq!(devices(""), []);
    }

    #[test]
    fn the_used_share_of_an_empty_file_system_is_none() {
        assert_eq!(used_ratio(0, 0), None);
        assert_eq!(used_ratio(100, 40), Some(0.6));
        assert_eq!(used_ratio(100, 400), Some(0.0));
    }
}
