//! An open-model load generator: requests are sent at an arrival rate that does not depend on responses, and latency is
//! measured from when each request was due. A stall of the target therefore affects every request that had to wait for
//! it (no coordinated omission). Requests that could not be sent in time are reported as unsent.
//!
//! ```text
//! run -> schedule -> pacer -> attack (users of goose) -> stats -> slo -> report
//!                               scenario <- routes
//! capacity: a series of runs, each in its own process
//! ```

pub mod attack;
pub mod capacity;
pub mod exit_code;
mod output;
pub mod pacer;
pub mod progress;
pub mod report;
pub mod request;
pub mod routes;
pub mod run;
pub mod scenario;
pub mod schedule;
pub mod sidecar;
pub mod slo;
pub mod stats;
pub mod target;
