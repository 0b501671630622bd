//! All series of one metric.
//!
//! The vectors of the prometheus crate identify a series by a hash of its concatenated label values, so that
//! `("ab", "c")` and `("a", "bc")` are the same. Here a series is identified by the values themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus::core::{Collector, Desc, Metric};
use prometheus::proto::{LabelPair, MetricFamily, MetricType};
use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry, Result};

use super::catalog::Definition;
use super::{ByName, RegisteredFamilies};

/// A kind of series.
pub(crate) trait MetricSeries: Metric + Sized + 'static {
    const TYPE: MetricType;

    fn make(options: Opts, edges: &'static [f64]) -> Result<Self>;

    /// The registered families of this kind.
    fn families(families: &mut RegisteredFamilies) -> &mut ByName<Self>;
}

impl MetricSeries for IntCounter {
    const TYPE: MetricType = MetricType::COUNTER;

    fn make(options: Opts, _edges: &'static [f64]) -> Result<Self> {
        IntCounter::with_opts(options)
    }

    fn families(families: &mut RegisteredFamilies) -> &mut ByName<Self> {
        &mut families.counters
    }
}

impl MetricSeries for IntGauge {
    const TYPE: MetricType = MetricType::GAUGE;

    fn make(options: Opts, _edges: &'static [f64]) -> Result<Self> {
        IntGauge::with_opts(options)
    }

    fn families(families: &mut RegisteredFamilies) -> &mut ByName<Self> {
        &mut families.gauges
    }
}

impl MetricSeries for Histogram {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    fn make(options: Opts, edges: &'static [f64]) -> Result<Self> {
        Histogram::with_opts(HistogramOpts::from(options).buckets(edges.to_vec()))
    }

    fn families(families: &mut RegisteredFamilies) -> &mut ByName<Self> {
        &mut families.histograms
    }
}

/// The series of one metric, by their label values. Clones share their state.
#[derive(Clone)]
pub(crate) struct Family<S> {
    definition: Definition,
    edges: &'static [f64],
    desc: Desc,
    series: Arc<Mutex<BTreeMap<Vec<String>, S>>>,
}

impl<S> std::fmt::Debug for Family<S> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Family({})", self.definition.name)
    }
}

impl<S: MetricSeries> Family<S> {
    /// Registers a family. `edges` are the bucket edges of histograms.
    pub(crate) fn register(
        registry: &Registry,
        definition: Definition,
        edges: &'static [f64],
    ) -> Result<Self> {
        let labels = definition.labels.iter().map(|label| (*label).to_owned());
        let family = Family {
            definition,
            edges,
            desc: Desc::new(
                definition.name.to_owned(),
                definition.help.to_owned(),
                labels.collect(),
                std::collections::HashMap::new(),
            )?,
            series: Arc::default(),
        };
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    /// The series with these label values, created on first use. Keep the handle: this is too slow for each request.
    pub(crate) fn series(&self, values: &[&str]) -> Result<S> {
        let labels = self.definition.labels;
        if labels.len() != values.len() {
            return Err(prometheus::Error::InconsistentCardinality {
                expect: labels.len(),
                got: values.len(),
            });
        }
        let key = values.iter().map(|value| (*value).to_owned()).collect();
        let mut series = self.series.lock();
        if let Some(found) = series.get(&key) {
            return Ok(found.clone());
        }
        let options = labels.iter().zip(values).fold(
            Opts::new(self.definition.name, self.definition.help),
            |options, (label, value)| options.const_label(*label, *value),
        );
        let made = S::make(options, self.edges)?;
        series.insert(key, made.clone());
        Ok(made)
    }
}

impl<S: MetricSeries> Family<S> {
    /// Every series with its label values.
    pub(crate) fn all(&self) -> Vec<(Vec<String>, S)> {
        let series = self.series.lock();
        let all = series.iter();
        all.map(|(values, series)| (values.clone(), series.clone()))
            .collect()
    }

    /// The series with these labels.
    pub(crate) fn with_labels(&self, labels: &[LabelPair]) -> Option<S> {
        let value = |name: &&str| {
            let label = labels.iter().find(|label| label.name() == *name)?;
            Some(label.value().to_owned())
        };
        let key: Option<Vec<String>> = self.definition.labels.iter().map(value).collect();
        self.series.lock().get(&key?).cloned()
    }
}

impl<S: MetricSeries> Collector for Family<S> {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.desc]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut family = MetricFamily::default();
        family.set_name(self.definition.name.to_owned());
        family.set_help(self.definition.help.to_owned());
        family.set_field_type(S::TYPE);
        family.set_metric(self.series.lock().values().map(Metric::metric).collect());
        vec![family]
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalog;
    use super::*;

    #[test]
    fn series_with_similar_labels_are_distinct() {
        let registry = Registry::new();
        let family: Family<IntCounter> =
            Family::register(&registry, catalog::FAILED_REQUESTS, &[]).expect("a family");
        family.series(&["ab", "c"]).expect("a series").inc();
        family.series(&["a", "bc"]).expect("a series").inc_by(2);
        family.series(&["ab", "c"]).expect("the same").inc();
        assert_eq!(family.series(&["ab", "c"]).expect("a series").get(), 2);
        assert_eq!(family.series(&["a", "bc"]).expect("a series").get(), 2);
        assert_eq!(registry.gather()[0].get_metric().len(), 2);
        assert!(family.series(&["one"]).is_err());
    }

    #[test]
    fn a_name_is_registered_once() {
        let registry = Registry::new();
        let register = || Family::<IntCounter>::register(&registry, catalog::FAILED_REQUESTS, &[]);
        register().expect("a family");
        register().expect_err("the same name");
    }
}
