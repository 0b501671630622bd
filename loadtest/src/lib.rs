//! A load test that tells the truth: requests leave on a schedule, whatever the answers do, and their times
//! count from when they were due, so that a stall is seen by all who had to wait. What could not be sent in
//! time is told.
//!
//! ```text
//! run -> schedule -> pacer -> attack (goose's users) -> tally -> slo -> report
//!                              scenario, door
//! capacity: runs one after the other, each a process of its own
//! ```

pub mod attack;
pub mod capacity;
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
