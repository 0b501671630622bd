//! `backends`.

use std::collections::HashSet;
use std::sync::Arc;

use http::HeaderName;

use super::{form_of, health_check, pairs, refuse_duplicates, refuse_form, upstream_tls};
use crate::backend::address::{EndpointAddress, EndpointConfig};
use crate::backend::balance::BalancingPolicy;
use crate::backend::breaker::BreakerConfig;
use crate::backend::retry::{RetryConfig, RetryOn};
use crate::backend::{Config, WhenAllOpen};
use crate::config::raw::File;
use crate::config::raw::backend::{
    Backend, LoadBalancing, Retry, RetryCause, WhenAllOpen as RawWhenAllOpen,
};
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::nearest::nearest;
use crate::settings::url::{EndpointLocation, EndpointUrl};
use crate::settings::values::Slug;

/// Headers that frame a message: weir writes them for every request itself.
static OWN_HEADERS: [HeaderName; 7] = [
    HeaderName::from_static("cdn-loop"),
    http::header::CONNECTION,
    http::header::CONTENT_LENGTH,
    http::header::TE,
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
];

pub(super) fn check(file: &File, diagnostics: &mut Diagnostics) -> Option<Vec<Arc<Config>>> {
    let backends: Vec<&Backend> = file
        .backends
        .value()?
        .0
        .iter()
        .map(|at| &at.value)
        .collect();
    let named = backends
        .iter()
        .filter_map(|backend| Some((backend.name.value()?.0.as_str(), backend.name.place)));
    refuse_duplicates("backend", named, diagnostics);
    fallbacks(&backends, diagnostics);
    let mut checked = Vec::with_capacity(backends.len());
    for backend in backends {
        let config = one(backend, diagnostics);
        checked.extend(config.map(Arc::new));
    }
    Some(checked)
}

fn one(raw: &Backend, diagnostics: &mut Diagnostics) -> Option<Config> {
    let path_prefix = path_prefix(raw, diagnostics);
    let request_headers = request_headers(raw, diagnostics);
    let health_check = health_check::check(raw, diagnostics);
    let tls = upstream_tls::check(raw, diagnostics);
    let pool = raw.pool.value()?;
    Some(Config {
        name: Arc::from(raw.name.value()?.0.as_str()),
        endpoints: raw
            .endpoints
            .value()?
            .0
            .iter()
            .map(|at| endpoint(&at.value))
            .collect(),
        tls: tls?,
        path_prefix,
        connect_timeout: raw.connect_timeout.get()?.0,
        first_byte_timeout: raw.first_byte_timeout.get()?.0,
        idle_timeout: raw.idle_timeout.get()?.0,
        total_timeout: raw.total_timeout.get()?.0,
        pool_idle_connections: usize::try_from(pool.idle_connections.get()?.0).ok()?,
        pool_idle_timeout: pool.idle_timeout.get()?.0,
        request_headers,
        ask_usage: raw.ask_usage.get()?,
        balancing: match raw.load_balancing.get()? {
            LoadBalancing::RoundRobin => BalancingPolicy::RoundRobin,
            LoadBalancing::LeastRequest => BalancingPolicy::LeastRequest,
            LoadBalancing::Consistent => BalancingPolicy::Consistent,
        },
        retry: retry(raw.retry.value()?)?,
        breaker: breaker(raw, diagnostics)?,
        when_all_open: match raw.circuit_breaker.value()?.when_all_open.get()? {
            RawWhenAllOpen::Try => WhenAllOpen::Try,
            RawWhenAllOpen::Fail => WhenAllOpen::Fail,
        },
        health_check: health_check?,
        fallback: raw.fallback.value().map(|name| Arc::from(name.0.as_str())),
        model_map: model_map(raw, diagnostics),
    })
}

fn endpoint(url: &EndpointUrl) -> EndpointConfig {
    EndpointConfig {
        address: match &url.location {
            EndpointLocation::Http(authority) => EndpointAddress::Http(authority.clone()),
            EndpointLocation::Https(authority) => EndpointAddress::Https(authority.clone()),
            EndpointLocation::H2c(authority) => EndpointAddress::H2c(authority.clone()),
            EndpointLocation::Unix(path) => EndpointAddress::Unix(path.clone()),
        },
        text: Arc::from(url.text.as_str()),
    }
}

fn retry(raw: &Retry) -> Option<RetryConfig> {
    let mut on = RetryOn::default();
    for cause in &raw.when.value()?.0 {
        match cause.value {
            RetryCause::Connect => on.connect = true,
            RetryCause::ResetBeforeResponse => on.reset_before_response = true,
            RetryCause::Status(status) => on.statuses.push(status),
        }
    }
    Some(RetryConfig {
        attempts: raw.attempts.get()?.0,
        backoff: raw.backoff.get()?.0,
        on,
        budget: raw.budget.get()?.0,
        retry_after_max: raw.retry_after_max.get()?.0,
        hold: raw.hold.get()?.0,
    })
}

