//! A checked rule: what it measures, over which traffic, and when its tier changes.

use std::sync::Arc;

use super::per::Per;
use super::signal::Signal;
use super::tier::Lines;

/// A checked rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub name: Arc<str>,
    pub signal: Signal,
    /// `None`: over all traffic.
    pub per: Option<Per>,
    pub lines: Lines,
    /// A page of one's own for those who get the alert; `None`: the one that weir brings along.
    pub runbook: Option<String>,
}
