//! Stage seven: passes the answer on as it comes and reads from it what the record needs.

pub mod sse;
pub mod usage;
