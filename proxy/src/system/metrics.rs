//! The metrics of the system: each scrape exposes the last sample.

use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;

use super::SystemSample;
use crate::metrics::catalog::{self, Definition};
use crate::metrics::{Metrics, snapshot};

const DEFINITIONS: [Definition; 4] = [
    catalog::CPU_USAGE,
    catalog::MEMORY_USAGE,
    catalog::DISK_USAGE,
    catalog::DISK_IO,
];

/// Registers the metrics of the returned sample, which the sampling worker updates.
///
/// # Errors
/// When they are registered already.
pub fn register(metrics: &Metrics) -> prometheus::Result<Arc<Mutex<SystemSample>>> {
    let last = Arc::default();
    metrics.collect(SystemCollector::new(Arc::clone(&last))?)?;
    Ok(last)
}

/// Exposes the last sample.
#[derive(Debug)]
struct SystemCollector {
    descs: Vec<Desc>,
    last: Arc<Mutex<SystemSample>>,
}

impl SystemCollector {
    fn new(last: Arc<Mutex<SystemSample>>) -> prometheus::Result<Self> {
        Ok(SystemCollector {
            descs: snapshot::descs(&DEFINITIONS)?,
            last,
        })
    }
}

impl Collector for SystemCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let reading = self.last.lock().clone();
        let mut families = Vec::new();
        for (definition, value) in [
            (&catalog::CPU_USAGE, reading.cpu_ratio),
            (&catalog::MEMORY_USAGE, reading.memory_ratio),
        ] {
            families.extend(value.map(|value| snapshot::family(definition, &[(&[], value)])));
        }
        let mounts: Vec<[&str; 1]> = reading.disks.iter().map(|disk| [&*disk.mount]).collect();
        let disks = mounts.iter().zip(&reading.disks);
        let disks: Vec<_> = disks
            .map(|(labels, disk)| (&labels[..], disk.used_ratio))
            .collect();
        let transfers: Vec<([&str; 2], f64)> = reading
            .devices
            .iter()
            .flat_map(|device| {
                [
                    ([&*device.name, "read"], device.read_bytes as f64),
                    ([&*device.name, "write"], device.written_bytes as f64),
                ]
            })
            .collect();
        let transfers: Vec<_> = transfers
            .iter()
            .map(|(labels, bytes)| (&labels[..], *bytes))
            .collect();
        for (definition, values) in [
            (&catalog::DISK_USAGE, disks),
            (&catalog::DISK_IO, transfers),
        ] {
            // promtool rejects a family without series.
            if !values.is_empty() {
                families.push(snapshot::family(definition, &values));
            }
        }
        families
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_available_values_are_exposed() {
        let last = Arc::new(Mutex::new(SystemSample::default()));
        let readings = SystemCollector::new(last.clone()).expect("a collector");
        assert!(readings.collect().is_empty());
        *last.lock() = SystemSample {
            memory_ratio: None,
            ..SystemSample::example()
        };
        let families = readings.collect();
        let names: Vec<_> = families.iter().map(MetricFamily::name).collect();
        let expected = [
            "weir_cpu_usage_ratio",
            "weir_disk_usage_ratio",
            "weir_disk_io_bytes_total",
        ];
        assert_eq!(names, expected);
        let io = &families[2].get_metric()[1];
        let labels = io.get_label().iter().map(|label| label.value());
        assert_eq!(labels.collect::<Vec<_>>(), ["vda", "write"]);
        assert_eq!(io.get_counter().get_value(), 2.0);
    }
}
