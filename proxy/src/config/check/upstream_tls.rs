//! `backends[].tls`: files that are there, and fit.

use super::pem;
use crate::backend::tls::{ClientIdentity, TlsSettings, TrustedRoots};
use crate::config::raw::backend::{Backend, UpstreamTls};
use crate::settings::diagnostic::Diagnostics;
use crate::settings::url::EndpointLocation;

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
    let roots = roots(tls, diagnostics);
    let identity = identity(tls, diagnostics);
    Some(Some(TlsSettings {
        roots: roots?,
        identity: identity?,
    }))
}

fn roots(tls: &UpstreamTls, diagnostics: &mut Diagnostics) -> Option<Option<TrustedRoots>> {
    if !tls.ca_file.is_written() {
        return Some(None);
    }
    let certificates = pem::certificates(&tls.ca_file, diagnostics)?;
    let roots = TrustedRoots::new(certificates);
    let roots = roots.map_err(|flaw| diagnostics.error(tls.ca_file.place, flaw.to_string()));
    roots.ok().map(Some)
}

fn identity(tls: &UpstreamTls, diagnostics: &mut Diagnostics) -> Option<Option<ClientIdentity>> {
    let incomplete = match (tls.certificate.is_written(), tls.key.is_written()) {
        (false, false) => return Some(None),
        (true, true) => None,
        (true, false) => Some((&tls.certificate, "the certificate needs its `key`")),
        (false, true) => Some((&tls.key, "the key needs its `certificate`")),
    };
    if let Some((written, message)) = incomplete {
        diagnostics.error(written.place, format!("{message}, which is missing"));
        return None;
    }
    let chain = pem::certificates(&tls.certificate, diagnostics);
    let key = pem::private_key(&tls.key, diagnostics);
    let identity = ClientIdentity::new(chain?, key?);
    let identity = identity.map_err(|flaw| diagnostics.error(tls.key.place, flaw.to_string()));
    identity.ok().map(Some)
}
