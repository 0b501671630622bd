//! Alerts in three tiers: warning, critical and recovery.
//!
//! It is a side service: it reads what the way of a request counts, and nothing waits for it.

pub mod tier;
