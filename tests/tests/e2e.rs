//! The end-to-end tests: the real `weir` between a client that may misbehave and a backend that
//! may fail. One binary; the modules follow the way of a request.
//!
//! They need the binary: `cargo build -p weir --bin weir`, or `WEIR_BIN`.
#![expect(
    clippy::expect_used,
    reason = "these are tests: what is missing ends them with a message"
)]

#[path = "e2e"]
mod way {
    mod listener;

    mod route;

    mod body;

    mod signature;

    mod limit;

    mod cache;

    mod backend;

    mod passed;

    mod alike;

    mod answer;

    mod sdks;

    mod ask_usage;

    mod estimates;

    mod calls;

    mod outcome;

    mod record;

    mod spans;

    mod content;

    mod ship;

    mod index;
}

#[path = "e2e"]
mod operator {
    mod admin;

    mod stop;

    mod bad_config;

    mod commands;

    mod first_hour;

    mod dashboards;

    mod system;

    mod audit;

    mod alerts;

    mod load;
}