fn breaker(raw: &Backend, diagnostics: &mut Diagnostics) -> Option<BreakerConfig> {
    let raw = raw.circuit_breaker.value()?;
    let failure_ratio = raw.failure_ratio.get()?.0;
    if failure_ratio <= 0.0 {
        let message =
            "with 0% a single failure among any number of requests opens it; use 1% or more";
        diagnostics.error(raw.failure_ratio.place, message);
    }
    Some(BreakerConfig {
        failure_ratio,
        minimum_requests: raw.minimum_requests.get()?.0,
        window: raw.window.get()?.0,
        open_for: raw.open_for.get()?.0,
    })
}

fn model_map(raw: &Backend, diagnostics: &mut Diagnostics) -> Vec<(Box<str>, Box<str>)> {
    let Some(models) = raw.model_map.value() else {
        return Vec::new();
    };
    let names = models
        .0
        .iter()
        .map(|(name, _)| (name.value.0.as_str(), name.place));
    refuse_duplicates("model", names, diagnostics);
    let pairs = models.0.iter();
    pairs
        .map(|(from, to)| (from.value.0.as_str().into(), to.value.0.as_str().into()))
        .collect()
}

/// Without a slash at its end: the path of a request begins with one.
fn path_prefix(raw: &Backend, diagnostics: &mut Diagnostics) -> String {
    let Some(text) = raw.path_prefix.value() else {
        return String::new();
    };
    let prefix = text.0.strip_suffix('/').unwrap_or(&text.0);
    if prefix.is_empty() {
        return String::new();
    }
    refuse_form(form_of(prefix), &raw.path_prefix, diagnostics);
    prefix.to_owned()
}

fn request_headers(
    raw: &Backend,
    diagnostics: &mut Diagnostics,
) -> Vec<(HeaderName, http::HeaderValue)> {
    let Some(headers) = raw.request_headers.value() else {
        return Vec::new();
    };
    let names = headers
        .0
        .iter()
        .map(|(name, _)| (name.value.as_str(), name.place));
    refuse_duplicates("header", names, diagnostics);
    for (name, _) in &headers.0 {
        if OWN_HEADERS.contains(&name.value) {
            let message = format!(
                "weir sets `{}` itself for every request; leave it out",
                name.value
            );
            diagnostics.error(name.place, message);
        }
    }
    // Each was read as the value of a header.
    let pairs = pairs(headers).into_iter();
    let pairs = pairs.filter_map(|(name, value)| Some((name, value.header_value().ok()?)));
    pairs.collect()
}

/// Each names another backend, and following them comes to an end.
fn fallbacks(backends: &[&Backend], diagnostics: &mut Diagnostics) {
    for backend in backends {
        let is_known = position(&backend.fallback, backends, diagnostics).is_some();
        if is_known && is_loop(backend, backends) {
            diagnostics.error(backend.fallback.place, "these fallbacks form a loop");
        }
    }
}

fn is_loop<'b>(start: &'b Backend, backends: &[&'b Backend]) -> bool {
    let mut seen = HashSet::new();
    let mut next = Some(start);
    while let Some(backend) = next {
        let Some(name) = backend.name.value() else {
            return false;
        };
        if !seen.insert(name.0.as_str()) {
            // Only those on the loop are reported, not those that lead to it.
            return start.name.value().is_some_and(|start| start.0 == name.0);
        }
        let fallback = backend.fallback.value();
        next = fallback.and_then(|fallback| {
            let mut all = backends.iter().copied();
            all.find(|other| other.name.value().is_some_and(|name| name.0 == fallback.0))
        });
    }
    false
}

/// The position of the backend that a key names.
pub(super) fn position(
    named: &Setting<Slug>,
    backends: &[&Backend],
    diagnostics: &mut Diagnostics,
) -> Option<usize> {
    let Slug(name) = named.value()?;
    let is_named = |backend: &&Backend| backend.name.value().is_some_and(|other| other.0 == *name);
    let position = backends.iter().position(is_named);
    // An invalid name may be the one that was intended.
    let are_all_valid = backends
        .iter()
        .all(|backend| backend.name.value().is_some());
    if position.is_none() && are_all_valid {
        let known: Vec<&str> = backends
            .iter()
            .filter(|backend| backend.name.may_be_shown())
            .filter_map(|backend| Some(backend.name.value()?.0.as_str()))
            .collect();
        let message = match nearest(name, &known) {
            Some(near) => format!("no backend has this name; did you mean `{near}`?"),
            None => format!("no backend has this name; there are: {}", known.join(", ")),
        };
        diagnostics.error(named.place, message);
    }
    position
}
