//! A load test that tells the truth: requests leave on a schedule, whatever the answers do, and their times
//! count from when they were due, so that a stall is seen by all who had to wait. What could not be sent in
//! time is told.
//!
//! ```text
//! schedule -> pacer -> attack (goose's users) -> tally -> slo -> report
//!                        scenario, door
//! ```

pub mod attack;
pub mod door;
pub mod pacer;
pub mod report;
pub mod scenario;
pub mod schedule;
pub mod sidecar;
pub mod slo;
pub mod tally;
pub mod wanted;
