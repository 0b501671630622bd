//! One checked route: which requests it takes, and the settings of every stage they pass through.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::route::guard::Requirements;
use crate::{cache, limit, route, signature};

/// One checked route.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    pub name: Arc<str>,
    /// Its path as written: a trailing `*` marks a prefix.
    pub path: Arc<str>,
    /// Which requests it takes.
    pub matching: route::Config,
    /// Position in `Config::backends`.
    pub backend: usize,
    /// The label; `api` unless the file or a platform's scheme sets another.
    pub platform: Arc<str>,
    /// Empty: no signature is required. Else the first scheme whose headers are present decides.
    pub signature: Vec<signature::Config>,
    pub rate_limits: Vec<limit::Config>,
    /// Requests at once.
    pub concurrency: Option<usize>,
    pub cache: Option<cache::Config>,
    /// The HTTP cache; never beside `cache`.
    pub http_cache: Option<cache::http::Config>,
    /// The request header that names the conversation.
    pub conversation_header: HeaderName,
    pub body_bytes: u64,
    pub body_timeout: Duration,
}

impl Route {
    /// What routes require of a request, compared for the guard of path variants.
    #[must_use]
    pub fn requirements(routes: &[Arc<Route>]) -> Requirements {
        let signatures: Vec<_> = routes.iter().map(|route| &route.signature[..]).collect();
        let limited = routes
            .iter()
            .map(|route| !route.rate_limits.is_empty() || route.concurrency.is_some());
        Requirements::compare(
            &signatures,
            limited.collect(),
            signature::Config::is_stricter,
        )
    }
}
