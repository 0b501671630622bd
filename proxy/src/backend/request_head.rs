//! The head of the request to a backend: the client's headers without the hop-by-hop ones, and the headers that
//! weir sets.
//!
//! RFC 9110, section 7.6.1: hop-by-hop fields and those that `Connection` names are not forwarded. Headers that
//! weir sets are replaced, whatever the client sent under their names.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::{InvalidUriParts, Parts, PathAndQuery, Scheme};
use http::{Request, Uri};

use super::Config;
use super::address::{EndpointAddress, EndpointConfig};
use super::loops::CDN_LOOP;
use super::request_body::RequestBody;
use crate::coding;
use crate::http::hop_by_hop::{is_hop_by_hop, nominated};
use crate::refusal::{ErrorCode, Refusal};
use crate::trace::TraceContext;

/// The values of the headers that weir sets.
#[derive(Clone, Copy, Debug)]
pub struct AddedHeaders<'a> {
    pub request_id: &'a str,
    pub forwarded_for: &'a HeaderValue,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host that the client named.
    pub host: Option<&'a HeaderValue>,
    /// The proxies that the request has passed: see [`super::loops`].
    pub cdn_loop: Option<&'a HeaderValue>,
    pub platform: &'a str,
    pub client: Option<&'a str>,
    pub trace: &'a TraceContext,
    /// The parent of the backend's spans.
    pub parent: [u8; 8],
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_WEIR_PLATFORM: HeaderName = HeaderName::from_static("x-weir-platform");
const X_WEIR_CLIENT: HeaderName = HeaderName::from_static("x-weir-client");

const HEALTH_CHECK_AGENT: HeaderValue = HeaderValue::from_static(concat!(
    "weir/",
    env!("CARGO_PKG_VERSION"),
    " (health check)"
));

/// Whether weir sets a header.
#[must_use]
pub fn is_set_by_weir(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "x-request-id"
            | "traceparent"
            | "tracestate"
            | "baggage"
            | "forwarded"
            | "x-forwarded-for"
            | "x-forwarded-proto"
            | "x-forwarded-host"
            | "x-weir-platform"
            | "x-weir-client"
            | "cdn-loop"
    )
}

/// Whether a header belongs to the client's connection or framing, not to the backend's.
fn is_framing(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST | header::CONTENT_LENGTH | header::EXPECT
    )
}

/// Sets weir's headers and those of the configuration.
pub fn write(headers: &mut HeaderMap, added: &AddedHeaders<'_>, config: &Config) {
    let text = |text: &str| HeaderValue::from_str(text).ok();
    headers.insert(X_FORWARDED_FOR, added.forwarded_for.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(added.scheme));
    if let Some(host) = added.host {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if let Some(cdn_loop) = added.cdn_loop {
        headers.insert(CDN_LOOP, cdn_loop.clone());
    }
    let named = [
        (X_REQUEST_ID, text(added.request_id)),
        (X_WEIR_PLATFORM, text(added.platform)),
        (X_WEIR_CLIENT, added.client.and_then(text)),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    added.trace.write_to(headers, &added.parent);
    for (name, value) in &config.request_headers {
        headers.insert(name, value.clone());
    }
}

/// The client's headers that are forwarded: not those that are hop-by-hop, of the framing, stripped, or set by
/// weir or the configuration.
#[must_use]
pub fn forwarded_headers(
    headers: &HeaderMap,
    stripped: &[HeaderName],
    encodings: Encodings,
    config: &Config,
) -> HeaderMap {
    let filter = HeaderFilter::new(headers, stripped, config);
    let mut forwarded = HeaderMap::with_capacity(headers.keys_len() + 11);
    for (name, value) in headers {
        let recoded = encodings != Encodings::Any && *name == header::ACCEPT_ENCODING;
        if filter.forwards(name) && !recoded {
            forwarded.append(name.clone(), value.clone());
        }
    }
    let accepted = match encodings {
        Encodings::Any => return forwarded,
        // Without the header, any coding would be acceptable (RFC 9110, section 12.5.3).
        Encodings::Identity => HeaderValue::from_static("identity"),
        Encodings::Readable => coding::readable(headers.get_all(header::ACCEPT_ENCODING)),
    };
    forwarded.insert(header::ACCEPT_ENCODING, accepted);
    forwarded
}

/// Selects the client's headers that are forwarded unchanged.
pub struct HeaderFilter<'a> {
    nominated: Vec<HeaderName>,
    stripped: &'a [HeaderName],
    config: &'a Config,
}

impl<'a> HeaderFilter<'a> {
    /// For a request with these headers.
    #[must_use]
    pub fn new(headers: &HeaderMap, stripped: &'a [HeaderName], config: &'a Config) -> Self {
        HeaderFilter {
            nominated: nominated(headers),
            stripped,
            config,
        }
    }

    #[must_use]
    pub fn forwards(&self, name: &HeaderName) -> bool {
        !(self.stripped.contains(name)
            || is_hop_by_hop(name)
            || is_framing(name)
            || is_set_by_weir(name)
            || self.nominated.contains(name)
            || self
                .config
                .request_headers
                .iter()
                .any(|(own, _)| own == name)
            || is_alias(name, self.stripped, self.config)
            || is_wsgi_variable(name))
    }
}

/// Whether a backend that reads headers as WSGI variables would take this one for a part of the path: gunicorn does by
/// default, from a proxy on the same machine. The path that the route stage has checked would be another one.
fn is_wsgi_variable(name: &HeaderName) -> bool {
    matches!(name.as_str(), "script_name" | "path_info")
}

/// Whether a backend that reads `_` as `-`, as CGI and WSGI do, would take a header for one that weir sets or
/// strips.
fn is_alias(name: &HeaderName, stripped: &[HeaderName], config: &Config) -> bool {
    if !name.as_str().contains('_') {
        return false;
    }
    let Ok(dashed) = name.as_str().replace('_', "-").parse::<HeaderName>() else {
        return true;
    };
    let own = config.request_headers.iter().any(|(own, _)| *own == dashed);
    own || is_set_by_weir(&dashed)
        || is_hop_by_hop(&dashed)
        || is_framing(&dashed)
        || stripped.contains(&dashed)
}

/// Joins a `Cookie` that HTTP/2 has split (RFC 9113, section 8.2.3): a backend over HTTP/1 reads only the first
/// of several.
pub fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().collect();
    if crumbs.len() < 2 {
        return;
    }
    let crumbs: Vec<_> = crumbs.iter().map(|crumb| crumb.as_bytes()).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice())) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Makes the request a conditional one for the whole response: the backend validates what is stored.
