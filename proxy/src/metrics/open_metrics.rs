//! Renders the OpenMetrics text format 1.0 (openmetrics.io), which the prometheus crate does not support: with
//! exemplars, and with the family names of counters without `_total`.

use std::fmt::Write as _;

use prometheus::proto::{Histogram, LabelPair, Metric, MetricFamily, MetricType};

use super::exemplar::Observation;

/// Renders all families. `exemplars` returns the exemplars of one histogram series, one per bucket, `+Inf` included.
pub(super) fn render(
    families: &[MetricFamily],
    exemplars: impl Fn(&str, &[LabelPair]) -> Vec<Option<Observation>>,
) -> String {
    let mut text = String::with_capacity(64 * 1024);
    for family in families {
        let name = family.name();
        let (kind, family_name) = match family.get_field_type() {
            MetricType::COUNTER => ("counter", name.strip_suffix("_total").unwrap_or(name)),
            MetricType::HISTOGRAM => ("histogram", name),
            _ => ("gauge", name),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# TYPE {family_name} {kind}");
        let _ = writeln!(text, "# HELP {family_name} {}", escaped(family.help()));
        for metric in family.get_metric() {
            match family.get_field_type() {
                MetricType::COUNTER => {
                    sample(
                        &mut text,
                        name,
                        metric,
                        None,
                        metric.get_counter().get_value(),
                        None,
                    );
                }
                MetricType::HISTOGRAM => {
                    let exemplars = exemplars(name, metric.get_label());
                    histogram(&mut text, name, metric, metric.get_histogram(), &exemplars);
                }
                _ => sample(
                    &mut text,
                    name,
                    metric,
                    None,
                    metric.get_gauge().get_value(),
                    None,
                ),
            }
        }
    }
    text.push_str("# EOF\n");
    text
}

fn histogram(
    text: &mut String,
    name: &str,
    metric: &Metric,
    histogram: &Histogram,
    exemplars: &[Option<Observation>],
) {
    let bucket = format!("{name}_bucket");
    let buckets = histogram.get_bucket().iter().enumerate();
    for (position, counted) in buckets {
        let edge = number(counted.upper_bound());
        let exemplar = exemplars.get(position).and_then(Option::as_ref);
        let count = counted.cumulative_count() as f64;
        sample(text, &bucket, metric, Some(&edge), count, exemplar);
    }
    let count = histogram.get_sample_count() as f64;
    let beyond = exemplars.last().and_then(Option::as_ref);
    sample(text, &bucket, metric, Some("+Inf"), count, beyond);
    let sum = histogram.get_sample_sum();
    sample(text, &format!("{name}_sum"), metric, None, sum, None);
    sample(text, &format!("{name}_count"), metric, None, count, None);
}

/// Appends one line.
fn sample(
    text: &mut String,
    name: &str,
    metric: &Metric,
    edge: Option<&str>,
    value: f64,
    exemplar: Option<&Observation>,
) {
    text.push_str(name);
    let labels = metric.get_label().iter();
    let labels = labels.map(|label| (label.name(), label.value()));
    for (position, (name, value)) in labels.chain(edge.map(|edge| ("le", edge))).enumerate() {
        let before = if position == 0 { '{' } else { ',' };
        let _ = write!(text, "{before}{name}=\"{}\"", escaped(value));
    }
    if edge.is_some() || !metric.get_label().is_empty() {
        text.push('}');
    }
    let _ = write!(text, " {value}");
    if let Some(exemplar) = exemplar {
        let _ = write!(text, " {}", exemplar.text());
    }
    text.push('\n');
}

/// A bucket edge in its canonical form: whole numbers have a decimal point as well.
fn number(edge: f64) -> String {
    match edge.fract() == 0.0 {
        true => format!("{edge:.1}"),
        false => edge.to_string(),
    }
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' => escaped.push_str("\\\\"),
            '"' => escaped.push_str("\\\""),
            '\n' => escaped.push_str("\\n"),
            other => escaped.push(other),
        }
    }
    escaped
}
