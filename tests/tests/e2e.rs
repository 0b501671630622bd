//! The end-to-end tests: the real `weir` between a client that may misbehave and a backend that may fail. One binary; the
//! modules follow the stages of a request.
//!
//! They need the binary: `cargo build -p weir --bin weir`, or `WEIR_BIN`.
#![expect(clippy::expect_used, reason = "a test fails with the message")]

#[path = "e2e"]
mod request_path {
    mod listener;

    mod route;

    mod body;

    mod signature;

    mod limit;

    mod cache;

    mod backend;

    mod pass_through;

    mod body_modes;

    mod answer;

    mod sdks;

    mod ask_usage;

    mod estimates;

    mod model_calls;

    mod outcome;

    mod record;

    mod tracing;

    mod content;

    mod ship;

    mod index;
}

#[path = "e2e"]
mod operations {
    mod admin;

    mod reload;

    mod continuity;

    mod shutdown;

    mod upgrade;

    mod invalid_config;

    mod commands;

    mod first_hour;

    mod dashboards;

    mod system;

    mod audit;

    mod alerts;

    mod load;
}
