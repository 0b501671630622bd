use tempfile::TempDir;

use super::*;

const GIB: u64 = 1 << 30;

/// Writes files to a new folder that replaces `/sys/fs/cgroup`.
fn tree(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    }
    folder
}

fn unified(folder: &TempDir, root: &str) -> String {
    let top = folder.path().display();
    format!("31 23 0:28 {root} {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n")
}

#[test]
fn the_limits_of_a_container_of_version_2_are_read() {
    let folder = tree(&[
        ("cpu.max", "50000 100000\n"),
        ("cpu.stat", "usage_usec 1500000\nuser_usec 1\n"),
        ("memory.max", "268435456\n"),
        ("memory.current", "104857600\n"),
        (
            "memory.stat",
            "anon 1\ninactive_file 4857600\nactive_file 9\n",
        ),
        (
            "io.stat",
            "253:99 rbytes=10 wbytes=20 rios=1\n8:77 rbytes=1\n",
        ),
    ]);
    let cgroups = Cgroups::find("0::/\n", &unified(&folder, "/"));
    let cpu = CpuUsage {
        processors: 0.5,
        used: Duration::from_millis(1500),
    };
    assert_eq!(cgroups.cpu(2), Some(cpu));
    let memory = MemoryUsage {
        limit_bytes: 256 << 20,
        used_bytes: 100_000_000,
    };
    assert_eq!(cgroups.memory(4 * GIB), Some(memory));
    assert_eq!(
        cgroups.devices(),
        [Device {
            name: "253:99".to_owned(),
            read_bytes: 10,
            written_bytes: 20
        }]
    );
}

#[test]
fn absent_limits_are_none() {
    let folder = tree(&[
        ("a/cpu.max", "max 100000\n"),
        ("a/cpu.stat", "usage_usec 1\n"),
        ("a/memory.max", "max\n"),
        ("a/memory.current", "5\n"),
    ]);
    let cgroups = Cgroups::find("0::/a\n", &unified(&folder, "/"));
    assert_eq!(cgroups.cpu(2), None);
    assert_eq!(cgroups.memory(GIB), None);
    let nothing = Cgroups::find("", "");
    assert_eq!(nothing.cpu(2), None);
    assert!(nothing.devices().is_empty());
    let garbage = Cgroups::find("x\n::\n0::", "a b c - d\n - \n");
    assert_eq!(garbage.memory(GIB), None);
}

#[test]
fn the_lowest_limit_of_all_levels_applies() {
    let folder = tree(&[
        ("pod/cpu.max", "100000 100000\n"),
        ("pod/cpu.stat", "usage_usec 7\n"),
        ("pod/weir/cpu.max", "200000 100000\n"),
        ("pod/weir/cpu.stat", "usage_usec 3\n"),
        ("pod/memory.max", "1000\n"),
        ("pod/memory.current", "500\n"),
        ("pod/weir/memory.max", "2000\n"),
        ("pod/weir/memory.current", "100\n"),
    ]);
    let cgroups = Cgroups::find("0::/kube/pod/weir\n", &unified(&folder, "/kube"));
    let cpu = cgroups.cpu(4).expect("a limit");
    assert_eq!((cpu.processors, cpu.used), (1.0, Duration::from_micros(7)));
    let memory = cgroups.memory(GIB).expect("a limit");
    assert_eq!((memory.limit_bytes, memory.used_bytes), (1000, 500));
    // A limit above the capacity of the machine does not apply.
    assert_eq!(cgroups.cpu(1), None);
    assert_eq!(cgroups.memory(1000), None);
}

#[test]
fn version_1_has_one_hierarchy_per_controller() {
    let folder = tree(&[
        ("cpu/docker/x/cpu.cfs_quota_us", "150000\n"),
        ("cpu/docker/x/cpu.cfs_period_us", "100000\n"),
        ("cpu/cpu.cfs_quota_us", "-1\n"),
        ("cpu/cpu.cfs_period_us", "100000\n"),
        ("cpuacct/docker/x/cpuacct.usage", "2000000000\n"),
        ("memory/docker/x/memory.limit_in_bytes", "1000\n"),
        ("memory/docker/x/memory.usage_in_bytes", "900\n"),
        (
            "memory/docker/x/memory.stat",
            "inactive_file 1\ntotal_inactive_file 100\n",
        ),
        ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ("memory/memory.usage_in_bytes", "90000\n"),
        (
            "blkio/docker/x/blkio.throttle.io_service_bytes",
            "8:77 Read 1\n8:77 Write 2\n8:77 Total 3\n9:77 Read 4\nTotal 7\n",
        ),
    ]);
    let top = folder.path().display();
    let mounts: String = ["cpu", "cpuacct", "memory", "blkio"]
        .iter()
        .map(|name| format!("32 31 0:29 / {top}/{name} rw,relatime - cgroup cgroup rw,{name}\n"))
        .collect();
    let groups = "9:name=systemd:/\n4:memory:/docker/x\n3:cpu:/docker/x\n2:cpuacct:/docker/x\n1:blkio:/docker/x\n0::/\n";
    let cgroups = Cgroups::find(groups, &mounts);
    let cpu = cgroups.cpu(2).expect("a limit");
    assert_eq!((cpu.processors, cpu.used), (1.5, Duration::from_secs(2)));
    let memory = cgroups.memory(GIB).expect("a limit");
    assert_eq!((memory.limit_bytes, memory.used_bytes), (1000, 800));
    let devices = cgroups.devices();
    let found: Vec<_> = devices
        .iter()
        .map(|device| (&*device.name, device.read_bytes, device.written_bytes))
        .collect();
    assert_eq!(found, [("8:77", 1, 2), ("9:77", 4, 0)]);
}

#[test]
fn a_path_of_another_namespace_falls_back_to_the_root() {
    let folder = tree(&[("memory.max", "1000\n"), ("memory.current", "10\n")]);
    let cgroups = Cgroups::find("0::/../other\n", &unified(&folder, "/"));
    assert_eq!(
        cgroups.memory(GIB).map(|memory| memory.used_bytes),
        Some(10)
    );
}

#[test]
fn a_device_is_named_by_its_numbers() {
    let diskstats = " 254       0 vda 1 2 3\n   8       1 sda1 1 2 3\n";
    assert_eq!(device_name(diskstats, "254:0").as_deref(), Some("vda"));
    assert_eq!(device_name(diskstats, "8:1").as_deref(), Some("sda1"));
    assert_eq!(device_name(diskstats, "8:10"), None);
    assert_eq!(device_name(diskstats, "8"), None);
}
