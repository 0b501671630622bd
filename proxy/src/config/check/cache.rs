//! `routes[].cache`.

use std::time::Duration;

use crate::cache;
use crate::cache::unless::{ToolCalls, Unless};
use crate::config::raw::cache::{Cache, Scope};
use crate::config::raw::route::{MethodName, Route};
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::signature;

mod ignored;

/// No response of a backend, its head included, is stored where less may be.
const RESPONSE_BYTES_LEAST: u64 = 1024;

/// The caches of a route: one at most.
#[derive(Default)]
pub(super) struct Caches {
    pub(super) answers: Option<cache::Config>,
    pub(super) http: Option<cache::http::Config>,
}

/// Whether a route verifies its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
enum RouteAccess {
    Open,
    Signed,
}

/// The caches of a route, whose signature has been checked. `None` when invalid.
pub(super) fn check(
    route: &Route,
    schemes: &[signature::Config],
    diagnostics: &mut Diagnostics,
) -> Option<Caches> {
    let Some(raw) = route.cache.value() else {
        return Some(Caches::default());
    };
    let access = match route.signature.value() {
        None => RouteAccess::Open,
        Some(_) => RouteAccess::Signed,
    };
    let ignore_headers = ignored::headers(raw, schemes, diagnostics);
    let ignore = ignored::pointers(raw, diagnostics);
    let http = raw.http.get()?;
    if http && raw.answers.get() == Some(true) {
        diagnostics.error(
            raw.http.place,
            "`answers` and `http` are different kinds of cache; choose one of them",
        );
    }
    if http {
        warn_of_unused(raw, access, diagnostics);
    }
    let is_kept = raw.answers.get().unwrap_or(!http);
    if is_kept || http {
        warn_of_nothing_stored(route, raw, http, diagnostics);
    }
    let ttl = raw.ttl.get()?.0;
    let memory_bytes = raw.memory.get()?.0;
    let scope = match raw.scope.get()? {
        Scope::Client => cache::Scope::Client,
        Scope::Route => cache::Scope::Route,
    };
    let coalescing = match raw.coalesce.get()? {
        true => cache::Coalescing::Enabled,
        false => cache::Coalescing::Disabled,
    };
    let unless = unless(raw)?;
    let answers = is_kept.then(|| cache::Config {
        memory_bytes,
        ttl: ttl.max(Duration::from_millis(1)),
        scope,
        ignore_headers,
        ignore,
        unless,
        coalescing,
    });
    let http = http.then_some(cache::http::Config {
        memory_bytes,
        // An open route knows no clients: an HTTP cache per address would cache nothing.
        scope: match access {
            RouteAccess::Open => cache::Scope::Route,
            RouteAccess::Signed => scope,
        },
        coalescing,
    });
    Some(Caches { answers, http })
}

/// A cache that stores nothing.
fn warn_of_nothing_stored(route: &Route, raw: &Cache, http: bool, diagnostics: &mut Diagnostics) {
    let (method, name, instead) = match http {
        true => (MethodName::Get, "GET", "add it"),
        false => (
            MethodName::Post,
            "POST",
            "add it, or write `http: true` for an HTTP cache",
        ),
    };
    if let Some(methods) = route.methods.value()
        && !methods.0.iter().any(|at| at.value == method)
    {
        let does = format!(
            "has no effect: only responses to {name} are stored, which `methods` does not list; {instead}"
        );
        diagnostics.warn(&route.cache.path, route.cache.key_place, &does);
    }
    let response_bytes_max = raw.memory.get().map(|memory| memory.0 / 8);
    if let Some(bytes) = response_bytes_max.filter(|bytes| *bytes < RESPONSE_BYTES_LEAST) {
        let does = format!(
            "is too small: a response with its head must fit into an eighth of it, {bytes} bytes; \
             write a size such as 100MiB"
        );
        diagnostics.warn(&raw.memory.path, raw.memory.place, &does);
    }
}

/// Keys that have no effect on an HTTP cache.
fn warn_of_unused(raw: &Cache, access: RouteAccess, diagnostics: &mut Diagnostics) {
    let lifetime = "the headers of a response state how long it is fresh";
    let headers = "the `Vary` of a response names the headers that matter";
    let body = "it reads no request bodies";
    warn_if_written(&raw.ttl, lifetime, diagnostics);
    warn_if_written(&raw.ignore_headers, headers, diagnostics);
    warn_if_written(&raw.ignore, body, diagnostics);
    warn_if_written(&raw.unless, body, diagnostics);
    if access == RouteAccess::Open && raw.scope.get() == Some(Scope::Client) {
        let clients = "a route without `signature` shares its responses among all clients; \
                       add `signature`, or write `scope: route`";
        warn_if_written(&raw.scope, clients, diagnostics);
    }
}

fn warn_if_written<T>(setting: &Setting<T>, instead: &str, diagnostics: &mut Diagnostics) {
    if setting.is_written() {
        let does = format!("has no effect on an HTTP cache; {instead}");
        diagnostics.warn(&setting.path, setting.key_place, &does);
    }
}

/// `None` when invalid.
fn unless(raw: &Cache) -> Option<Unless> {
    let Some(unless) = raw.unless.value() else {
        return Some(Unless::default());
    };
    Some(Unless {
        temperature_above: unless.temperature_above.get().map(|above| above.0),
        tools: match unless.tools.get()? {
            true => ToolCalls::Bypass,
            false => ToolCalls::Cached,
        },
    })
}