pub fn validate(
    headers: &mut HeaderMap,
    etag: Option<&HeaderValue>,
    last_modified: Option<&HeaderValue>,
) {
    for name in [
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_RANGE,
        header::RANGE,
    ] {
        headers.remove(name);
    }
    if let Some(etag) = etag {
        headers.insert(header::IF_NONE_MATCH, etag.clone());
    }
    if let Some(date) = last_modified {
        headers.insert(header::IF_MODIFIED_SINCE, date.clone());
    }
}

/// Requests the upgrade that the client requested.
pub fn request_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// How the backend may compress its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encodings {
    /// As the client accepts: weir does not read it.
    Any,
    /// As the client accepts, in codings that weir can decode.
    Readable,
    /// Not at all: a response is stored uncompressed, for all clients.
    Identity,
}

/// The request to an endpoint, as HTTP/1.1 has it.
///
/// # Errors
/// `bad_request` when path and query are not a valid URI.
pub fn request(
    method: http::Method,
    target: &str,
    mut headers: HeaderMap,
    added: &AddedHeaders<'_>,
    (config, endpoint): (&Config, &EndpointConfig),
    body: RequestBody,
) -> Result<Request<RequestBody>, Refusal> {
    let uri = uri(config, endpoint, target)?;
    write(&mut headers, added, config);
    if !headers.contains_key(header::HOST) {
        headers.insert(header::HOST, host(endpoint, added.host));
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Host and port of the endpoint. A Unix socket has none: its endpoint gets the client's.
fn host(endpoint: &EndpointConfig, of_client: Option<&HeaderValue>) -> HeaderValue {
    let authority = endpoint.address.authority();
    let host = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let localhost = || HeaderValue::from_static("localhost");
    host.unwrap_or_else(|| of_client.cloned().unwrap_or_else(localhost))
}

/// The endpoint's address, the backend's path prefix, and the request's path and query.
///
/// # Errors
/// `bad_request` when they are not a valid URI.
pub fn uri(config: &Config, endpoint: &EndpointConfig, target: &str) -> Result<Uri, Refusal> {
    let invalid = || Refusal::new(ErrorCode::BadRequest, "the path is not a URI");
    let joined = if config.path_prefix.is_empty() {
        target.parse()
    } else {
        format!("{}{target}", config.path_prefix).parse()
    };
    let joined = joined.map_err(|_| invalid())?;
    uri_at(endpoint, joined).map_err(|_| invalid())
}

/// The endpoint's address with this path and query.
fn uri_at(endpoint: &EndpointConfig, target: PathAndQuery) -> Result<Uri, InvalidUriParts> {
    let mut parts = Parts::default();
    if let Some(authority) = endpoint.address.authority() {
        parts.authority = Some(authority.clone());
        parts.scheme = Some(match endpoint.address {
            EndpointAddress::Https(_) => Scheme::HTTPS,
            _ => Scheme::HTTP,
        });
    }
    parts.path_and_query = Some(target);
    Uri::from_parts(parts)
}

/// The head of a health check: it has the host and the configured headers of every request to the endpoint, and the
/// path as configured, without the backend's prefix.
#[must_use]
pub fn health_check(
    path: &PathAndQuery,
    config: &Config,
    endpoint: &EndpointConfig,
) -> http::request::Parts {
    let mut request = Request::new(());
    if let Ok(uri) = uri_at(endpoint, path.clone()) {
        *request.uri_mut() = uri;
    }
    let headers = request.headers_mut();
    headers.insert(header::HOST, host(endpoint, None));
    headers.insert(header::USER_AGENT, HEALTH_CHECK_AGENT);
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    // It has a connection of its own.
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    for (name, value) in &config.request_headers {
        headers.insert(name, value.clone());
    }
    request.into_parts().0
}
