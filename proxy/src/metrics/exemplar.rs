//! Histograms with exemplars: each bucket keeps the last traced request that fell into it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Metric;
use prometheus::proto::{self, MetricType};
use prometheus::{Histogram, Opts, Result};

use super::family::MetricSeries;
use super::{ByName, RegisteredFamilies};

/// The span of a request, and when it ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exemplar {
    pub(crate) trace_id: [u8; 16],
    pub(crate) span_id: [u8; 8],
    /// Since the Unix epoch.
    pub(crate) at: Duration,
}

/// An observed value with its exemplar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Observation {
    exemplar: Exemplar,
    value: f64,
}

impl Observation {
    /// The exemplar in the syntax of OpenMetrics 1.0, where it follows the bucket.
    pub(super) fn text(&self) -> String {
        let Exemplar {
            trace_id,
            span_id,
            at,
        } = self.exemplar;
        format!(
            "# {{trace_id=\"{}\",span_id=\"{}\"}} {} {}.{:03}",
            base16ct::lower::encode_string(&trace_id),
            base16ct::lower::encode_string(&span_id),
            self.value,
            at.as_secs(),
            at.subsec_millis(),
        )
    }
}

/// A histogram with an exemplar per bucket. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct ExemplarHistogram {
    histogram: Histogram,
    edges: &'static [f64],
    /// One more than there are edges: the last is for `+Inf`.
    observations: Arc<Mutex<Vec<Option<Observation>>>>,
}

impl ExemplarHistogram {
    pub(crate) fn observe(&self, value: f64, exemplar: Option<Exemplar>) {
        self.histogram.observe(value);
        if let Some(exemplar) = exemplar {
            let bucket = self.edges.partition_point(|edge| *edge < value);
            if let Some(place) = self.observations.lock().get_mut(bucket) {
                *place = Some(Observation { exemplar, value });
            }
        }
    }

    pub(super) fn observations(&self) -> Vec<Option<Observation>> {
        self.observations.lock().clone()
    }
}

impl Metric for ExemplarHistogram {
    fn metric(&self) -> proto::Metric {
        self.histogram.metric()
    }
}

impl MetricSeries for ExemplarHistogram {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    fn make(options: Opts, edges: &'static [f64]) -> Result<Self> {
        Ok(ExemplarHistogram {
            histogram: Histogram::make(options, edges)?,
            edges,
            observations: Arc::new(Mutex::new(vec![None; edges.len() + 1])),
        })
    }

    fn families(families: &mut RegisteredFamilies) -> &mut ByName<Self> {
        &mut families.with_exemplars
    }
}
