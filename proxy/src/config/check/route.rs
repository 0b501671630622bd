//! `routes`.

use std::sync::Arc;

use http::{HeaderName, Method};

use super::{
    PathForm, backend, cache, exposed, form_of, reach, refuse_duplicates, refuse_form, signature,
};
use crate::config::Route;
use crate::config::raw::backend::Backend;
use crate::config::raw::route::{RateLimit, Route as RawRoute};
use crate::config::raw::{EncodedSlash, File, Limits};
use crate::route::{self, PathPattern};
use crate::settings::declare::Word;
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::lists::Placed;
use crate::settings::values::PlainText;
use crate::{limit, signature as stage};

/// The route of events where no route matched.
const RESERVED_NAME: &str = "none";

/// The default of `conversation.header`.
const CONVERSATION_HEADER: HeaderName = HeaderName::from_static("x-conversation-id");

pub(super) fn check(file: &File, diagnostics: &mut Diagnostics) -> Option<Vec<Arc<Route>>> {
    let routes: Vec<&RawRoute> = file.routes.value()?.0.iter().map(|at| &at.value).collect();
    let named = routes
        .iter()
        .filter_map(|route| Some((route.name.value()?.0.as_str(), route.name.place)));
    refuse_duplicates("route", named, diagnostics);
    let backends: Option<Vec<&Backend>> = file
        .backends
        .value()
        .map(|backends| backends.0.iter().map(|at| &at.value).collect());
    let limits = file.limits.value();
    let mut checked = Vec::with_capacity(routes.len());
    for route in &routes {
        if let Some(config) = one(route, backends.as_deref(), limits, diagnostics) {
            checked.push((Arc::new(config), *route));
        }
    }
    reach::warn(&checked, diagnostics);
    if file
        .paths
        .value()
        .and_then(|paths| paths.encoded_slash.get())
        == Some(EncodedSlash::Reject)
    {
        reach::warn_of_slashes(&checked, diagnostics);
    }
    exposed::warn(
        &checked,
        backends.as_deref().unwrap_or_default(),
        diagnostics,
    );
    Some(checked.into_iter().map(|(config, _)| config).collect())
}

fn one(
    raw: &RawRoute,
    backends: Option<&[&Backend]>,
    limits: Option<&Limits>,
    diagnostics: &mut Diagnostics,
) -> Option<Route> {
    let name = raw.name.value().map(|name| name.0.as_str());
    if name == Some(RESERVED_NAME) {
        let message = "`none` is reserved for requests that no route matched; choose another name";
        diagnostics.error(raw.name.place, message);
    }
    let path = path(&raw.path, diagnostics);
    let backend =
        backends.and_then(|backends| backend::position(&raw.backend, backends, diagnostics));
    let signature = signature::check(raw, diagnostics);
    let rate_limits = rate_limits(raw, diagnostics);
    if let Some(signature) = &signature {
        refuse_unknown_clients(raw, signature, diagnostics);
    }
    let schemes = signature.as_deref().unwrap_or_default();
    let caches = cache::check(raw, schemes, diagnostics)?;
    let limits = limits?;
    let allow = raw.allow.value().map_or(&[][..], |allow| &allow.0);
    let path = path?;
    Some(Route {
        name: Arc::from(name?),
        path: Arc::from(path.to_string()),
        matching: route::Config {
            path,
            methods: methods(raw),
            allow: allow.iter().map(|network| network.value.0).collect(),
        },
        backend: backend?,
        platform: Arc::from(platform(raw)),
        signature: signature?,
        rate_limits,
        concurrency: raw
            .concurrency
            .get()
            .and_then(|count| usize::try_from(count.0).ok()),
        cache: caches.answers,
        http_cache: caches.http,
        conversation_header: raw
            .conversation
            .value()
            .and_then(|conversation| conversation.header.value().cloned())
            .unwrap_or(CONVERSATION_HEADER),
        body_bytes: raw.body_bytes.get().or(limits.body_bytes.get())?.0,
        body_timeout: raw.body_timeout.get().or(limits.body_timeout.get())?.0,
    })
}

