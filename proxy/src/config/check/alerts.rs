//! `alerts`: what can be checked before any rule is looked at.

use super::refuse_duplicates;
use crate::config::declare::Word;
use crate::config::decode::Setting;
use crate::config::mistake::Findings;
use crate::config::raw::alerts::{Alerts, Rule, Signal};
use crate::config::values::Threshold;

pub(super) fn check(raw: &Alerts, findings: &mut Findings) {
    let rules = raw.rules.value().map_or(&[][..], |rules| &rules.0);
    let named = rules
        .iter()
        .filter_map(|at| Some((at.value.name.value()?.0.as_str(), at.value.name.place)));
    refuse_duplicates("rule", named, findings);
    for rule in rules {
        thresholds(&rule.value, findings);
    }
    if let Some(bot) = raw.feishu.value()
        && bot.secret.value().is_some()
        && bot.webhook.is_absent()
    {
        findings.mistake(
            bot.secret.place,
            "`secret` signs messages to `webhook`, which is missing",
        );
    }
}

fn thresholds(rule: &Rule, findings: &mut Findings) {
    let Some(signal) = rule.signal.get() else {
        return;
    };
    let mut kinds_are_right = true;
    for setting in [&rule.warning, &rule.critical, &rule.recovery] {
        kinds_are_right &= kind(signal, setting, findings).is_some();
    }
    if !kinds_are_right {
        return;
    }
    let (warning, critical) = (rule.warning.get(), rule.critical.get());
    if warning > critical {
        findings.mistake(
            rule.warning.place,
            "`warning` lies above `critical`; the order is recovery <= warning <= critical",
        );
    }
    if rule.recovery.get() > warning {
        findings.mistake(
            rule.recovery.place,
            "`recovery` lies above `warning`; the order is recovery <= warning <= critical",
        );
    }
}

/// A share for a share, a duration for a duration.
fn kind(signal: Signal, setting: &Setting<Threshold>, findings: &mut Findings) -> Option<()> {
    let expected = match (signal, setting.get()?) {
        (Signal::ErrorRate | Signal::DiskUsage, Threshold::Time(_)) => "a share such as 1%",
        (Signal::ResponseTimeP99, Threshold::Share(_)) => "a duration such as 500ms",
        _ => return Some(()),
    };
    let message = format!("the signal `{}` is measured as {expected}", signal.word());
    findings.mistake(setting.place, message);
    None
}
