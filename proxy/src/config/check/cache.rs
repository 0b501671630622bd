//! `routes[].cache`.

use std::time::Duration;

use http::HeaderName;

use super::refuse_duplicates;
use crate::cache;
use crate::config::raw::route::{Cache, Scope};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::Placed;

/// `None` when invalid; `Some(None)` when no responses are stored.
pub(super) fn check(raw: &Cache, diagnostics: &mut Diagnostics) -> Option<Option<cache::Config>> {
    let ignore_headers = ignore_headers(raw, diagnostics);
    let http = raw.http.get()?;
    if http && raw.answers.get() == Some(true) {
        diagnostics.error(
            raw.http.place,
            "`answers` and `http` are different kinds of cache; choose one of them",
        );
    }
    let is_kept = raw.answers.get().unwrap_or(!http);
    let ttl = raw.ttl.get()?.0;
    let config = cache::Config {
        memory_bytes: raw.memory.get()?.0,
        ttl: ttl.max(Duration::from_millis(1)),
        scope: match raw.scope.get()? {
            Scope::Client => cache::Scope::Client,
            Scope::Route => cache::Scope::Route,
        },
        ignore_headers,
        coalescing: match raw.coalesce.get()? {
            true => cache::Coalescing::Enabled,
            false => cache::Coalescing::Disabled,
        },
    };
    Some(is_kept.then_some(config))
}

fn ignore_headers(raw: &Cache, diagnostics: &mut Diagnostics) -> Vec<HeaderName> {
    let list = raw.ignore_headers.value().map_or(&[][..], |list| &list.0);
    let names = list.iter().map(|at| (at.value.as_str(), at.place));
    refuse_duplicates("header", names, diagnostics);
    for (position, Placed { place, value }) in list.iter().enumerate() {
        match value.as_str() {
            "*" => diagnostics.error(*place, "`*` is not supported for headers; list the names"),
            "host" | "x-forwarded-host" => diagnostics.error(
                *place,
                "the host is always part of the cache key; remove it from this list",
            ),
            name if is_credential(name) => {
                let path = format!("{}[{position}]", raw.ignore_headers.path);
                let does = format!(
                    "removes `{name}` from the cache key: a response to one credential is served to \
                     requests with another credential, or with none"
                );
                diagnostics.warn(&path, *place, &does);
            }
            _ => {}
        }
    }
    list.iter().map(|at| at.value.clone()).collect()
}

/// Whether the name of a header suggests that it identifies a user.
fn is_credential(name: &str) -> bool {
    const PARTS: [&str; 9] = [
        "auth",
        "authorization",
        "cookie",
        "credential",
        "key",
        "apikey",
        "password",
        "secret",
        "token",
    ];
    name != "idempotency-key" && name.split(['-', '_']).any(|part| PARTS.contains(&part))
}
