//! `backends[].tls`: files that are there, and fit.

use super::pem;
use crate::backend::tls::{ClientIdentity, TlsSettings, TrustedRoots};
use crate::config::raw::backend::{Backend, UpstreamTls};
use crate::settings::decode::Setting;
use crate::settings::diagnostic::Diagnostics;
use crate::settings::url::EndpointLocation;
use crate::settings::values::PlainText;

/// `Some(None)` where the backend has no settings of its own.
pub(super) fn check(raw: &Backend, diagnostics: &mut Diagnostics) -> Option<Option<TlsSettings>> {
    let Some(tls) = raw.tls.value() else {
        return Some(None);
    };
    let endpoints = raw.endpoints.value().map_or(&[][..], |list| &list.0);
    let is_https = |location: &EndpointLocation| matches!(location, EndpointLocation::Https(_));
    let is_used = endpoints.iter().any(|at| is_https(&at.value.location));
    if !is_used && !endpoints.is_empty() {
        let message = "`tls` is for https endpoints, and this backend has none";
        diagnostics.error(raw.tls.place, message);
    }
    let roots = optional(&tls.ca_file, |path| self::roots(path, diagnostics));
    let identity = identity(tls, diagnostics);
    Some(Some(TlsSettings {
        roots: roots?,
        identity: identity?,
    }))
}

/// `Some(None)` for a key that is left out; `None` for an invalid value.
fn optional<T>(
    setting: &Setting<PlainText>,
    read: impl FnOnce(&Setting<PlainText>) -> Option<T>,
) -> Option<Option<T>> {
    match setting.is_written() {
        true => read(setting).map(Some),
        false => Some(None),
    }
}

fn roots(path: &Setting<PlainText>, diagnostics: &mut Diagnostics) -> Option<TrustedRoots> {
    let certificates = pem::certificates(path, diagnostics)?;
    let roots = TrustedRoots::new(certificates);
    roots
        .map_err(|flaw| diagnostics.error(path.place, flaw.to_string()))
        .ok()
}

fn identity(tls: &UpstreamTls, diagnostics: &mut Diagnostics) -> Option<Option<ClientIdentity>> {
    match (tls.certificate.is_written(), tls.key.is_written()) {
        (false, false) => return Some(None),
        (true, false) => {
            let message = "the certificate needs its `key`, which is missing";
            diagnostics.error(tls.certificate.place, message);
        }
        (false, true) => {
            let message = "the key needs its `certificate`, which is missing";
            diagnostics.error(tls.key.place, message);
        }
        (true, true) => {}
    }
    let chain = optional(&tls.certificate, |path| {
        pem::certificates(path, diagnostics)
    });
    let key = optional(&tls.key, |path| pem::private_key(path, diagnostics));
    let identity = ClientIdentity::new(chain??, key??);
    let identity = identity.map_err(|flaw| diagnostics.error(tls.key.place, flaw.to_string()));
    identity.ok().map(Some)
}
