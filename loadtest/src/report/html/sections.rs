//! The text sections of the report of a run.

use std::fmt::Write as _;

use super::format::{count, date, duration, escaped, ms, percent, rate, share, time};
use super::layout::{self, heading};
use super::table::{Align, Cell, Mark, Table};
use crate::report::run_report::{Report, Verdict};

pub(super) fn header(report: &Report) -> String {
    let warm_up = match report.warm_up_s {
        0.0 => String::new(),
        seconds => format!(", after a warm-up of {}", duration(seconds)),
    };
    let versions = match &report.versions.weir {
        Some(weir) => format!("weir-load {}, weir {weir}", report.versions.weir_load),
        None => format!("weir-load {}", report.versions.weir_load),
    };
    let facts = [
        ("Target", report.target.clone()),
        ("Scenario", report.scenario.clone()),
        ("Rate", report.rate.clone()),
        ("Duration", duration(report.duration_s) + &warm_up),
        ("Started", date(&report.started_at)),
        ("Virtual users", count(report.sender.users as u64)),
        ("Seed", report.seed.to_string()),
        ("Versions", versions),
    ];
    let title = format!(
        "{} at {} for {}",
        report.scenario,
        report.rate,
        duration(report.duration_s)
    );
    heading(report.verdict, &title, &reason(report), &facts)
}

/// The reason of the verdict.
fn reason(report: &Report) -> String {
    if let Some(after_s) = report.interrupted_after_s {
        return format!("The test was interrupted after {}.", duration(after_s));
    }
    if report.requests == 0 {
        return "No requests were sent.".to_owned();
    }
    let none = match report.unanswered == report.requests {
        true => "No request received a response. ",
        false => "",
    };
    let failed: Vec<String> = report
        .slos
        .iter()
        .filter(|slo| !slo.ok)
        .map(|slo| format!("{} is {}", slo.slo, slo.shown))
        .chain(report.regressions.iter().map(ToString::to_string))
        .collect();
    match (report.verdict, report.slos.len()) {
        (Verdict::Pass, 0) => format!("{none}Fewer than 1 % of the requests failed."),
        (Verdict::Pass, 1) => format!("{none}The threshold passed."),
        (Verdict::Pass, all) => format!("{none}All {all} thresholds passed."),
        (Verdict::Fail, _) => format!("{none}{}.", failed.join("; ")),
    }
}

pub(super) fn warnings(report: &Report) -> String {
    let all = report.warnings.iter();
    let items: String = all
        .map(|warning| format!("<li>{}</li>", escaped(warning)))
        .collect();
    match items.is_empty() {
        true => items,
        false => format!("<ul class=\"warnings\">{items}</ul>"),
    }
}

/// The key results.
pub(super) fn tiles(report: &Report) -> String {
    let errors = match report.errors {
        0 => (Mark::Plain, "none".to_owned()),
        some => (Mark::Bad, count(some)),
    };
    let mut tiles = vec![
        (
            Mark::Plain,
            "Requests",
            count(report.requests),
            format!("of {} due", count(report.due_at_target())),
        ),
        (
            Mark::Plain,
            "Throughput",
            rate(report.achieved_rps),
            format!("{} due", rate(report.offered_rps)),
        ),
        (errors.0, "Errors", errors.1, percent(report.error_rate)),
    ];
    if report.unsent > 0 {
        let of_due = share(report.unsent, report.due_at_target());
        tiles.push((Mark::Bad, "Unsent", count(report.unsent), percent(of_due)));
    }
    if report.rejected > 0 {
        let of_all = percent(share(report.rejected, report.requests));
        tiles.push((
            Mark::Plain,
            "Rejected as expected",
            count(report.rejected),
            of_all,
        ));
    }
    if report.rate_limited > 0 {
        let of_all = percent(share(report.rate_limited, report.requests));
        tiles.push((
            Mark::Plain,
            "Rate limited (429)",
            count(report.rate_limited),
            of_all,
        ));
    }
    // Without any response there is no meaningful latency.
    if report.requests > report.unanswered {
        let latency = &report.latency_ms;
        tiles.push((
            Mark::Plain,
            "p50",
            time(latency.p50),
            format!("mean {}", time(latency.mean)),
        ));
        tiles.push((
            Mark::Plain,
            "p95",
            time(latency.p95),
            format!("p90 {}", time(latency.p90)),
        ));
        tiles.push((
            Mark::Plain,
            "p99",
            time(latency.p99),
            format!("slowest {}", time(latency.max)),
        ));
    }
    let tiles = tiles.into_iter();
    layout::tiles(tiles.map(|(mark, name, value, note)| (mark, name.to_owned(), value, note)))
}

