//! `alerts`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;

use super::refuse_duplicates;
use crate::alert::per::Per;
use crate::alert::rule::Rule;
use crate::alert::signal::{Signal, Statistic, Unit};
use crate::alert::tier::{Lines, Worse};
use crate::alert::{Alertmanager, Config, FeishuBot, Webhook};
use crate::config::declare::Word;
use crate::config::decode::Setting;
use crate::config::mistake::Findings;
use crate::config::raw;
use crate::config::raw::alerts as written;
use crate::config::url::ServiceUrl;
use crate::config::values::{MaybeEmptyText, Secret, Threshold};

/// More often nothing new is seen, and evaluating costs.
const EVALUATE_EVERY_MIN: Duration = Duration::from_millis(100);
/// Figures that are remembered of each series.
const SAMPLES_MAX: usize = 1000;

/// `None` when anything is wrong.
pub(super) fn check(file: &raw::File, findings: &mut Findings) -> Option<Config> {
    let raw = file.alerts.value()?;
    let evaluate_every = raw.evaluate_every.get()?.0;
    if evaluate_every < EVALUATE_EVERY_MIN {
        findings.mistake(raw.evaluate_every.place, "expected at least 100ms");
        return None;
    }
    let window = raw.window.get()?.0;
    if window < evaluate_every {
        findings.mistake(
            raw.window.place,
            "`window` is shorter than `evaluate_every`: part of the traffic would never be looked at",
        );
        return None;
    }
    let rules = rules(raw, evaluate_every, findings);
    warn_of_missing_sources(file, findings);
    let alertmanager = match raw.alertmanager.value() {
        Some(alertmanager) => Some(self::alertmanager(alertmanager, findings)?),
        None => None,
    };
    let feishu = feishu(raw, findings)?;
    let webhook = match raw.webhook.value() {
        Some(hook) => webhook(hook, findings)?,
        None => None,
    };
    let state = state(&raw.state, findings)?;
    link(&raw.console_url, findings)?;
    let console_url = match raw.console_url.value() {
        Some(url) => url.0.trim_end_matches('/').to_owned(),
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
        alertmanager,
        feishu,
        webhook,
        state,
        console_url: console_url.into(),
    })
}

/// `Some(None)` when nothing is kept. What lies there and is no file would not be written to.
fn state(setting: &Setting<MaybeEmptyText>, findings: &mut Findings) -> Option<Option<PathBuf>> {
    let path = setting.value()?.0.as_str();
    if path.is_empty() {
        return Some(None);
    }
    let path = PathBuf::from(path);
    if path.metadata().is_ok_and(|meta| !meta.is_file()) {
        findings.mistake(
            setting.place,
            "there is something that is no file: name a file, such as data/alerts.json, or \"\" to keep nothing",
        );
        return None;
    }
    Some(Some(path))
}

/// An address that people go to stands in templates of Prometheus, and a path is put behind one.
fn link(setting: &Setting<ServiceUrl>, findings: &mut Findings) -> Option<()> {
    let Some(url) = setting.value() else {
        return Some(());
    };
    if url.0.contains(['{', '}', '\'', '"']) {
        findings.mistake(
            setting.place,
            "an address has no braces and no quotes; write them as %7B, %7D, %27, %22",
        );
        return None;
    }
    Some(())
}

/// Nobody can go to an address that stands for all of them.
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
    findings: &mut Findings,
) -> Option<Vec<Arc<Rule>>> {
    let rules = &raw.rules.value()?.0;
    let named = rules
        .iter()
        .filter_map(|at| Some((at.value.name.value()?.0.as_str(), at.value.name.place)));
    refuse_duplicates("rule", named, findings);
    let checked: Vec<_> = rules
        .iter()
        .map(|at| rule(&at.value, interval, findings))
        .collect();
    checked.into_iter().collect()
}