/// A limit for a client that no scheme of the route has would apply to no request.
fn refuse_unknown_clients(
    raw: &RawRoute,
    schemes: &[stage::Config],
    diagnostics: &mut Diagnostics,
) {
    let known: Vec<&str> = schemes
        .iter()
        .flat_map(stage::Config::client_names)
        .collect();
    let limits = raw.rate_limits.value().map_or(&[][..], |list| &list.0);
    let named = limits
        .iter()
        .filter_map(|limit| limit.value.clients.value());
    for Placed { place, value } in named.flat_map(|clients| &clients.0) {
        if !known.contains(&value.0.as_str()) {
            let message = match &known[..] {
                [] => "without a signature no client has a name; remove `clients`".to_owned(),
                _ => format!(
                    "no client of this route is called `{}`; they are {}",
                    value.0,
                    known.join(", ")
                ),
            };
            diagnostics.error(*place, message);
        }
    }
}

fn path(raw: &Setting<PlainText>, diagnostics: &mut Diagnostics) -> Option<PathPattern> {
    let PlainText(text) = raw.value()?;
    let prefix = text.strip_suffix('*');
    if prefix.unwrap_or(text).contains('*') {
        diagnostics.error(raw.place, "`*` is only allowed at the end of a path");
        return None;
    }
    let form = match prefix {
        // A prefix may end inside a segment: `/a/.*` matches `/a/.env`. So it is checked with
        // one more character behind it.
        Some(prefix) if !prefix.is_empty() => match form_of(&format!("{prefix}x")) {
            PathForm::Other(form) => {
                PathForm::Other(format!("{}*", form.strip_suffix('x').unwrap_or(&form)))
            }
            form => form,
        },
        _ => form_of(text),
    };
    refuse_form(form, raw, diagnostics)?;
    Some(match prefix {
        Some(prefix) => PathPattern::Prefix(prefix.to_owned()),
        None => PathPattern::Exact(text.clone()),
    })
}

fn methods(raw: &RawRoute) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    for Placed { value, .. } in raw.methods.value().map_or(&[][..], |methods| &methods.0) {
        if let Ok(method) = Method::from_bytes(value.word().as_bytes())
            && !methods.contains(&method)
        {
            methods.push(method);
        }
    }
    methods
}

/// The configured platform, else that of the first scheme that has one.
fn platform(raw: &RawRoute) -> &str {
    if let Some(platform) = raw.platform.value() {
        return &platform.0;
    }
    let signatures = raw.signature.value().map_or(&[][..], |list| &list.0);
    signatures
        .iter()
        .filter_map(|at| at.value.platform())
        .next()
        .unwrap_or("api")
}

/// Limits on tokens are left out: they are not in this version yet, and have been warned of.
fn rate_limits(raw: &RawRoute, diagnostics: &mut Diagnostics) -> Vec<limit::Config> {
    let limits = raw.rate_limits.value().map_or(&[][..], |list| &list.0);
    let named = limits
        .iter()
        .filter_map(|at| Some((at.value.name.value()?.0.as_str(), at.value.name.place)));
    refuse_duplicates("rate limit of this route", named, diagnostics);
    limits
        .iter()
        .filter_map(|at| rate_limit(at, diagnostics))
        .collect()
}

fn rate_limit(
    Placed { place, value }: &Placed<RateLimit>,
    diagnostics: &mut Diagnostics,
) -> Option<limit::Config> {
    if value.rate.is_absent() && value.tokens.is_absent() {
        diagnostics.error(*place, "a limit needs a `rate` or `tokens`");
    }
    if value.rate.is_written() && value.tokens.is_written() {
        let message = "a limit has either a `rate` or `tokens`; write two limits";
        diagnostics.error(value.tokens.place, message);
    }
    let rate = value.rate.get()?;
    // One second's worth, and never less than a single request.
    let period_s = u32::try_from(rate.period.as_secs())
        .unwrap_or(u32::MAX)
        .max(1);
    let burst = match value.burst.get() {
        Some(burst) => burst.0,
        None => (rate.count / period_s).max(1),
    };
    Some(limit::Config {
        name: Arc::from(value.name.value()?.0.as_str()),
        rate: rate.count,
        period: rate.period,
        burst,
        by: value.by.value()?.0.clone(),
        clients: value.clients.value().map_or_else(Vec::new, |clients| {
            clients
                .0
                .iter()
                .map(|client| Arc::from(client.value.0.as_str()))
                .collect()
        }),
    })
}
