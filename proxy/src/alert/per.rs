//! What a rule can tell apart.

/// What a rule tells apart: each value has a tier of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Per {
    Route,
    Platform,
    Model,
    Backend,
}

impl Per {
    pub const ALL: &'static [Per] = &[Per::Route, Per::Platform, Per::Model, Per::Backend];
    /// What a request has before a backend is asked: neither that nor a model.
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

    /// The other way round.
    #[must_use]
    pub fn of_label(label: &str) -> Option<Self> {
        Per::ALL.iter().copied().find(|per| per.label() == label)
    }
}
