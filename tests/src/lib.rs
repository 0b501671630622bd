//! The harness of the end-to-end tests: the real `weir` as a child process, fake backends on real
//! sockets, clients that can also misbehave, signers of their own, and the events and metrics that
//! weir leaves behind.
//!
//! Nothing here sleeps but [`wait`], every wait has a deadline, and every port is chosen by the
//! system. A part that cannot be set up ends its test with a message that says what was missing.
#![expect(
    clippy::expect_used,
    reason = "a harness that cannot do its part must end the test, and say why"
)]

pub mod process;
pub mod proxy;
pub mod setup;

pub mod backend;
pub mod index;
pub mod node;

pub mod client;
pub mod codings;
pub mod collector;
pub mod disk;
pub mod frameworks;
pub mod path_variants;
pub mod raw;
pub mod sdks;
pub mod sign;

pub mod alertmanager;
pub mod certs;
pub mod load;
pub mod metrics;
pub mod ports;
pub mod prometheus;
pub mod wait;
