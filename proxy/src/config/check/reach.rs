//! Routes that no request can reach any more.
//!
//! The first route whose path matches decides; only routes with exactly the same path are distinguished
//! by method. A wider route that comes first therefore hides a narrower one whatever their methods.

use std::sync::Arc;

use http::Method;

use crate::config::Route;
use crate::config::raw::route::Route as RawRoute;
use crate::route::Config;
use crate::settings::diagnostic::Diagnostics;

pub(super) fn warn(routes: &[(Arc<Route>, &RawRoute)], diagnostics: &mut Diagnostics) {
    for (position, (route, raw)) in routes.iter().enumerate() {
        let earlier = routes[..position].iter().map(|(route, _)| &route.matching);
        if let Some(hiding) =
            hidden_by(&route.matching, earlier).and_then(|hiding| routes.get(hiding))
        {
            let (name, line) = (&hiding.0.name, hiding.1.name.place.line);
            let does = format!(
                "can never be reached: route `{name}` (line {line}) matches all its requests"
            );
            let path = raw.name.path.trim_end_matches(".name");
            diagnostics.warn(path, raw.name.place, &does);
        }
    }
}

/// Where encoded slashes are rejected, no route gets a path with one.
pub(super) fn warn_of_slashes(routes: &[(Arc<Route>, &RawRoute)], diagnostics: &mut Diagnostics) {
    for (config, raw) in routes {
        if config.matching.path.to_string().contains("%2F") {
            let does = "can never be reached: `paths.encoded_slash` rejects paths with %2F";
            diagnostics.warn(&raw.path.path, raw.path.place, does);
        }
    }
}

/// The position of the route that takes the last of the requests of `route`.
fn hidden_by<'r>(route: &Config, earlier: impl Iterator<Item = &'r Config>) -> Option<usize> {
    let mut methods_left: Vec<&Method> = route.methods.iter().collect();
    let mut is_same_path_seen = false;
    for (position, other) in earlier.enumerate() {
        if other.path == route.path {
            is_same_path_seen = true;
            methods_left.retain(|method| !other.methods.contains(method));
            let takes_all =
                other.methods.is_empty() || (methods_left.is_empty() && !route.methods.is_empty());
            if takes_all {
                return Some(position);
            }
        } else if !is_same_path_seen && other.path.covers(&route.path) {
            return Some(position);
        }
    }
    None
}