fn rule(raw: &written::Rule, interval: Duration, findings: &mut Findings) -> Option<Arc<Rule>> {
    let word = raw.signal.get()?;
    let Some(signal) = signal(word) else {
        let message = format!(
            "the signal `{}` is not in this version yet: its source, the circuit breaker, is not built",
            word.word()
        );
        findings.mistake(raw.signal.place, message);
        return None;
    };
    let per = raw.per.get().map(per);
    if let Some(per) = per.filter(|per| !signal.can_be_per(*per)) {
        let message = format!(
            "the signal `{}` has no value for each {}: leave `per` out{}",
            signal.word(),
            per.label(),
            if signal.is_of_requests() {
                ", or use route or platform"
            } else {
                ""
            }
        );
        findings.mistake(raw.per.place, message);
        return None;
    }
    link(&raw.runbook, findings)?;
    let lines = lines(raw, signal, interval, findings)?;
    if lines.samples() > SAMPLES_MAX {
        let message = format!(
            "`for` is longer than {SAMPLES_MAX} times `evaluate_every`: shorten it, or evaluate less often"
        );
        findings.mistake(raw.r#for.place, message);
        return None;
    }
    Some(Arc::new(Rule {
        name: raw.name.value()?.0.as_str().into(),
        signal,
        per,
        lines,
        runbook: raw.runbook.value().map(|url| url.0.clone()),
    }))
}

fn lines(
    raw: &written::Rule,
    signal: Signal,
    interval: Duration,
    findings: &mut Findings,
) -> Option<Lines> {
    let mut figures = Vec::new();
    for setting in [&raw.warning, &raw.critical, &raw.recovery] {
        figures.push(figure(signal, setting, findings));
    }
    let figures: Option<Vec<f64>> = figures.into_iter().collect();
    let &[warning, critical, recovery] = figures?.as_slice() else {
        return None;
    };
    let (worse, order) = match signal {
        Signal::CacheHitRatio => (Worse::Down, "recovery >= warning >= critical"),
        _ => (Worse::Up, "recovery <= warning <= critical"),
    };
    let is_worse = |one: f64, other: f64| match worse {
        Worse::Up => one > other,
        Worse::Down => one < other,
    };
    let (above, below) = match worse {
        Worse::Up => ("above", "above"),
        Worse::Down => ("below", "below"),
    };
    let mut is_right = true;
    if is_worse(warning, critical) {
        let message = format!("`warning` lies {above} `critical`; the order is {order}");
        findings.mistake(raw.warning.place, message);
        is_right = false;
    }
    if is_worse(recovery, warning) {
        let message = format!("`recovery` lies {below} `warning`; the order is {order}");
        findings.mistake(raw.recovery.place, message);
        is_right = false;
    }
    is_right.then_some(Lines {
        worse,
        warning,
        critical,
        recovery,
        hold: raw.r#for.get()?.0,
        interval,
    })
}

/// A share for a share, a duration for a duration, a number for a count.
fn figure(signal: Signal, setting: &Setting<Threshold>, findings: &mut Findings) -> Option<f64> {
    let expected = match (signal.unit(), setting.get()?) {
        (Unit::Share, Threshold::Share(share)) => return Some(share),
        (Unit::Seconds, Threshold::Time(time)) => return Some(time.as_secs_f64()),
        (Unit::Count, Threshold::Count(count)) => return Some(count.into()),
        (Unit::Share, _) => "a share such as 1%",
        (Unit::Seconds, _) => "a duration such as 500ms",
        (Unit::Count, _) => "a whole number such as 0",
    };
    let message = format!("the signal `{}` is measured as {expected}", signal.word());
    findings.mistake(setting.place, message);
    None
}

/// `None` of one whose source does not exist yet.
const fn signal(word: written::Signal) -> Option<Signal> {
    use written::Signal as Written;
    Some(match word {
        Written::ErrorRate => Signal::ErrorRate,
        Written::ResponseTimeP50 => Signal::ResponseTime(Statistic::P50),
        Written::ResponseTimeP95 => Signal::ResponseTime(Statistic::P95),
        Written::ResponseTimeP99 => Signal::ResponseTime(Statistic::P99),
        Written::ResponseTimeMean => Signal::ResponseTime(Statistic::Mean),
        Written::FirstTokenP99 => Signal::FirstTokenP99,
        Written::DiskUsage => Signal::DiskUsage,
        Written::CpuUsage => Signal::CpuUsage,
        Written::MemoryUsage => Signal::MemoryUsage,
        Written::RateLimitedShare => Signal::RateLimitedShare,
        Written::SignatureFailureShare => Signal::SignatureFailureShare,
        Written::CacheHitRatio => Signal::CacheHitRatio,
        Written::SpoolOldest => Signal::SpoolOldest,
        Written::EventsDropped => Signal::EventsDropped,
        Written::DependencyDown => Signal::DependencyDown,
        Written::CircuitOpen => return None,
    })
}

const fn per(word: written::Per) -> Per {
    match word {
        written::Per::Route => Per::Route,
        written::Per::Platform => Per::Platform,
        written::Per::Model => Per::Model,
        written::Per::Backend => Per::Backend,
    }
}

/// A rule over what this configuration does not have is right and never raises anything.
fn warn_of_missing_sources(file: &raw::File, findings: &mut Findings) {
    let ships = file
        .events
        .value()
        .is_some_and(|events| events.elasticsearch.value().is_some());
    let rules = file.alerts.value().and_then(|alerts| alerts.rules.value());
    for rule in rules.map_or(&[][..], |rules| &rules.0) {
        let signal = &rule.value.signal;
        if !ships && matches!(signal.get(), Some(written::Signal::SpoolOldest)) {
            let does = "is never raised: without `events.elasticsearch` there is no spool";
            findings.warn(&signal.path, signal.place, does);
        }
    }
}

fn alertmanager(raw: &written::Alertmanager, findings: &mut Findings) -> Option<Alertmanager> {
    let user = raw.username.value().map(|text| text.0.as_str());
    let user = user.filter(|user| !user.is_empty());
    let password = raw.password.value();
    let authorization = match (user, password) {
        (Some(user), password) => {
            let password = password.map_or("", |secret| secret.0.as_str());
            let pair = STANDARD.encode(format!("{user}:{password}"));
            HeaderValue::from_str(&format!("Basic {pair}")).ok()
        }
        (None, Some(_)) => {
            findings.mistake(
                raw.password.place,
                "`username` is missing (or comes out empty): a password alone says nothing",
            );
            return None;
        }
        (None, None) => bearer(&raw.token, findings)?,
    };
    if user.is_some() && raw.token.value().is_some() {
        let message = "there is a `username` as well: give one of them";
        findings.mistake(raw.token.place, message);
        return None;
    }
    Some(Alertmanager {
        urls: urls(raw, findings)?,
        authorization: authorization.map(secret),
    })
}

fn urls(raw: &written::Alertmanager, findings: &mut Findings) -> Option<Vec<String>> {
    let urls = &raw.urls.value()?.0;
    let mut seen: Vec<String> = Vec::new();
    for at in urls {
        let url = at.value.0.trim_end_matches('/').to_owned();
        let wrong = if url.contains(['?', '#']) {
            "an address of Alertmanager has no query and no fragment"
        } else if url.contains("/api/v") {
            "weir adds /api/v2/alerts by itself: leave the path of the API out"
        } else if seen.contains(&url) {
            "this address stands here already; each is told once"
        } else {
            seen.push(url);
            continue;
        };
        findings.mistake(at.place, wrong);
        return None;
    }
    Some(seen)
}

fn webhook(raw: &written::Webhook, findings: &mut Findings) -> Option<Option<Webhook>> {
    let authorization = bearer(&raw.token, findings)?;
    let url = raw.url.value().map(|url| url.0.clone());
    if url.is_none() && raw.token.value().is_some() {
        findings.mistake(raw.token.place, "`token` is for `url`, which is missing");
        return None;
    }
    Some(url.map(|url| Webhook {
        url,
        authorization: authorization.map(secret),
    }))
}

fn secret(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// `Some(None)` when there is no token.
fn bearer(token: &Setting<Secret>, findings: &mut Findings) -> Option<Option<HeaderValue>> {
    let Some(text) = token.value().map(|secret| secret.0.as_str()) else {
        return Some(None);
    };
    let is_token = text.bytes().all(|byte| byte.is_ascii_graphic());
    let value = HeaderValue::from_str(&format!("Bearer {text}"));
    let Some(value) = value.ok().filter(|_| is_token) else {
        findings.mistake(
            token.place,
            "a token is one line of printable ASCII without spaces",
        );
        return None;
    };
    Some(Some(value))
}

fn feishu(raw: &written::Alerts, findings: &mut Findings) -> Option<Option<FeishuBot>> {
    let Some(bot) = raw.feishu.value() else {
        return Some(None);
    };
    let Some(webhook) = bot.webhook.value() else {
        if bot.secret.value().is_some() {
            findings.mistake(
                bot.secret.place,
                "`secret` signs messages to `webhook`, which is missing",
            );
            return None;
        }
        return Some(None);
    };
    Some(Some(FeishuBot {
        webhook: webhook.0.clone(),
        secret: bot.secret.value().map(|secret| secret.0.clone()),
    }))
}
