//! The pooled client towards a backend: one a worker, so that a connection never changes threads
//! and no lock is shared.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Config;
use super::connector::{Connect, Connector};

/// A client; cloning shares its pool.
pub type Client = HyperClient<Connector, Full<Bytes>>;

thread_local! {
    static CLIENTS: RefCell<HashMap<u64, Client>> = RefCell::default();
}

/// This worker's client for the backend `id`.
#[must_use]
pub fn of_this_worker(id: u64, config: &Config, connect: &Connect) -> Client {
    CLIENTS.with_borrow_mut(|clients| {
        clients
            .entry(id)
            .or_insert_with(|| build(config, connect))
            .clone()
    })
}

fn build(config: &Config, connect: &Connect) -> Client {
    HyperClient::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(config.pool_idle_timeout)
        .pool_max_idle_per_host(config.pool_idle_connections)
        .set_host(false)
        .build(connect.connector(config.connect_timeout))
}
