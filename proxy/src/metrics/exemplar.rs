//! Histograms that remember, for each bucket, the last traced request that fell into it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::core::Metric;
use prometheus::proto::{self, MetricType};
use prometheus::{Histogram, Opts, Result};

use super::family::Series;
use crate::exchange::Exchange;

/// Where the spans of a request are found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    /// Since the Unix epoch.
    at: Duration,
}

impl Sighting {
    /// `None` when no spans are made of it.
    pub(super) fn of(exchange: &Exchange, duration: Duration) -> Option<Self> {
        exchange.is_traced().then(|| Sighting {
            trace_id: exchange.trace.trace_id,
            span_id: exchange.trace.span_id,
            at: exchange.received_at + duration,
        })
    }
}

/// One observation that can be looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exemplar {
    sighting: Sighting,
    value: f64,
}

impl Exemplar {
    /// As it stands behind a bucket of OpenMetrics 1.0.
    pub(super) fn text(&self) -> String {
        let Sighting {
            trace_id,
            span_id,
            at,
        } = self.sighting;
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

/// A histogram with an exemplar a bucket; a clone is the same.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    histogram: Histogram,
    edges: &'static [f64],
    /// One more than edges: the last is of what is beyond them.
    exemplars: Arc<Mutex<Vec<Option<Exemplar>>>>,
}

impl Traced {
    pub(super) fn observe(&self, value: f64, sighting: Option<Sighting>) {
        self.histogram.observe(value);
        if let Some(sighting) = sighting {
            let bucket = self.edges.partition_point(|edge| *edge < value);
            if let Some(place) = self.exemplars.lock().get_mut(bucket) {
                *place = Some(Exemplar { sighting, value });
            }
        }
    }

    pub(super) fn exemplars(&self) -> Vec<Option<Exemplar>> {
        self.exemplars.lock().clone()
    }
}

impl Metric for Traced {
    fn metric(&self) -> proto::Metric {
        self.histogram.metric()
    }
}

impl Series for Traced {
    const TYPE: MetricType = MetricType::HISTOGRAM;

    fn make(options: Opts, edges: &'static [f64]) -> Result<Self> {
        Ok(Traced {
            histogram: Histogram::make(options, edges)?,
            edges,
            exemplars: Arc::new(Mutex::new(vec![None; edges.len() + 1])),
        })
    }
}
