//! `traces`.

use super::{pairs, refuse_duplicates};
use crate::config::raw::events::Traces;
use crate::record::otlp::Config;
use crate::settings::diagnostic::Diagnostics;
use crate::trace::{Incoming, TraceSampling};

/// Which traces are recorded, and where their spans go.
pub(super) fn check(
    raw: &Traces,
    diagnostics: &mut Diagnostics,
) -> Option<(TraceSampling, Option<Config>)> {
    let is_off = raw.otlp.is_absent();
    for (setting, place) in [
        (
            &raw.sample.path,
            raw.sample.is_written().then_some(raw.sample.key_place),
        ),
        (
            &raw.headers.path,
            raw.headers.is_written().then_some(raw.headers.key_place),
        ),
    ] {
        if let (true, Some(place)) = (is_off, place) {
            let does = "has no effect without `otlp`: nothing is exported";
            diagnostics.warn(setting, place, does);
        }
    }
    let headers = raw.headers.value();
    if let Some(headers) = headers {
        let names = headers.0.iter();
        let names = names.map(|(name, _)| (name.value.as_str(), name.place));
        refuse_duplicates("header", names, diagnostics);
    }
    let incoming = match raw.trust_incoming.get()? {
        true => Incoming::Trusted,
        false => Incoming::Untrusted,
    };
    let share = raw.sample.get()?.0;
    let config = raw.otlp.value().map(|url| Config {
        url: traces_url(url.0.expose_secret()),
        headers: headers.map(pairs).unwrap_or_default(),
    });
    let share = config.is_some().then_some(share);
    Some((TraceSampling { share, incoming }, config))
}

/// The path that OTLP over HTTP has for traces, behind the address of the collector (OpenTelemetry
/// protocol exporter specification).
fn traces_url(address: &str) -> String {
    let address = address.trim_end_matches('/');
    match address.ends_with("/v1/traces") {
        true => address.to_owned(),
        false => format!("{address}/v1/traces"),
    }
}
