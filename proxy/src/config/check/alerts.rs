//! `alerts`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::refuse_duplicates;
use crate::alert::Config;
use crate::alert::notify::kind::NotifierConfig;
use crate::alert::rule::Rule;
use crate::alert::signal::{Requirement, Signal};
use crate::alert::tier::{Thresholds, Worse};
use crate::alert::unit::Unit;
use crate::config::raw;
use crate::config::raw::alerts as written;
use crate::config::raw::notifiers::Notifiers;
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::url::ServiceUrl;
use crate::settings::values::{MaybeEmptyText, Threshold};

/// Evaluating more often costs CPU and shows nothing new.
const EVALUATE_EVERY_MIN: Duration = Duration::from_millis(100);
/// The most samples that a series may hold.
const SAMPLES_MAX: usize = 1000;

/// `None` when anything is invalid.
pub(super) fn check(file: &raw::File, diagnostics: &mut Diagnostics) -> Option<Config> {
    let raw = file.alerts.value()?;
    let evaluate_every = raw.evaluate_every.get()?.0;
    if evaluate_every < EVALUATE_EVERY_MIN {
        diagnostics.error(raw.evaluate_every.place, "expected at least 100ms");
        return None;
    }
    let window = raw.window.get()?.0;
    if window < evaluate_every {
        diagnostics.error(
            raw.window.place,
            "`window` is shorter than `evaluate_every`: part of the traffic would never be evaluated",
        );
        return None;
    }
    let rules = rules(raw, evaluate_every, diagnostics);
    warn_of_missing_sources(file, diagnostics);
    let notifiers = notifiers(&raw.notifiers, diagnostics)?;
    let state = state(&raw.state, diagnostics)?;
    link(&raw.console_url, diagnostics)?;
    let console_url = match raw.console_url.value() {
        Some(url) => url.0.expose_secret().trim_end_matches('/').to_owned(),
        None => format!("http://{}", reachable(file.admin.value()?.address.get()?)),
    };
    let labels = raw.labels.value()?.0.iter();
    let labels = labels.map(|(name, value)| (name.value.0.clone(), value.value.0.clone()));
    Some(Config {
        labels: labels.collect(),
        evaluate_every,
        window,
        minimum_requests: raw.minimum_requests.get()?.0.into(),
        rules: rules?,
        notifiers,
        state,
        console_url: console_url.into(),
    })
}

/// `Some(None)` when no state is saved. The path may not be anything but a file.
fn state(
    setting: &Setting<MaybeEmptyText>,
    diagnostics: &mut Diagnostics,
) -> Option<Option<PathBuf>> {
    let path = setting.value()?.0.as_str();
    if path.is_empty() {
        return Some(None);
    }
    let path = PathBuf::from(path);
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        diagnostics.error(
            setting.place,
            "the path exists and is no file: name a file, such as data/alerts.json, or \"\" to save no state",
        );
        return None;
    }
    Some(Some(path))
}

/// A link is part of Prometheus templates, and a path may be appended to it.
fn link(setting: &Setting<ServiceUrl>, diagnostics: &mut Diagnostics) -> Option<()> {
    let Some(url) = setting.value() else {
        return Some(());
    };
    if url.0.expose_secret().contains(['{', '}', '\'', '"']) {
        diagnostics.error(
            setting.place,
            "an address has no braces and no quotes; write them as %7B, %7D, %27, %22",
        );
        return None;
    }
    Some(())
}

/// An unspecified address is not reachable: links use the loopback one.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn rules(
    raw: &written::Alerts,
    interval: Duration,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Arc<Rule>>> {
    let rules = &raw.rules.value()?.0;
    let named = rules
        .iter()
        .filter_map(|at| Some((at.value.name.value()?.0.as_str(), at.value.name.place)));
    refuse_duplicates("rule", named, diagnostics);
    let checked: Vec<_> = rules
        .iter()
        .map(|at| rule(&at.value, interval, diagnostics))
        .collect();
    checked.into_iter().collect()
}

