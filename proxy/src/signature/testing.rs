//! What the tests of the schemes share.

use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::entry::Signature;
use super::shared_stores::SharedStores;
use super::{Config, Request, SignatureVerdict, Verifier, sign};
use crate::settings::decode::Decode;
use crate::settings::diagnostic::{ConfigError, Diagnostics};
use crate::settings::tree;

/// An entry of `signature` on the route `the-route`.
#[track_caller]
pub(super) fn entry(yaml: &str) -> Config {
    try_entry(yaml, "the-route").expect("a valid entry")
}

/// An entry, or the errors of it.
pub(super) fn try_entry(yaml: &str, route: &str) -> Result<Config, ConfigError> {
    let mut diagnostics = Diagnostics::default();
    let checked = tree::parse(yaml, &mut diagnostics)
        .and_then(|node| Signature::decode(&node, &mut diagnostics))
        .and_then(|signature| signature.check(route, &mut diagnostics));
    match (checked, diagnostics.errors()) {
        (Some(config), 0) => Ok(config),
        _ => Err(diagnostics.into_error(Path::new("entry"), yaml, Default::default)),
    }
}

/// The check of a route with these entries, and a replay store of its own.
#[track_caller]
pub(super) fn verifier(entries: &[Config]) -> Verifier {
    Verifier::new(entries, &SharedStores::new(entries)).expect("an entry")
}

/// Verifies and remembers, as the gateway does; in this process nothing waits.
pub(super) fn check(verifier: &Verifier, request: &Request<'_>, now: Duration) -> SignatureVerdict {
    let verified = verifier.verify(request, now);
    let verdict = verified.check_and_insert(now).now_or_never();
    verdict.expect("nothing waits in this process")
}

/// A `POST` to `/v1/chat?a=b`.
pub(super) fn request<'a>(headers: &'a HeaderMap, body: &'a [u8]) -> Request<'a> {
    Request {
        method: &Method::POST,
        path: "/v1/chat",
        query: "a=b",
        headers,
        body,
    }
}

pub(super) fn headers<N: AsRef<str>, V: AsRef<[u8]>>(lines: &[(N, V)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_ref().as_bytes()).expect("a name"),
            HeaderValue::from_bytes(value.as_ref()).expect("a value"),
        );
    }
    headers
}

/// The headers of a signed request with the id `id-1`.
pub(super) fn signed(scheme: &str, secret: &str, at_s: u64, body: &[u8]) -> HeaderMap {
    headers(&sign::sign(scheme, secret, at_s, "id-1", body).expect("signs"))
}
