//! A checked rule: what it measures, over which traffic, and when its tier changes.

use std::sync::Arc;

use super::per::Per;
use super::runbook;
use super::signal::Signal;
use super::tier::Lines;

/// A checked rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: Arc<str>,
    pub signal: &'static Signal,
    /// `None`: over all traffic.
    pub per: Option<Per>,
    pub lines: Lines,
    /// A page of one's own for those who get the alert; `None`: the one that weir brings along.
    pub runbook: Option<String>,
}

impl Rule {
    /// Where the runbook of its alerts is: its own page, else the one of its name, else that of its signal.
    /// `console` is where the admin side is reached.
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
