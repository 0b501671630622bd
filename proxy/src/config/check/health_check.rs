//! `backends[].health_check`.

use http::uri::PathAndQuery;

use crate::backend::health::{ExpectedStatus, HealthCheckConfig};
use crate::config::raw::backend::{Backend, HealthCheck};
use crate::settings::diagnostic::Diagnostics;

/// `Some(None)` where the backend is not checked.
pub(super) fn check(
    raw: &Backend,
    diagnostics: &mut Diagnostics,
) -> Option<Option<HealthCheckConfig>> {
    let Some(raw) = raw.health_check.value() else {
        // An invalid one has been reported.
        return raw.health_check.is_absent().then_some(None);
    };
    let path = path(raw, diagnostics);
    let (interval, timeout) = (raw.interval.get()?.0, raw.timeout.get()?.0);
    if timeout > interval {
        let does = "is longer than `interval`: while an endpoint does not respond, it is checked less often";
        let setting = &raw.timeout;
        diagnostics.warn(&setting.path, setting.key_place, does);
    }
    let expected = match raw.status.value() {
        Some(list) => ExpectedStatus::OneOf(list.0.iter().map(|at| at.value.0).collect()),
        None if raw.status.is_absent() => ExpectedStatus::Below500,
        None => return None,
    };
    Some(Some(HealthCheckConfig {
        path: path?,
        interval,
        timeout,
        healthy_after: raw.healthy_after.get()?.0,
        unhealthy_after: raw.unhealthy_after.get()?.0,
        expected,
    }))
}

/// A path with an optional query, as it is sent.
fn path(raw: &HealthCheck, diagnostics: &mut Diagnostics) -> Option<PathAndQuery> {
    let setting = &raw.path;
    let text = &setting.value()?.0;
    let parsed = match text.starts_with('/') {
        false => Err("a path must begin with /"),
        true if text.contains('#') => Err("a path has no fragment; leave `#` out"),
        true => text
            .parse()
            .map_err(|_| "this is no path of a request; escape what is not ASCII, as in `%20`"),
    };
    parsed
        .map_err(|why| diagnostics.error(setting.place, why))
        .ok()
}
