//! The rules of the configuration as rules of Prometheus, with the same tiers at every step.
//!
//! A tier is a recorded series that remembers itself: `weir:tier{rule="..."}`, made of
//! `weir:signal{rule="..."}` as [`super::tier`] makes it of its figures. What stands in a rule is in its
//! own group, because groups are evaluated one beside the other. Ranges have half an interval more than
//! the samples that they hold, so that they hold the same ones in Prometheus 2, where a range has both
//! its ends, and in Prometheus 3, where it has not its first.

use std::fmt::Write as _;
use std::time::Duration;

use super::Config;
use super::identity::INSTANCE;
use super::promql::{Inexpressible, Promql, by, duration};
use super::rule::Rule;
use super::tier::{FORGET_AFTER, Lines, Worse};
use super::unit::Unit;

/// A rule that Prometheus cannot express, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule `{rule}`: Prometheus cannot express it: {why}")]
pub struct Refused {
    pub rule: String,
    pub why: Inexpressible,
}

/// A file of rules, in YAML.
///
/// # Errors
/// Every rule that Prometheus cannot express.
pub fn render(config: &Config) -> Result<String, Vec<Refused>> {
    let mut text = String::from(
        "# Made by `weir rules` out of a configuration: change that, and make this anew.\n\
         # The tiers are those of weir's own engine: 0 none, 1 warning, 2 critical.\n\
         groups:\n",
    );
    let mut refused = Vec::new();
    for rule in &config.rules {
        match group(rule, config) {
            Ok(group) => text.push_str(&group),
            Err(why) => refused.push(Refused {
                rule: rule.name.to_string(),
                why,
            }),
        }
    }
    if config.rules.is_empty() {
        text.push_str("  []\n");
    }
    match refused.is_empty() {
        true => Ok(text),
        false => Err(refused),
    }
}

fn group(rule: &Rule, config: &Config) -> Result<String, Inexpressible> {
    let name = &rule.name;
    let window = (config.window, config.minimum_requests);
    let signal = (rule.signal.query)(&Promql::new(rule.per, &rule.lines, window))?;
    let interval = duration(config.evaluate_every);
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        text,
        "- name: weir-{name}\n  interval: {interval}\n  rules:\n  \
         - record: weir:signal\n    labels: {{rule: {name}}}\n    expr: |\n{}\n  \
         - record: weir:tier\n    labels: {{rule: {name}}}\n    expr: |\n{}\n",
        indented(&format!("round(\n{}\n, 1e-6)", shifted(&signal))),
        indented(&tier(rule)),
    );
    for (severity, at_least) in [("warning", 1), ("critical", 2)] {
        text.push_str(&alert(rule, config, severity, at_least));
    }
    Ok(text)
}

fn alert(rule: &Rule, config: &Config, severity: &str, at_least: u8) -> String {
    let name = &rule.name;
    let by = by(rule.per);
    let forget = duration(forget_after(&rule.lines));
    let expr = format!(
        "sum without (rule) (last_over_time(weir:signal{{rule=\"{name}\"}}[{forget}]))\n\
         and on ({by}) weir:tier{{rule=\"{name}\"}} >= {at_least}"
    );
    let labels = labels(config);
    let unit = rule.signal.unit;
    let value = match unit {
        Unit::Share => "{{ $value | humanizePercentage }}",
        Unit::Seconds => "{{ $value | humanizeDuration }}",
        Unit::Count => "{{ $value | humanize }}",
    };
    let line = match at_least {
        1 => rule.lines.warning,
        _ => rule.lines.critical,
    };
    let way = match rule.lines.worse {
        Worse::Up => "above",
        Worse::Down => "below",
    };
    let of = rule.per.map_or_else(String::new, |per| {
        let label = per.label();
        format!(" of {label} {{{{ $labels.{label} }}}}")
    });
    let signal = rule.signal.name;
    let (line, recovery) = (unit.show(line), unit.show(rule.lines.recovery));
    let runbook = rule.runbook_url(&config.console_url);
    format!(
        "  - alert: {name}\n    expr: |\n{}\n    labels: {{severity: {severity}{labels}}}\n    annotations:\n      \
         summary: '{name} is {severity}: {signal}{of} is {value}'\n      \
         description: 'It went {way} {line} and ends at {recovery}.'\n      \
         runbook_url: '{}'\n",
        indented(&expr),
        runbook.replace('\'', "''"),
    )
}

/// `alerts.labels`, as they follow another label. Prometheus has an `instance` of its own for each replica: one
/// for all of them would make one alert of theirs.
fn labels(config: &Config) -> String {
    let own = config.labels.iter().filter(|(name, _)| *name != INSTANCE);
    // A text in JSON is one in YAML.
    own.map(|(name, value)| format!(", {name}: {}", serde_json::Value::from(value.as_str())))
        .collect()
}

/// The recorded tier: the branches of `Memory::step`, in their order.
fn tier(rule: &Rule) -> String {
    let Lines {
        worse,
        warning,
        critical,
        recovery,
        ..
    } = rule.lines;
    let name = &rule.name;
    let (signal, tier) = (
        format!("weir:signal{{rule=\"{name}\"}}"),
        format!("weir:tier{{rule=\"{name}\"}}"),
    );
    let (window, samples) = (duration(rule.lines.window()), rule.lines.samples());
    let forget = duration(forget_after(&rule.lines));
    let by = by(rule.per);
    let all = |over: &str, line: f64| {
        format!(
            "({over} {} and count_over_time({signal}[{window}]) >= {samples})",
            number(line)
        )
    };
    let (beyond, well) = match worse {
        Worse::Up => (
            format!("min_over_time({signal}[{window}]) >"),
            format!("max_over_time({signal}[{window}]) <="),
        ),
        Worse::Down => (
            format!("max_over_time({signal}[{window}]) <"),
            format!("min_over_time({signal}[{window}]) >="),
        ),
    };
    let before = format!("last_over_time({tier}[{forget}])");
    let known = format!("and on ({by}) last_over_time({signal}[{forget}])");
    [
        format!("2 + 0 * {}", all(&beyond, critical)),
        format!("or 0 * {}", all(&well, recovery)),
        format!("or {before} == 2 {known}"),
        format!("or 1 + 0 * {}", all(&beyond, warning)),
        format!("or {before} {known}"),
        format!("or 0 * {signal}"),
        // Once, when there has been no figure for too long: what is forgotten must not come back.
        format!("or 0 * ({before} > 0) unless on ({by}) last_over_time({signal}[{forget}])"),
    ]
    .join("\n")
}

fn forget_after(lines: &Lines) -> Duration {
    FORGET_AFTER + lines.interval / 2
}

/// A number that Prometheus reads as the same one.
fn number(number: f64) -> String {
    format!("{number}")
}

fn shifted(text: &str) -> String {
    let lines = text.lines().map(|line| format!("  {line}"));
    lines.collect::<Vec<_>>().join("\n")
}

/// As it stands under `expr: |` of a rule.
fn indented(text: &str) -> String {
    let lines = text.lines().map(|line| format!("      {line}"));
    lines.collect::<Vec<_>>().join("\n")
}
