//! Metrics that are created from a snapshot at each scrape instead of being counted.

use std::collections::HashMap;

use prometheus::core::Desc;
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::catalog::Definition;

/// The descriptions of a collector for the registry.
pub(crate) fn descs(definitions: &[Definition]) -> prometheus::Result<Vec<Desc>> {
    let desc = |definition: &Definition| {
        let labels = definition.labels.iter().map(|label| (*label).to_owned());
        Desc::new(
            definition.name.to_owned(),
            definition.help.to_owned(),
            labels.collect(),
            HashMap::new(),
        )
    };
    definitions.iter().map(desc).collect()
}

/// A family with these label values and values.
pub(crate) fn family(definition: &Definition, values: &[(&[&str], f64)]) -> MetricFamily {
    let is_counter = definition.name.ends_with("_total");
    let metrics = values.iter().map(|(labels, value)| {
        let mut metric = Metric::default();
        if is_counter {
            let mut counter = Counter::default();
            counter.set_value(*value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(*value);
            metric.set_gauge(gauge);
        }
        let labels = definition.labels.iter().zip(*labels).map(|(name, value)| {
            let mut label = LabelPair::default();
            label.set_name((*name).to_owned());
            label.set_value((*value).to_owned());
            label
        });
        metric.set_label(labels.collect());
        metric
    });
    let mut family = MetricFamily::default();
    family.set_name(definition.name.to_owned());
    family.set_help(definition.help.to_owned());
    family.set_field_type(match is_counter {
        true => MetricType::COUNTER,
        false => MetricType::GAUGE,
    });
    family.set_metric(metrics.collect());
    family
}
