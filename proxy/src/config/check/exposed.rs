//! Open routes that lead to the backend of a protected one.
//!
//! A protected route guards the variants of its path (see [`crate::route::guard`]), but no folding covers every backend. Where
//! an open route matches all paths around a protected one and leads to the same backend, a path that only the backend
//! treats as the protected one is forwarded without a signature.

use std::sync::Arc;

use http::Method;

use crate::config::Route;
use crate::config::raw::backend::Backend;
use crate::config::raw::route::Route as RawRoute;
use crate::route::PathPattern;
use crate::settings::diagnostic::Diagnostics;

pub(super) fn warn(
    routes: &[(Arc<Route>, &RawRoute)],
    backends: &[&Backend],
    diagnostics: &mut Diagnostics,
) {
    for (position, (open, raw)) in routes.iter().enumerate() {
        if !is_open(open) {
            continue;
        }
        let exposed = routes.iter().enumerate().find(|(other, (route, _))| {
            !is_open(route)
                && share_a_method(open, route)
                && match (service(backends, open), service(backends, route)) {
                    // With the same prefix, an open route that comes first hides the other, which has been
                    // reported, and routes with equal paths are distinguished by method.
                    (ours, theirs) if ours == theirs => {
                        *other < position
                            && open.matching.path != route.matching.path
                            && open.matching.path.covers(&route.matching.path)
                    }
                    (ours, theirs) => {
                        ours.leads_into(&open.matching.path, &theirs, &route.matching.path)
                    }
                }
        });
        if let Some((_, (exposed, place))) = exposed {
            let (name, line) = (&exposed.name, place.name.place.line);
            let does = format!(
                "is open and wider than the protected route `{name}` on line {line}, with the same \
                 backend: a path that this backend takes for one of that route's, and weir does not, \
                 passes here unchecked; add a `signature` or `allow`, or take a narrower path or \
                 another backend"
            );
            let path = raw.name.path.trim_end_matches(".name");
            diagnostics.warn(path, raw.name.place, &does);
        }
    }
}

/// Whether requests need neither a signature nor a known address.
fn is_open(route: &Route) -> bool {
    let is_everybody = |net: &ipnet::IpNet| net.prefix_len() == 0;
    let allow = &route.matching.allow;
    route.signature.is_empty() && (allow.is_empty() || allow.iter().any(is_everybody))
}

fn share_a_method(one: &Route, other: &Route) -> bool {
    let (ours, theirs) = (&one.matching.methods, &other.matching.methods);
    let takes = |method: &Method| theirs.is_empty() || theirs.contains(method);
    ours.is_empty() || ours.iter().any(takes)
}

/// The destination of a route's requests: two backends may be the same service.
#[derive(PartialEq, Eq)]
struct UpstreamService {
    endpoints: Vec<String>,
    path_prefix: String,
}

fn service(backends: &[&Backend], route: &Route) -> UpstreamService {
    let backend = backends.get(route.backend);
    let endpoints = backend.and_then(|backend| backend.endpoints.value());
    let endpoints = endpoints.map_or(&[][..], |list| &list.0).iter();
    let mut endpoints: Vec<String> = endpoints.map(|at| at.value.text.clone()).collect();
    endpoints.sort_unstable();
    let prefix = backend.and_then(|backend| backend.path_prefix.value());
    let prefix = prefix.map_or("", |prefix| prefix.0.as_str());
    UpstreamService {
        endpoints,
        path_prefix: prefix.trim_end_matches('/').to_owned(),
    }
}

impl UpstreamService {
    /// Whether paths of `path` here can be paths of `other` there, as the service sees them.
    fn leads_into(&self, path: &PathPattern, there: &UpstreamService, other: &PathPattern) -> bool {
        let shares = |endpoint: &String| there.endpoints.contains(endpoint);
        self.endpoints.iter().any(shares) && self.at(path).covers(&there.at(other))
    }

    fn at(&self, path: &PathPattern) -> PathPattern {
        let prefix = &self.path_prefix;
        match path {
            PathPattern::Exact(path) => PathPattern::Exact(format!("{prefix}{path}")),
            PathPattern::Prefix(path) => PathPattern::Prefix(format!("{prefix}{path}")),
        }
    }
}
