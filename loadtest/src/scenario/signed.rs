//! Builds requests and signs them for a route.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use ulid::Ulid;
use weir::clock;
use weir::signature::client_signer::Signer;

use crate::request::{Expectation, RequestSpec, ResponseMode};
use crate::routes::TargetRoute;

/// Why a request cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("the target has no route")]
    NoRoute,
    #[error("no route requires a signature")]
    NoSigner,
    #[error("no route has a rate limit")]
    NoRateLimit,
    #[error("the scenario has no requests")]
    Empty,
    #[error("{0:?} is not an HTTP method")]
    Method(String),
    #[error("cannot sign the request: {0}")]
    Signing(String),
}

/// How a request is reported, classified and signed.
pub(super) struct SendOptions<'a> {
    name: &'a str,
    expected: Expectation,
    /// The age of the signature, in seconds.
    age_s: u64,
}

impl<'a> SendOptions<'a> {
    pub(super) fn new(name: &'a str, expected: Expectation) -> Self {
        SendOptions {
            name,
            expected,
            age_s: 0,
        }
    }

    pub(super) fn aged(self, age_s: u64) -> Self {
        SendOptions { age_s, ..self }
    }
}

/// A request to a route; without a signer it is unsigned.
pub(super) fn build(
    options: SendOptions<'_>,
    route: &TargetRoute,
    signer: Option<&Signer>,
    body: Bytes,
) -> Result<RequestSpec, RequestError> {
    Ok(RequestSpec {
        name: Arc::from(options.name),
        method: Method::clone(&route.method),
        path: route.path.clone(),
        headers: headers(signer, &body, options.age_s)?,
        body,
        mode: ResponseMode::Whole,
        expected: options.expected,
    })
}

/// The content type, and the signature of a signer.
pub(super) fn headers(
    signer: Option<&Signer>,
    body: &[u8],
    age_s: u64,
) -> Result<Vec<(String, String)>, RequestError> {
    let mut headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    headers.extend(signature(signer, body, age_s)?);
    Ok(headers)
}

/// The headers that sign a request; none without a signer.
pub(super) fn signature(
    signer: Option<&Signer>,
    body: &[u8],
    age_s: u64,
) -> Result<Vec<(String, String)>, RequestError> {
    let Some(signer) = signer else {
        return Ok(Vec::new());
    };
    let at_s = clock::unix_now().as_secs().saturating_sub(age_s);
    let headers = signer.headers(at_s, &fresh_id(), body);
    headers.map_err(|reason| RequestError::Signing(reason.to_string()))
}

/// Every signer with its route.
pub(super) fn signers(routes: &[TargetRoute]) -> impl Iterator<Item = (&TargetRoute, &Signer)> {
    routes
        .iter()
        .flat_map(|route| route.signers.iter().map(move |signer| (route, signer)))
}

/// An identifier that no other request has.
pub(super) fn fresh_id() -> String {
    Ulid::generate().to_string()
}
