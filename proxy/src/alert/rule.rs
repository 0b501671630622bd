//! A checked rule: its signal, the traffic it applies to, and its thresholds.

use std::sync::Arc;

use super::per::Per;
use super::runbook;
use super::signal::Signal;
use super::tier::Thresholds;

/// A checked rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: Arc<str>,
    pub signal: &'static Signal,
    /// `None`: over all traffic.
    pub per: Option<Per>,
    pub thresholds: Thresholds,
    /// The URL of a runbook; `None`: the built-in one.
    pub runbook: Option<String>,
}

impl Rule {
    /// The runbook of its alerts: the configured one, else the built-in one of its name, else that of its signal.
    /// `console` is where the admin API is reached.
    #[must_use]
    pub fn runbook_url(&self, console: &str) -> String {
        if let Some(own) = &self.runbook {
            return own.clone();
        }
        let name = match runbook::page(&self.name) {
            Some(_) => &*self.name,
            None => self.signal.runbook.name,
        };
        format!("{console}/runbooks/{name}")
    }
}
