//! What the requests of a generation occupy at one moment, for the metrics.

use std::sync::Arc;

/// What requests occupy at one moment.
#[derive(Clone, Debug, Default)]
pub struct Occupancy {
    /// Of bodies that are buffered or being read, with what is reserved for them.
    pub buffered_bytes: u64,
    pub routes: Vec<RouteOccupancy>,
    pub backends: Vec<OpenCircuitCount>,
}

/// How many endpoints of a backend have an open circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCircuitCount {
    pub backend: Arc<str>,
    pub endpoints: u64,
}

/// What one route occupies.
#[derive(Clone, Debug)]
pub struct RouteOccupancy {
    pub route: Arc<str>,
    /// Keys of its rate limits; `None` of a route without rate limits.
    pub limit_keys: Option<u64>,
    /// Requests that follow an equal one; `None` of a route without request coalescing.
    pub followers: Option<u64>,
    /// Slots of its `concurrency`; `None` of a route without a bound.
    pub in_use: Option<u64>,
}
