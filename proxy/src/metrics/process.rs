//! `process_*`: metrics of this process, read from `/proc` at each scrape (proc(5)). They are absent on systems
//! without `/proc`.

use std::fs;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::catalog::{self, Definition};
use super::snapshot;

/// Ticks per second in `/proc/*/stat`: `USER_HZ`, 100 on every Linux that Rust supports.
const TICKS_PER_S: f64 = 100.0;

const DEFINITIONS: [Definition; 7] = [
    catalog::PROCESS_CPU,
    catalog::PROCESS_RESIDENT,
    catalog::PROCESS_VIRTUAL,
    catalog::PROCESS_OPEN_FDS,
    catalog::PROCESS_MAX_FDS,
    catalog::PROCESS_START_TIME,
    catalog::PROCESS_THREADS,
];

/// Collects the metrics of the process.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    descs: Vec<Desc>,
}

impl ProcessCollector {
    pub(super) fn new() -> prometheus::Result<Self> {
        Ok(ProcessCollector {
            descs: snapshot::descs(&DEFINITIONS)?,
        })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let stat = ProcessStat::parse(&read("/proc/self/stat"));
        let status = read("/proc/self/status");
        let kib = |name| number_after(&status, name).map(|kib| kib * 1024.0);
        let booted_s = number_after(&read("/proc/stat"), "btime ");
        let open_fds = fs::read_dir("/proc/self/fd")
            .ok()
            // One of them is the directory handle of this read.
            .map(|entries| entries.count().saturating_sub(1) as f64);
        let values = [
            stat.as_ref().map(|stat| stat.cpu_s),
            kib("VmRSS:"),
            kib("VmSize:"),
            open_fds,
            number_after(&read("/proc/self/limits"), "Max open files"),
            stat.as_ref()
                .zip(booted_s)
                .map(|(stat, booted_s)| booted_s + stat.started_after_boot_s),
            number_after(&status, "Threads:"),
        ];
        DEFINITIONS
            .iter()
            .zip(values)
            .filter_map(|(definition, value)| Some(snapshot::family(definition, &[(&[], value?)])))
            .collect()
    }
}

/// Two fields of `/proc/self/stat`.
#[derive(Debug, PartialEq)]
struct ProcessStat {
    cpu_s: f64,
    started_after_boot_s: f64,
}

impl ProcessStat {
    /// The name of the process is in parentheses and may contain anything, including parentheses: fields are counted
    /// from the last closing one.
    fn parse(text: &str) -> Option<Self> {
        let (_, fields) = text.rsplit_once(") ")?;
        // The first remaining field is number 3 of proc(5), the state.
        let field = |number: usize| -> Option<f64> {
            fields
                .split_ascii_whitespace()
                .nth(number - 3)?
                .parse()
                .ok()
        };
        Some(ProcessStat {
            cpu_s: (field(14)? + field(15)?) / TICKS_PER_S,
            started_after_boot_s: field(22)? / TICKS_PER_S,
        })
    }
}

/// The first number after `name` at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use prometheus::proto::MetricType;

    use super::*;

    #[test]
    fn fields_are_found_after_any_process_name() {
        let text = "7 (we) ir (x) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 5 0 4200 9 8 7";
        let stat = ProcessStat::parse(text).expect("a stat line");
        assert_eq!(
            stat,
            ProcessStat {
                cpu_s: 2.0,
                started_after_boot_s: 42.0
            }
        );
        assert_eq!(ProcessStat::parse(""), None);
        assert_eq!(ProcessStat::parse("7 (weir) S 1"), None);
    }

    #[test]
    fn numbers_are_found_by_name() {
        let text = "VmSizeX: 3\nVmSize:\t  1234 kB\nMax open files  1024  4096  files\n";
        assert_eq!(number_after(text, "VmSize:"), Some(1234.0));
        assert_eq!(number_after(text, "Max open files"), Some(1024.0));
        assert_eq!(number_after(text, "Threads:"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_is_measured() {
        let families = ProcessCollector::new().expect("a collector").collect();
        assert_eq!(families.len(), DEFINITIONS.len());
        for family in &families {
            let metric = &family.get_metric()[0];
            let value = match family.get_field_type() {
                MetricType::COUNTER => metric.get_counter().get_value() + 1.0,
                _ => metric.get_gauge().get_value(),
            };
            assert!(value >= 1.0, "{} is {value}", family.name());
        }
    }
}
