//! The labels by which a rule can be split.

use serde::{Deserialize, Serialize};

/// A label of requests. Each of its values has a tier of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Per {
    Route,
    Platform,
    Model,
    Backend,
}

impl Per {
    pub const ALL: &'static [Per] = &[Per::Route, Per::Platform, Per::Model, Per::Backend];
    /// The labels of requests that may never have reached a backend.
    pub const OF_ROUTES: &'static [Per] = &[Per::Route, Per::Platform];

    /// The label of metrics and alerts.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Per::Route => "route",
            Per::Platform => "platform",
            Per::Model => "model",
            Per::Backend => "backend",
        }
    }

    /// The reverse.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        Per::ALL.iter().copied().find(|per| per.label() == label)
    }
}
