//! The routes of the target and how to authenticate to them, read from the target's own configuration.

use std::sync::Arc;

use http::Method;
use weir::config::{self, Config};
use weir::route::PathPattern;
use weir::signature::client_signer::{Distinct, Signer};

/// The path of the OpenAI chat completions API.
const CHAT_PATH: &str = "/v1/chat/completions";

/// A route of the target, with a signer for each client and scheme that weir can sign for.
#[derive(Clone, Debug)]
pub struct TargetRoute {
    pub name: Arc<str>,
    pub platform: Arc<str>,
    pub method: Method,
    pub path: String,
    /// Empty for a route without authentication.
    pub signers: Vec<Signer>,
    /// The largest request body that the route accepts.
    pub body_bytes_max: u64,
    pub rate_limits: Vec<RouteLimit>,
}

/// A rate limit of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteLimit {
    pub name: Arc<str>,
    /// Requests per second.
    pub rate: f64,
    /// The clients it applies to; empty: all clients.
    clients: Vec<Arc<str>>,
}

/// The routes of a configuration, and warnings about schemes that cannot be signed for.
pub type LoadedRoutes = (Vec<TargetRoute>, Vec<String>);

/// Why no routes could be read.
#[derive(Debug, thiserror::Error)]
pub enum RoutesError {
    #[error("{0}")]
    InvalidConfig(String),
    #[error("no route of {0} accepts a POST that weir-load can sign")]
    NoUsableRoute(String),
}

impl TargetRoute {
    /// The signer to use by default: one whose signatures are valid for any number of requests, if there is one.
    #[must_use]
    pub fn signer(&self) -> Option<&Signer> {
        let mut signers = self.signers.iter();
        let unlimited = signers.find(|signer| signer.distinct == Distinct::Always);
        unlimited.or(self.signers.first())
    }

    /// The lowest rate limit that applies to the client of [`TargetRoute::signer`].
    #[must_use]
    pub fn rate_limit(&self) -> Option<&RouteLimit> {
        let client = self.signer().and_then(Signer::client);
        let applies = |limit: &&RouteLimit| {
            let mut clients = limit.clients.iter();
            limit.clients.is_empty() || clients.any(|one| Some(&**one) == client)
        };
        let limits = self.rate_limits.iter().filter(applies);
        limits.min_by(|one, other| one.rate.total_cmp(&other.rate))
    }
}

/// The routes of a target without a configuration: unsigned chat requests.
#[must_use]
pub fn default_routes() -> Vec<TargetRoute> {
    vec![TargetRoute {
        name: "chat".into(),
        platform: "api".into(),
        method: Method::POST,
        path: CHAT_PATH.to_owned(),
        signers: Vec::new(),
        body_bytes_max: u64::MAX,
        rate_limits: Vec::new(),
    }]
}

/// The routes in a configuration file, in its order.
///
/// # Errors
/// An invalid configuration, or one without a route to send requests to.
pub fn from_config_file(path: &std::path::Path) -> Result<LoadedRoutes, RoutesError> {
    let loaded =
        config::load(path).map_err(|errors| RoutesError::InvalidConfig(errors.to_string()))?;
    let (routes, warnings) = from_config(&loaded.config);
    match routes.is_empty() {
        true => Err(RoutesError::NoUsableRoute(path.display().to_string())),
        false => Ok((routes, warnings)),
    }
}

fn from_config(config: &Config) -> LoadedRoutes {
    let mut warnings = Vec::new();
    let mut routes = Vec::new();
    for route in &config.routes {
        if !route.matching.methods.is_empty() && !route.matching.methods.contains(&Method::POST) {
            continue;
        }
        let signers = signers(route, &mut warnings);
        if signers.is_empty() && !route.signature.is_empty() {
            continue;
        }
        routes.push(TargetRoute {
            name: route.name.clone(),
            platform: route.platform.clone(),
            method: Method::POST,
            path: example_path(&route.matching.path),
            signers,
            body_bytes_max: route.body_bytes,
            rate_limits: route.rate_limits.iter().map(route_limit).collect(),
        });
    }
    (routes, warnings)
}

fn route_limit(config: &weir::limit::Config) -> RouteLimit {
    RouteLimit {
        name: config.name.clone(),
        rate: f64::from(config.rate) / config.period.as_secs_f64(),
        clients: config.clients.clone(),
    }
}

/// A path that the pattern matches.
fn example_path(pattern: &PathPattern) -> String {
    match pattern {
        PathPattern::Exact(path) => path.clone(),
        PathPattern::Prefix(prefix) if CHAT_PATH.starts_with(prefix.as_str()) => {
            CHAT_PATH.to_owned()
        }
        PathPattern::Prefix(prefix) => format!("{prefix}x"),
    }
}

fn signers(route: &weir::config::Route, warnings: &mut Vec<String>) -> Vec<Signer> {
    let mut signers = Vec::new();
    for config in &route.signature {
        match Signer::of(config) {
            Ok(found) => signers.extend(found),
            Err(reason) => warnings.push(format!("route {}: {reason}", route.name)),
        }
    }
    signers
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn load(routes: &str) -> LoadedRoutes {
        let text = format!(
            "backends: [{{name: a, endpoints: ['http://127.0.0.1:1']}}]\nroutes:\n{routes}"
        );
        let loaded = config::parse(&text, Path::new("weir.yaml"), &|_| None);
        from_config(&loaded.expect("a configuration").config)
    }

    #[test]
    fn routes_have_a_signer_for_every_supported_scheme() {
        let (routes, warnings) = load(
            "  - {name: chat, path: /v1/*, backend: a, signature: [{scheme: hmac, clients: [{name: w, secrets: [s3]}]}, {scheme: bearer, clients: [{name: b, secrets: [k]}]}], rate_limits: [{name: l, rate: 1/s, by: client}]}
  - {name: bot, path: /hooks/feishu, backend: a, signature: {scheme: feishu, secrets: [e]}}
  - {name: get, path: /get, methods: [GET], backend: a}
  - {name: odd, path: /odd, backend: a, signature: {scheme: hmac, secrets: [x], prefix: 'v2='}}
  - {name: rest, path: /*, backend: a}
",
        );
        let found: Vec<_> = routes
            .iter()
            .map(|route| {
                (
                    &*route.name,
                    &*route.path,
                    route.signers.len(),
                    !route.rate_limits.is_empty(),
                )
            })
            .collect();
        assert_eq!(
            found,
            [
                ("chat", "/v1/chat/completions", 2, true),
                ("bot", "/hooks/feishu", 1, false),
                ("rest", "/v1/chat/completions", 0, false),
            ]
        );
        assert!(warnings[0].contains("route odd"));
        let signed = routes[0].signers[0]
            .headers(0, "id-1", b"{}")
            .expect("headers");
        assert!(signed.contains(&("X-Weir-Key".to_owned(), "w".to_owned())));
        assert!(!format!("{routes:?}").contains("s3"));
    }
}
