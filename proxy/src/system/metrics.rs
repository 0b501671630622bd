//! The metrics of the system: the last sample, at each scrape.

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

/// Registers the metrics of the returned sample, which the sampler overwrites.
///
/// # Errors
/// When they are registered already.
pub fn register(metrics: &Metrics) -> prometheus::Result<Arc<Mutex<SystemSample>>> {
    let last = Arc::default();
    metrics.collect(SampleCollector::new(Arc::clone(&last))?)?;
    Ok(last)
}

/// Exposes the last sample.
#[derive(Debug)]
struct SampleCollector {
    descs: Vec<Desc>,
    last: Arc<Mutex<SystemSample>>,
}

impl SampleCollector {
    fn new(last: Arc<Mutex<SystemSample>>) -> prometheus::Result<Self> {
        Ok(SampleCollector {
            descs: snapshot::descs(&DEFINITIONS)?,
            last,
        })
    }
}

impl Collector for SampleCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let sample = self.last.lock().clone();
        let mut families = Vec::new();
        for (definition, value) in [
            (&catalog::CPU_USAGE, sample.cpu_ratio),
            (&catalog::MEMORY_USAGE, sample.memory_ratio),
        ] {
            families.extend(value.map(|value| snapshot::family(definition, &[(&[], value)])));
        }
        let mounts: Vec<[&str; 1]> = sample.disks.iter().map(|disk| [&*disk.mount]).collect();
        let disks = mounts.iter().zip(&sample.disks);
        let disks: Vec<_> = disks
            .map(|(labels, disk)| (&labels[..], disk.used_ratio))
            .collect();
        let bytes: Vec<([&str; 2], f64)> = sample
            .devices
            .iter()
            .flat_map(|device| {
                [
                    ([&*device.name, "read"], device.read_bytes as f64),
                    ([&*device.name, "write"], device.written_bytes as f64),
                ]
            })
            .collect();
        let bytes: Vec<_> = bytes
            .iter()
            .map(|(labels, count)| (&labels[..], *count))
            .collect();
        for (definition, values) in [(&catalog::DISK_USAGE, disks), (&catalog::DISK_IO, bytes)] {
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
    fn only_values_of_the_last_sample_are_exposed() {
        let last = Arc::new(Mutex::new(SystemSample::default()));
        let collector = SampleCollector::new(last.clone()).expect("a collector");
        assert!(collector.collect().is_empty());
        *last.lock() = SystemSample {
            memory_ratio: None,
            ..SystemSample::example()
        };
        let families = collector.collect();
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
