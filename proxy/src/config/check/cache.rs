//! `routes[].cache`.

use std::time::Duration;

use http::HeaderName;

use super::refuse_duplicates;
use crate::cache;
use crate::cache::credentials::may_carry_credential;
use crate::cache::pointer::{POINTERS_MAX, Pointer};
use crate::cache::unless::{ToolCalls, Unless};
use crate::config::raw::cache::{Cache, Scope};
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::Placed;

/// The caches of a route: one at most.
#[derive(Default)]
pub(super) struct Caches {
    pub(super) answers: Option<cache::Config>,
    pub(super) http: Option<cache::http::Config>,
}

/// Whether a route verifies its clients.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum RouteAccess {
    Open,
    Signed,
}

/// `None` when invalid.
pub(super) fn check(
    raw: &Cache,
    access: RouteAccess,
    diagnostics: &mut Diagnostics,
) -> Option<Caches> {
    let ignore_headers = ignore_headers(raw, diagnostics);
    let ignore = ignore(raw, diagnostics);
    let http = raw.http.get()?;
    if http && raw.answers.get() == Some(true) {
        diagnostics.error(
            raw.http.place,
            "`answers` and `http` are different kinds of cache; choose one of them",
        );
    }
    if http {
        warn_of_unused(raw, diagnostics);
    }
    let is_kept = raw.answers.get().unwrap_or(!http);
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

/// Keys that say nothing to an HTTP cache.
fn warn_of_unused(raw: &Cache, diagnostics: &mut Diagnostics) {
    let lifetime = "the headers of a response state how long it is fresh";
    let headers = "the `Vary` of a response names the headers that matter";
    let body = "it reads no request bodies";
    warn_if_written(&raw.ttl, lifetime, diagnostics);
    warn_if_written(&raw.ignore_headers, headers, diagnostics);
    warn_if_written(&raw.ignore, body, diagnostics);
    warn_if_written(&raw.unless, body, diagnostics);
}

fn warn_if_written<T>(setting: &Setting<T>, instead: &str, diagnostics: &mut Diagnostics) {
    if setting.is_written() {
        let does = format!("has no effect on an HTTP cache; {instead}");
        diagnostics.warn(&setting.path, setting.key_place, &does);
    }
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
            name if may_carry_credential(name) => {
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

fn ignore(raw: &Cache, diagnostics: &mut Diagnostics) -> Vec<Pointer> {
    let list = raw.ignore.value().map_or(&[][..], |list| &list.0);
    let pointers = list.iter().map(|at| (&*at.value.text, at.place));
    refuse_duplicates("JSON pointer", pointers, diagnostics);
    if let Some(beyond) = list.get(POINTERS_MAX) {
        let message = format!("a route has at most {POINTERS_MAX} JSON pointers");
        diagnostics.error(beyond.place, message);
    }
    for (position, Placed { place, value }) in list.iter().enumerate() {
        if changes_responses(&value.pointer) {
            let path = format!("{}[{position}]", raw.ignore.path);
            let does = format!(
                "removes `{}` from the cache key, which changes responses: a request gets the stored response to \
                 a request with another value",
                value.text
            );
            diagnostics.warn(&path, *place, &does);
        }
    }
    list.iter().map(|at| at.value.pointer.clone()).collect()
}

/// Whether a value surely changes a response: the model, the prompt or a part of it, how the response is sent.
fn changes_responses(pointer: &Pointer) -> bool {
    const MEMBERS: [&str; 19] = [
        "contents",
        "documents",
        "functions",
        "generationConfig",
        "input",
        "inputs",
        "instructions",
        "max_tokens",
        "messages",
        "model",
        "previous_response_id",
        "prompt",
        "query",
        "response_format",
        "stream",
        "system",
        "systemInstruction",
        "texts",
        "tools",
    ];
    const PARTS: [&str; 4] = ["content", "parts", "role", "text"];
    let mut tokens = pointer.tokens();
    let Some(first) = tokens.next() else {
        return false;
    };
    MEMBERS.contains(&first)
        && tokens.next_back().is_none_or(|last| {
            PARTS.contains(&last) || last.bytes().all(|byte| byte.is_ascii_digit())
        })
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