fn rule(
    raw: &written::Rule,
    interval: Duration,
    diagnostics: &mut Diagnostics,
) -> Option<Arc<Rule>> {
    let signal = raw.signal.get()?;
    let name = signal.name;
    let per = raw.per.get();
    if let Some(per) = per.filter(|per| !signal.per.contains(per)) {
        let labels: Vec<&str> = signal.per.iter().map(|per| per.label()).collect();
        let message = format!(
            "the signal `{name}` has no value for each {}: leave `per` out{}",
            per.label(),
            match labels.is_empty() {
                true => String::new(),
                false => format!(", or use {}", labels.join(" or ")),
            }
        );
        diagnostics.error(raw.per.place, message);
        return None;
    }
    link(&raw.runbook, diagnostics)?;
    let thresholds = thresholds(raw, signal, interval, diagnostics)?;
    if thresholds.samples() > SAMPLES_MAX {
        let message = format!(
            "`for` is longer than {SAMPLES_MAX} times `evaluate_every`: shorten it, or evaluate less often"
        );
        diagnostics.error(raw.r#for.place, message);
        return None;
    }
    Some(Arc::new(Rule {
        name: raw.name.value()?.0.as_str().into(),
        signal,
        per,
        thresholds,
        runbook: raw
            .runbook
            .value()
            .map(|url| url.0.expose_secret().to_owned()),
    }))
}

fn thresholds(
    raw: &written::Rule,
    signal: &Signal,
    interval: Duration,
    diagnostics: &mut Diagnostics,
) -> Option<Thresholds> {
    let mut values = Vec::new();
    for setting in [&raw.warning, &raw.critical, &raw.recovery] {
        values.push(threshold(signal, setting, diagnostics));
    }
    let values: Option<Vec<f64>> = values.into_iter().collect();
    let &[warning, critical, recovery] = values?.as_slice() else {
        return None;
    };
    let worse = signal.worse;
    let order = match worse {
        Worse::Down => "recovery >= warning >= critical",
        Worse::Up => "recovery <= warning <= critical",
    };
    let is_worse = |one: f64, other: f64| match worse {
        Worse::Up => one > other,
        Worse::Down => one < other,
    };
    let (above, below) = match worse {
        Worse::Up => ("above", "above"),
        Worse::Down => ("below", "below"),
    };
    let mut is_valid = true;
    if is_worse(warning, critical) {
        let message = format!("`warning` is {above} `critical`; the order is {order}");
        diagnostics.error(raw.warning.place, message);
        is_valid = false;
    }
    if is_worse(recovery, warning) {
        let message = format!("`recovery` is {below} `warning`; the order is {order}");
        diagnostics.error(raw.recovery.place, message);
        is_valid = false;
    }
    is_valid.then_some(Thresholds {
        worse,
        warning,
        critical,
        recovery,
        hold: raw.r#for.get()?.0,
        interval,
    })
}

/// A share for a share, a duration for a duration, a number for a count.
fn threshold(
    signal: &Signal,
    setting: &Setting<Threshold>,
    diagnostics: &mut Diagnostics,
) -> Option<f64> {
    match (signal.unit, setting.get()?) {
        (Unit::Share, Threshold::Share(share)) => return Some(share),
        (Unit::Seconds, Threshold::Time(time)) => return Some(time.as_secs_f64()),
        (Unit::Count, Threshold::Count(count)) => return Some(count.into()),
        _ => {}
    }
    let (name, example) = (signal.name, signal.unit.example());
    let message = format!("the signal `{name}` is measured as {example}");
    diagnostics.error(setting.place, message);
    None
}

/// A rule over something that is not configured is valid, but never fires.
fn warn_of_missing_sources(file: &raw::File, diagnostics: &mut Diagnostics) {
    let ships = file
        .events
        .value()
        .is_some_and(|events| events.elasticsearch.value().is_some());
    let rules = file.alerts.value().and_then(|alerts| alerts.rules.value());
    for rule in rules.map_or(&[][..], |rules| &rules.0) {
        let signal = &rule.value.signal;
        let requires = signal.get().and_then(|signal| signal.requires);
        if !ships && requires == Some(Requirement::Shipping) {
            let does = "never fires: without `events.elasticsearch` there is no spool";
            diagnostics.warn(&signal.path, signal.place, does);
        }
    }
}

/// Every kind of notifier checks its own settings.
fn notifiers(raw: &Notifiers, diagnostics: &mut Diagnostics) -> Option<Vec<NotifierConfig>> {
    let (mut all, mut are_valid) = (Vec::new(), true);
    for (kind, setting) in &raw.0 {
        let Some(settings) = setting.value() else {
            continue;
        };
        match settings.check(diagnostics) {
            Some(destinations) => all.extend(kind.configured(destinations)),
            None => are_valid = false,
        }
    }
    are_valid.then_some(all)
}
