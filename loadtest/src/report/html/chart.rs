//! Charts as SVG.

use std::fmt::Write as _;

use super::escaped;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 240.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 26.0;
/// Lines across a chart, as many at most.
const GRID: f64 = 5.0;
const BAR_HEIGHT: f64 = 22.0;
const BAR_LEFT: f64 = 130.0;

/// A line of a chart.
pub(in crate::report) struct Line<'a> {
    name: &'a str,
    colour: &'a str,
    points: Vec<(f64, f64)>,
}

impl<'a> Line<'a> {
    pub(in crate::report) fn new(name: &'a str, colour: &'a str, points: Vec<(f64, f64)>) -> Self {
        Line {
            name,
            colour,
            points,
        }
    }
}

/// What goes from left to right.
pub(in crate::report) enum Axis<'a> {
    Linear {
        unit: &'a str,
    },
    /// Shares from 0 to 1; each nine takes as much room.
    Percentiles,
}

impl<'a> Axis<'a> {
    pub(in crate::report) fn linear(unit: &'a str) -> Self {
        Axis::Linear { unit }
    }

    /// Where a value stands, before it is scaled.
    fn place(&self, value: f64) -> f64 {
        match self {
            Axis::Linear { .. } => value,
            Axis::Percentiles => -(1.0 - value.min(0.999_999)).log10(),
        }
    }

    fn ticks(&self, max: f64) -> Vec<(f64, String)> {
        match self {
            Axis::Linear { unit } => {
                let step = step(max);
                let count = (max / step).floor() as u32;
                (0..=count)
                    .map(|tick| f64::from(tick) * step)
                    .map(|at| (at, format!("{at} {unit}")))
                    .collect()
            }
            Axis::Percentiles => [
                (0.0, "0 %"),
                (0.5, "50 %"),
                (0.9, "90 %"),
                (0.99, "99 %"),
                (0.999, "99.9 %"),
                (0.9999, "99.99 %"),
                (0.99999, "99.999 %"),
            ]
            .into_iter()
            .map(|(share, text)| (self.place(share), text.to_owned()))
            .filter(|(at, _)| *at <= max)
            .collect(),
        }
    }
}

/// A chart.
pub(in crate::report) struct Chart<'a> {
    pub(in crate::report) title: &'a str,
    pub(in crate::report) x: Axis<'a>,
    pub(in crate::report) y_unit: &'a str,
    pub(in crate::report) lines: Vec<Line<'a>>,
}

impl Chart<'_> {
    pub(in crate::report) fn svg(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x_max = points()
            .map(|point| self.x.place(point.0))
            .fold(1e-9, f64::max);
        let y_max = points().map(|point| point.1).fold(1e-9, f64::max) * 1.05;
        let x = |place: f64| LEFT + place / x_max * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / y_max * (HEIGHT - BOTTOM - TOP);
        let title = escaped(self.title);
        let mut svg = format!(
            "<h3>{title}</h3><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">"
        );
        let step = step(y_max);
        for tick in 0..=(y_max / step).floor() as u32 {
            let value = f64::from(tick) * step;
            // Writing to a string cannot fail.
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{} {}</text>",
                WIDTH - RIGHT,
                LEFT - 6.0,
                y(value) + 4.0,
                short(value),
                self.y_unit,
                at = y(value),
            );
        }
        for (at, text) in self.x.ticks(x_max) {
            let _ = write!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{text}</text>",
                x(at),
                HEIGHT - 8.0
            );
        }
        for (place, line) in self.lines.iter().enumerate() {
            let path: Vec<String> = line
                .points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x(self.x.place(*at)), y(*value)))
                .collect();
            let colour = line.colour;
            let legend = LEFT + 10.0 + 90.0 * place as f64;
            let _ = write!(
                svg,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\" points=\"{}\"/>\
                 <rect x=\"{legend}\" y=\"5\" width=\"12\" height=\"8\" fill=\"{colour}\"/>\
                 <text x=\"{}\" y=\"13\">{}</text>",
                path.join(" "),
                legend + 17.0,
                escaped(line.name)
            );
        }
        svg + "</svg>"
    }
}

/// One bar each, with its count; on a scale of logarithms, so that a few errors among many answers show.
pub(super) fn bars(all: &[(String, u64, &str)]) -> String {
    let max = all.iter().map(|(_, count, _)| *count).max().unwrap_or(0);
    let height = BAR_HEIGHT * all.len() as f64 + 4.0;
    let mut svg = format!(
        "<svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"Answers by status\">"
    );
    for (place, (name, count, colour)) in all.iter().enumerate() {
        let top = BAR_HEIGHT * place as f64 + 2.0;
        let share = (*count as f64 + 1.0).ln() / (max as f64 + 1.0).ln();
        let width = (share * (WIDTH - BAR_LEFT - 120.0)).max(1.0);
        // Writing to a string cannot fail.
        let _ = write!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{BAR_LEFT}\" y=\"{top}\" width=\"{width:.1}\" height=\"{}\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{count}</text>",
            BAR_LEFT - 8.0,
            top + 13.0,
            escaped(name),
            BAR_HEIGHT - 6.0,
            BAR_LEFT + width + 6.0,
            top + 13.0
        );
    }
    svg + "</svg>"
}

/// 1, 2 or 5 of a power of ten, so that some five lines fit.
fn step(max: f64) -> f64 {
    let rough = (max / GRID).max(1e-9);
    let power = 10_f64.powf(rough.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0];
    let fits = steps.into_iter().find(|step| step * power >= rough);
    fits.unwrap_or(10.0) * power
}

/// Without digits that are only there because of how a computer counts.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_across_stand_at_round_values() {
        assert_eq!((step(100.0), step(7.3), step(0.9)), (20.0, 2.0, 0.2));
        assert_eq!(
            (short(2.5), short(100.0), short(0.0)),
            ("2.5".into(), "100".into(), "0".into())
        );
    }

    #[test]
    fn nothing_measured_is_drawn_all_the_same() {
        for x in [Axis::linear("s"), Axis::Percentiles] {
            let chart = Chart {
                title: "a < b",
                x,
                y_unit: "ms",
                lines: vec![Line::new("none", "#000", Vec::new())],
            };
            let svg = chart.svg();
            assert!(svg.contains("a &lt; b") && !svg.contains("NaN") && !svg.contains("inf"));
        }
        assert!(!bars(&[("200".to_owned(), 0, "#000")]).contains("NaN"));
    }
}
