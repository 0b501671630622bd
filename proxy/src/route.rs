//! The route stage: determines route, platform, client address and trace, and whether the source address may
//! use the route.
//!
//! It decides on the head alone and never touches a body. The first route whose path matches
//! decides; routes with exactly the same path are distinguished by method. Only canonical paths are
//! matched (see [`path`]), and the canonical path is sent to the backend, so that weir and the
//! backend agree on the resource that a request names; where a backend is more lenient, a
//! protected route guards the variants of its path (see [`guard`]).

use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;

pub mod address;
pub mod guard;
pub mod path;

use guard::Requirements;

#[cfg(test)]
mod tests;

/// The requests that a route matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub path: PathPattern,
    /// Empty: every method.
    pub methods: Vec<Method>,
    /// Source networks; empty: every address.
    pub allow: Vec<IpNet>,
}

impl Config {
    /// Whether a client at this address may use the route.
    #[must_use]
    pub fn admits(&self, address: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&address))
    }
}

/// A path in canonical form: exact, or everything that begins with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    Exact(String),
    Prefix(String),
}

impl PathPattern {
    /// Whether the pattern matches a canonical path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            PathPattern::Exact(exact) => exact == path,
            PathPattern::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }

    /// Whether the pattern matches every path that `other` matches.
    #[must_use]
    pub fn covers(&self, other: &PathPattern) -> bool {
        match (self, other) {
            (PathPattern::Exact(exact), PathPattern::Exact(path)) => exact == path,
            (PathPattern::Exact(_), PathPattern::Prefix(_)) => false,
            (PathPattern::Prefix(prefix), PathPattern::Exact(path) | PathPattern::Prefix(path)) => {
                path.starts_with(prefix.as_str())
            }
        }
    }
}

impl std::fmt::Display for PathPattern {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PathPattern::Exact(path) => formatter.write_str(path),
            PathPattern::Prefix(path) => write!(formatter, "{path}*"),
        }
    }
}

/// The methods that are listed for a route without `methods`.
const COMMON_METHODS: [&str; 7] = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"];

/// The routing table.
#[derive(Debug)]
pub struct Table {
    routes: Vec<Config>,
    /// In the order of each pattern's first route.
    groups: Vec<PatternGroup>,
    strictness: guard::Strictness,
}

/// The routes that share one pattern, in the order of the file; distinguished by method.
#[derive(Debug)]
struct PatternGroup {
    pattern: PathPattern,
    /// The pattern of the folded forms of its paths.
    folded: PathPattern,
    routes: Vec<usize>,
    /// The value of `Allow`; not used when a route of the group has every method.
    allow: String,
}

/// The result of looking up a path and a method.
#[derive(Debug, PartialEq, Eq)]
pub enum RouteMatch {
    /// The position of the route.
    Route(usize),
    NoRoute,
    /// The value of `Allow`.
    MethodNotAllowed(String),
}

impl Table {
    /// `requirements` states what each of `routes` requires beyond the source address, in the same order.
    #[must_use]
    pub fn new(routes: Vec<Config>, requirements: Requirements) -> Self {
        Table {
            groups: group(&routes),
            strictness: guard::Strictness::new(&routes, requirements),
            routes,
        }
    }

    /// The route for a canonical path (without query) and a method.
    ///
    /// Only the listed methods match: `GET` does not imply `HEAD`, and nothing implies `OPTIONS`. A method that none of
    /// the pattern's routes has is rejected here (RFC 9110, section 15.5.6) and never tried on a later, wider route.
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> RouteMatch {
        let Some(group) = self.groups.iter().find(|group| group.pattern.matches(path)) else {
            return RouteMatch::NoRoute;
        };
        self.take(group, method)
    }

    /// The route of a group with this method.
    fn take(&self, group: &PatternGroup, method: &Method) -> RouteMatch {
        let taker = group.routes.iter().copied().find(|&position| {
            let methods = &self.routes[position].methods;
            methods.is_empty() || methods.contains(method)
        });
        match taker {
            Some(position) => RouteMatch::Route(position),
            None => RouteMatch::MethodNotAllowed(group.allow.clone()),
        }
    }

    /// The methods of all routes: the value of `Allow` for `OPTIONS *` (RFC 9110, section 9.3.7).
    #[must_use]
    pub fn methods(&self) -> String {
        let mut methods: Vec<_> = match self.routes.iter().any(|route| route.methods.is_empty()) {
            true => COMMON_METHODS.to_vec(),
            false => vec!["OPTIONS"],
        };
        let listed = self.routes.iter().flat_map(|route| &route.methods);
        methods.extend(listed.map(Method::as_str));
        methods.sort_unstable();
        methods.dedup();
        methods.join(", ")
    }
}

fn group(routes: &[Config]) -> Vec<PatternGroup> {
    let mut groups: Vec<PatternGroup> = Vec::new();
    for (position, route) in routes.iter().enumerate() {
        match groups.iter_mut().find(|group| group.pattern == route.path) {
            Some(group) => group.routes.push(position),
            None => groups.push(PatternGroup {
                pattern: route.path.clone(),
                folded: route.path.folded(),
                routes: vec![position],
                allow: String::new(),
            }),
        }
    }
    for group in &mut groups {
        let mut methods: Vec<&str> = group
            .routes
            .iter()
            .flat_map(|&position| routes[position].methods.iter().map(Method::as_str))
            .collect();
        methods.sort_unstable();
        methods.dedup();
        group.allow = methods.join(", ");
    }
    groups
}
