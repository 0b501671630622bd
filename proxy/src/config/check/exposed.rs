//! Open routes that lead to the backend of a protected one.
//!
//! A protected route guards its look-alikes (see [`crate::route::guard`]), but no folding knows every
//! backend. Where an open route takes all paths around a protected one and leads to the same backend,
//! whatever that backend takes for the protected path, and weir does not, passes unsigned.

use std::sync::Arc;

use http::Method;

use crate::config::mistake::Findings;
use crate::config::raw::backend::Backend;
use crate::config::raw::route::Route;
use crate::route::Config;

pub(super) fn warn(
    routes: &[(Arc<Config>, &Route)],
    backends: &[&Backend],
    findings: &mut Findings,
) {
    for (position, (open, raw)) in routes.iter().enumerate() {
        // One that stands before the protected route hides it, which is told already.
        let exposed = routes[..position].iter().find(|(route, _)| {
            is_open(open)
                && !is_open(route)
                && open.path != route.path
                && open.path.covers(&route.path)
                && share_a_method(open, route)
                && share_an_endpoint(backends, open.backend, route.backend)
        });
        if let Some((_, exposed)) = exposed {
            let line = exposed.name.place.line;
            let does = format!(
                "is open, and around the protected route on line {line} with the same backend: what \
                 that backend takes for a path of the protected route, and weir does not, passes \
                 here; add a `signature` or `allow`, or take a narrower path or another backend"
            );
            let path = raw.name.path.trim_end_matches(".name");
            findings.warn(path, raw.name.place, &does);
        }
    }
}

/// Whether anybody may send anything.
fn is_open(route: &Config) -> bool {
    let is_everybody = |net: &ipnet::IpNet| net.prefix_len() == 0;
    route.signature.is_empty() && (route.allow.is_empty() || route.allow.iter().any(is_everybody))
}

fn share_a_method(one: &Config, other: &Config) -> bool {
    let takes = |route: &Config, method: &Method| {
        route.methods.is_empty() || route.methods.contains(method)
    };
    one.methods.is_empty() || one.methods.iter().any(|method| takes(other, method))
}

/// Two names may stand for one service.
fn share_an_endpoint(backends: &[&Backend], one: usize, other: usize) -> bool {
    if one == other {
        return true;
    }
    let (Some(one), Some(other)) = (backends.get(one), backends.get(other)) else {
        return false;
    };
    let prefix = |backend: &Backend| {
        let prefix = backend.path_prefix.value().map(|prefix| prefix.0.as_str());
        prefix.unwrap_or_default().trim_end_matches('/').to_owned()
    };
    let endpoints = |backend: &Backend| -> Vec<String> {
        let endpoints = backend.endpoints.value().map_or(&[][..], |list| &list.0);
        endpoints.iter().map(|at| at.value.text.clone()).collect()
    };
    let others = endpoints(other);
    prefix(one) == prefix(other)
        && endpoints(one)
            .iter()
            .any(|endpoint| others.contains(endpoint))
}
