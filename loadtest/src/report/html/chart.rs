//! The figures that the charts of a page are drawn from, and the places where they are drawn.

use serde_json::{Value, json};

use super::format::escaped;
use crate::report::HeatMap;

/// What goes from left to right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::report) enum Axis {
    /// Seconds since the start, up to this one: the same in all charts of a page.
    Time { until_s: f64 },
    /// Shares, each nine with as much room, up to this one: given as the number of nines.
    Nines { until: f64 },
    /// Requests a second.
    Rate,
}

/// A line that was measured.
#[derive(Clone, Debug)]
pub(in crate::report) struct Series {
    pub(in crate::report) label: String,
    /// The name of a colour in the style sheet.
    pub(in crate::report) colour: &'static str,
    pub(in crate::report) values: Vec<Option<f64>>,
}

/// A line that an objective draws across a chart.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::report) struct Bound {
    pub(in crate::report) at: f64,
    pub(in crate::report) label: String,
    pub(in crate::report) ok: bool,
    /// Where on the other axis it is meant, where it is.
    pub(in crate::report) x: Option<f64>,
}

/// A chart.
#[derive(Clone, Debug)]
pub(in crate::report) struct Chart {
    /// Of the element that it is drawn in.
    pub(in crate::report) id: &'static str,
    pub(in crate::report) title: &'static str,
    pub(in crate::report) about: &'static str,
    pub(in crate::report) axis: Axis,
    pub(in crate::report) unit: &'static str,
    pub(in crate::report) xs: Vec<f64>,
    pub(in crate::report) series: Vec<Series>,
    pub(in crate::report) bounds: Vec<Bound>,
    /// A place on the axis from left to right that is marked: the result.
    pub(in crate::report) at: Option<f64>,
    /// Instead of lines.
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

    /// Where it is drawn.
    pub(in crate::report) fn place(&self) -> String {
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

    pub(in crate::report) fn figures(&self) -> Value {
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

/// The places of charts, one under the other.
pub(in crate::report) fn places(charts: &[Chart]) -> String {
    charts.iter().map(Chart::place).collect()
}

/// All that the charts of a page are drawn from.
pub(in crate::report) fn figures(charts: &[Chart]) -> Value {
    json!({"charts": charts.iter().map(Chart::figures).collect::<Vec<_>>()})
}