pub(super) fn thresholds(report: &Report) -> String {
    let columns = [
        ("Threshold", Align::Text),
        ("", Align::Text),
        ("Measured", Align::Number),
        ("Requests", Align::Number),
        ("Note", Align::Text),
    ];
    let mut table = Table::new(&columns);
    for slo in &report.slos {
        let (mark, word) = match slo.ok {
            true => (Mark::Good, "✓ passed"),
            false => (Mark::Bad, "✗ failed"),
        };
        let cells = vec![
            Cell::new(&slo.slo),
            Cell::marked(word, mark),
            Cell::marked(&slo.shown, mark),
            Cell::new(count(slo.count)),
            Cell::new(slo.note.clone().unwrap_or_default()),
        ];
        table.row(mark, cells);
    }
    match report.slos.is_empty() {
        true => "<p class=\"note\">None given. By default, less than 1 % of the requests may fail, and less than \
                 1 % may be unsent.</p>"
            .to_owned(),
        false => table.html(),
    }
}

pub(super) fn regressions(report: &Report) -> String {
    let columns = [
        ("Metric", Align::Text),
        ("Baseline", Align::Number),
        ("Now", Align::Number),
        ("Change", Align::Number),
    ];
    let mut table = Table::new(&columns);
    for regression in &report.regressions {
        let change = match regression.before > 0.0 {
            true => format!(
                "{:+.0} %",
                (regression.now / regression.before - 1.0) * 100.0
            ),
            false => String::new(),
        };
        let cells = vec![
            Cell::new(&regression.name),
            Cell::new(format!("{:.3}", regression.before)),
            Cell::marked(format!("{:.3}", regression.now), Mark::Bad),
            Cell::new(change),
        ];
        table.row(Mark::Bad, cells);
    }
    table.html()
}

/// A bar for each status.
pub(super) fn responses(report: &Report) -> String {
    let statuses = report.by_status.iter();
    let mut bars: Vec<(String, u64, &str)> = statuses
        .map(|(status, responses)| {
            let class = match status {
                200..300 => "good",
                500.. => "bad",
                _ => "warning",
            };
            (status.to_string(), *responses, class)
        })
        .collect();
    if report.unanswered > 0 {
        bars.push(("no response".to_owned(), report.unanswered, "bad"));
    }
    let mut html = String::new();
    for (name, responses, class) in bars {
        let of_all = share(responses, report.requests);
        // Writing to a string cannot fail.
        let _ = write!(
            html,
            "<div class=\"bar {class}\"><span>{name}</span><i><b style=\"width:{:.3}%\"></b></i>\
             <span class=\"number\">{}</span><span class=\"number\">{}</span></div>",
            of_all * 100.0,
            count(responses),
            percent(of_all)
        );
    }
    match html.is_empty() {
        true => html,
        false => format!("<div class=\"bars\">{html}</div>"),
    }
}

/// Errors by kind, with the names of the requests.
pub(super) fn errors(report: &Report) -> String {
    let columns = [
        ("Error", Align::Text),
        ("Count", Align::Number),
        ("Share of requests", Align::Number),
        ("Names", Align::Text),
    ];
    let mut table = Table::new(&columns);
    let mut kinds: Vec<(&String, &u64)> = report.errors_by_kind.iter().collect();
    kinds.sort_by_key(|(_, errors)| std::cmp::Reverse(**errors));
    for (kind, errors) in kinds {
        let names = report.by_name.iter();
        let names = names.filter(|(_, named)| named.errors_by_kind.contains_key(kind));
        let names: Vec<&str> = names.map(|(name, _)| name.as_str()).collect();
        let cells = vec![
            Cell::new(kind),
            Cell::marked(count(*errors), Mark::Bad),
            Cell::new(percent(share(*errors, report.requests))),
            Cell::new(names.join(", ")),
        ];
        table.row(Mark::Bad, cells);
    }
    table.html()
}

pub(super) fn sidecar(report: &Report) -> String {
    let Some(sidecar) = &report.sidecar else {
        return String::new();
    };
    let columns = [
        ("Metric", Align::Text),
        ("weir-load", Align::Number),
        ("weir", Align::Number),
        ("May differ by", Align::Number),
        ("", Align::Text),
    ];
    let mut table = Table::new(&columns);
    for one in &sidecar.comparisons {
        let shown = |value: f64| match one.name.ends_with(", ms") {
            true => ms(value),
            false => count(value.max(0.0).round() as u64),
        };
        let (mark, word) = match one.ok {
            true => (Mark::Plain, "✓"),
            false => (Mark::Warning, "differs"),
        };
        let cells = vec![
            Cell::new(&one.name),
            Cell::new(shown(one.client)),
            Cell::new(shown(one.weir)),
            Cell::new(shown(one.allowed)),
            Cell::marked(word, if one.ok { Mark::Good } else { Mark::Warning }),
        ];
        table.row(mark, cells);
    }
    format!(
        "{}<p class=\"note\">weir itself added {} on average.</p>",
        table.html(),
        time(sidecar.metrics.overhead_ms_mean)
    )
}
