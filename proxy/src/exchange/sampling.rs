//! The settings of event sampling. A request keeps those of the generation that it met; `record` applies them.

use std::time::Duration;

/// The checked `events.sample` and `events.slow`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EventSampling {
    /// The share of successful requests that have an event, from 0 to 1.
    pub share: f64,
    /// A request that took longer counts as slow, and always has an event.
    pub slow: Duration,
}

impl EventSampling {
    /// Every request has an event.
    pub const ALL: EventSampling = EventSampling {
        share: 1.0,
        slow: Duration::ZERO,
    };
}
