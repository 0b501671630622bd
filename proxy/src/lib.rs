//! weir: a sidecar proxy that makes an existing AI assistant ready for production.
//!
//! The request pipeline:
//!
//! ```text
//! listener -> route -> body -> signature -> limit -> cache -> backend -> answer -> record
//! ```
//!
//! [`gateway`] shows the whole pipeline; stages write to the [`exchange`], which record reads.
//!
//! The modules below are grouped: start and configuration, the pipeline, the stages, everything that they use.

pub mod app;
pub mod config;

pub mod exchange;
pub mod gateway;
pub mod generation;
pub mod refusal;

pub mod answer;
pub mod backend;
pub mod body;
pub mod cache;
pub mod limit;
pub mod listener;
pub mod record;
pub mod route;
pub mod signature;

pub mod admin;
pub mod alert;
pub mod assistant;
pub mod audit;
mod backoff;
pub mod clock;
pub mod coding;
pub mod content;
pub mod demo;
mod ecs;
pub mod file_lock;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub(crate) mod handover_flag;
pub mod http;
pub mod log_throttle;
pub mod metrics;
pub mod model;
mod outbound;
pub mod random;
pub mod redis;
pub(crate) mod rotated;
mod settings;
pub mod ship;
pub mod system;
pub mod trace;
pub mod units;
pub mod worker;
