//! Stage one: which route, which platform, which client address, which trace; and whether the
//! source address may use the route.
//!
//! It decides on the head alone and never touches a body. The first route whose path matches
//! decides; routes with exactly the same path are told apart by method.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use ipnet::IpNet;

use crate::{cache, limit, signature};

pub mod address;
pub mod path;
pub mod trace;

/// One checked route.
#[derive(Clone, Debug)]
pub struct Config {
    pub name: Arc<str>,
    pub path: PathPattern,
    /// Empty: every method.
    pub methods: Vec<Method>,
    /// Position in `Config::backends`.
    pub backend: usize,
    /// The label; `api` unless the file or a platform's scheme says otherwise.
    pub platform: Arc<str>,
    /// Source networks; empty: every address.
    pub allow: Vec<IpNet>,
    /// Empty: nobody has to sign. Else the first scheme whose headers are there decides.
    pub signature: Vec<signature::Config>,
    pub rate_limits: Vec<limit::Config>,
    /// Requests at once.
    pub concurrency: Option<usize>,
    pub cache: Option<cache::Config>,
    pub body_bytes: u64,
    pub body_timeout: Duration,
}

/// A path in canonical form: exact, or everything that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    Exact(String),
    Prefix(String),
}

/// All routes, ready to be asked.
#[derive(Debug)]
pub struct Table {
    routes: Vec<Arc<Config>>,
}

/// What the table says to a path and method.
#[derive(Debug, PartialEq, Eq)]
pub enum Match {
    /// The position of the route.
    Route(usize),
    NoRoute,
    /// The value of `Allow`.
    MethodNotAllowed(String),
}

impl Table {
    #[must_use]
    pub fn new(routes: Vec<Arc<Config>>) -> Self {
        Table { routes }
    }

    /// The route for a canonical path (without query) and a method.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Match {
        let _ = (method, path, &self.routes);
        todo!("route helper")
    }
}
