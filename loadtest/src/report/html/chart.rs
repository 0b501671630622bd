//! The data of the charts of a page, and the elements that contain them.

use serde_json::{Value, json};

use super::format::escaped;
use crate::report::HeatMap;

/// The horizontal axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) enum Axis {
    /// Seconds since the start; the same in all charts of a page.
    Time { until_s: f64 },
    /// Quantiles on a logarithmic scale, as the number of nines.
    Nines { until: f64 },
    /// Requests per second.
    Rate,
}

/// A line of measured values.
#[derive(Clone, Debug)]
pub(in crate::report) struct Series {
    pub(in crate::report) label: String,
    /// The name of a colour in the style sheet.
    pub(in crate::report) colour: &'static str,
    pub(in crate::report) values: Vec<Option<f64>>,
}

/// A threshold as a line across a chart.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct ThresholdLine {
    pub(in crate::report) at: f64,
    pub(in crate::report) label: String,
    pub(in crate::report) ok: bool,
    /// The position on the horizontal axis, if it has one.
    pub(in crate::report) x: Option<f64>,
}

/// A chart.
#[derive(Clone, Debug)]
pub(in crate::report) struct Chart {
    /// The id of the element that contains it.
    pub(in crate::report) id: &'static str,
    pub(in crate::report) title: &'static str,
    pub(in crate::report) about: &'static str,
    pub(in crate::report) axis: Axis,
    pub(in crate::report) unit: &'static str,
    pub(in crate::report) xs: Vec<f64>,
    pub(in crate::report) series: Vec<Series>,
    pub(in crate::report) bounds: Vec<ThresholdLine>,
    /// A marked position on the horizontal axis: the result of a search.
    pub(in crate::report) at: Option<f64>,
    /// A heat map instead of lines.
    pub(in crate::report) heat: Option<HeatMap>,
}

impl Chart {
    pub(in crate::report) fn new(id: &'static str, title: &'static str, axis: Axis) -> Self {
        Chart {
            id,
            title,
            about: "",
            axis,
            unit: "ms",
            xs: Vec::new(),
            series: Vec::new(),
            bounds: Vec::new(),
            at: None,
            heat: None,
        }
    }

    pub(in crate::report) fn line(
        &mut self,
        label: impl Into<String>,
        colour: &'static str,
        values: Vec<Option<f64>>,
    ) {
        self.series.push(Series {
            label: label.into(),
            colour,
            values,
        });
    }

    /// The element that contains it.
    pub(in crate::report) fn container(&self) -> String {
        let about = match self.about {
            "" => String::new(),
            about => format!(" <span>{}</span>", escaped(about)),
        };
        format!(
            "<figure><figcaption><b>{title}</b>{about}</figcaption>\
             <div class=\"plot\" id=\"{}\" role=\"img\" aria-label=\"{title}\"></div></figure>",
            self.id,
            title = escaped(self.title)
        )
    }

    pub(in crate::report) fn data(&self) -> Value {
        let axis = match self.axis {
            Axis::Time { until_s } => json!({"kind": "time", "until": until_s}),
            Axis::Nines { until } => json!({"kind": "nines", "until": until}),
            Axis::Rate => json!({"kind": "rate"}),
        };
        let series = self.series.iter().map(|series| {
            json!({"label": series.label, "colour": series.colour, "values": series.values})
        });
        let bounds = self.bounds.iter().map(
            |bound| json!({"at": bound.at, "label": bound.label, "ok": bound.ok, "x": bound.x}),
        );
        json!({
            "id": self.id,
            "axis": axis,
            "unit": self.unit,
            "xs": self.xs,
            "series": series.collect::<Vec<_>>(),
            "bounds": bounds.collect::<Vec<_>>(),
            "at": self.at,
            "heat": self.heat,
        })
    }
}

/// The elements that contain the charts.
pub(in crate::report) fn containers(charts: &[Chart]) -> String {
    charts.iter().map(Chart::container).collect()
}

/// The data of all charts of a page.
pub(in crate::report) fn chart_data(charts: &[Chart]) -> Value {
    json!({"charts": charts.iter().map(Chart::data).collect::<Vec<_>>()})
}
