//! The harness of the end-to-end tests: the real `weir` as a child process, fake backends on real sockets, clients that
//! can also misbehave, independent signers, and the events and metrics that weir writes.
//!
//! Only [`wait`] sleeps, every wait has a deadline, and every port is chosen by the system. If a part cannot be set up,
//! its test fails with a message that states what is missing.
#![expect(
    clippy::expect_used,
    reason = "a failure of the harness must fail the test with a message"
)]

pub mod process;
pub mod proxy;
pub mod setup;

pub mod backend;
pub mod fault_proxy;
pub mod index;
pub mod node;

pub mod client;
pub mod codings;
pub mod collector;
pub mod disk;
pub mod frameworks;
pub mod http_cache_tests;
pub mod path_variants;
pub mod raw;
pub mod redis;
pub mod sdks;
pub mod sign;

pub mod alertmanager;
pub mod certs;
pub mod load;
pub mod metrics;
pub mod ports;
pub mod prometheus;
pub mod resources;
pub mod wait;
