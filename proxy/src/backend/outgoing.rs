//! What goes to the backend: the client's head without what was meant for this hop, and what weir
//! says of the request.
//!
//! RFC 9110, section 7.6.1: hop-by-hop fields and those that `Connection` names end here. Names that
//! weir writes itself are replaced, whatever the client sent under them.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Uri, Version};

use super::connector::Protocol;
use super::loops::CDN_LOOP;
use super::request_body::RequestBody;
use super::{Config, Endpoint};
use crate::coding;
use crate::http::hop_by_hop::{is_hop_by_hop, nominated};
use crate::refusal::{ErrorCode, Refusal};
use crate::trace::TraceContext;

/// What weir itself says of a request.
#[derive(Clone, Copy, Debug)]
pub struct Said<'a> {
    pub request_id: &'a str,
    pub forwarded_for: &'a HeaderValue,
    /// `http` or `https`.
    pub scheme: &'static str,
    /// The host the client asked for.
    pub host: Option<&'a HeaderValue>,
    /// Which proxies it has come through: see [`super::loops`].
    pub cdn_loop: Option<&'a HeaderValue>,
    pub platform: &'a str,
    pub client: Option<&'a str>,
    pub trace: &'a TraceContext,
    /// The span that the backend's hang under.
    pub parent: [u8; 8],
}

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const X_WEIR_PLATFORM: HeaderName = HeaderName::from_static("x-weir-platform");
const X_WEIR_CLIENT: HeaderName = HeaderName::from_static("x-weir-client");

/// Names that weir writes itself.
#[must_use]
pub fn is_ours(name: &HeaderName) -> bool {
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

/// Fields that the client's own framing needs, not the backend's.
fn is_framing(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::HOST | header::CONTENT_LENGTH | header::EXPECT
    )
}

/// Takes out of `headers` what may not go on, and writes what weir says.
pub fn write(headers: &mut HeaderMap, said: &Said<'_>, config: &Config) {
    let text = |text: &str| HeaderValue::from_str(text).ok();
    headers.insert(X_FORWARDED_FOR, said.forwarded_for.clone());
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(said.scheme));
    if let Some(host) = said.host {
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    if let Some(cdn_loop) = said.cdn_loop {
        headers.insert(CDN_LOOP, cdn_loop.clone());
    }
    let named = [
        (X_REQUEST_ID, text(said.request_id)),
        (X_WEIR_PLATFORM, text(said.platform)),
        (X_WEIR_CLIENT, said.client.and_then(text)),
    ];
    for (name, value) in named {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    said.trace.write_to(headers, &said.parent);
    for (name, value) in &config.request_headers {
        headers.insert(name, value.clone());
    }
}

/// The client's fields that may go on: without those of one hop, of framing, withheld, and those
/// that weir writes or the configuration sets.
#[must_use]
pub fn carried_over(
    headers: &HeaderMap,
    withheld: &[HeaderName],
    keep_encodings: Encodings,
    config: &Config,
) -> HeaderMap {
    let sieve = Sieve::new(headers, withheld, config);
    let mut kept = HeaderMap::with_capacity(headers.keys_len() + 11);
    for (name, value) in headers {
        let recoded = keep_encodings != Encodings::Any && *name == header::ACCEPT_ENCODING;
        if sieve.lets_through(name) && !recoded {
            kept.append(name.clone(), value.clone());
        }
    }
    let asked = match keep_encodings {
        Encodings::Any => return kept,
        // Without the field, any coding would do (RFC 9110, section 12.5.3).
        Encodings::Identity => HeaderValue::from_static("identity"),
        Encodings::Readable => coding::readable(headers.get_all(header::ACCEPT_ENCODING)),
    };
    kept.insert(header::ACCEPT_ENCODING, asked);
    kept
}

/// Which of a client's fields go on as they are.
pub struct Sieve<'a> {
    nominated: Vec<HeaderName>,
    withheld: &'a [HeaderName],
    config: &'a Config,
}

impl<'a> Sieve<'a> {
    /// For a request with these headers.
    #[must_use]
    pub fn new(headers: &HeaderMap, withheld: &'a [HeaderName], config: &'a Config) -> Self {
        Sieve {
            nominated: nominated(headers),
            withheld,
            config,
        }
    }

    #[must_use]
    pub fn lets_through(&self, name: &HeaderName) -> bool {
        !(self.withheld.contains(name)
            || is_hop_by_hop(name)
            || is_framing(name)
            || is_ours(name)
            || self.nominated.contains(name)
            || self
                .config
                .request_headers
                .iter()
                .any(|(own, _)| own == name)
            || shadows(name, self.withheld, self.config))
    }
}

/// Whether a backend that reads `_` as `-`, as CGI and WSGI do, would take a field for one that weir
/// writes or withholds.
fn shadows(name: &HeaderName, withheld: &[HeaderName], config: &Config) -> bool {
    if !name.as_str().contains('_') {
        return false;
    }
    let Ok(dashed) = name.as_str().replace('_', "-").parse::<HeaderName>() else {
        return true;
    };
    let own = config.request_headers.iter().any(|(own, _)| *own == dashed);
    own || is_ours(&dashed)
        || is_hop_by_hop(&dashed)
        || is_framing(&dashed)
        || withheld.contains(&dashed)
}

/// Joins the pieces into which HTTP/2 may cut a `Cookie` (RFC 9113, section 8.2.3): a backend of HTTP/1
/// reads the first of several.
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

/// Asks the endpoint for the same upgrade as the client asked for.
pub fn ask_for_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
}

/// How the backend may compress its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encodings {
    /// As the client says: weir does not read it.
    Any,
    /// As the client says, where weir can read it.
    Readable,
    /// Not at all: what is kept is kept in one form, for clients that take others.
    Identity,
}

/// The request to an endpoint.
///
/// # Errors
/// `bad_request` when path and query make no URI.
pub fn request(
    method: http::Method,
    target: &str,
    mut headers: HeaderMap,
    said: &Said<'_>,
    to: (&Config, &Endpoint, Protocol),
    body: RequestBody,
) -> Result<Request<RequestBody>, Refusal> {
    let (config, endpoint, protocol) = to;
    let uri = uri(config, endpoint, target)?;
    write(&mut headers, said, config);
    match protocol {
        Protocol::Http1 if !headers.contains_key(header::HOST) => {
            let authority = endpoint.uri.authority();
            let host = authority.map(|authority| HeaderValue::from_str(authority.as_str()));
            if let Some(Ok(host)) = host {
                headers.insert(header::HOST, host);
            }
        }
        Protocol::Http1 => {}
        // The host is in `:authority`, and gRPC servers want to hear that trailers are understood.
        Protocol::Http2 => {
            headers.remove(header::HOST);
            headers.insert(header::TE, HeaderValue::from_static("trailers"));
        }
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.version_mut() = match protocol {
        Protocol::Http1 => Version::HTTP_11,
        Protocol::Http2 => Version::HTTP_2,
    };
    *request.headers_mut() = headers;
    Ok(request)
}

/// The endpoint's address with the backend's prefix and the request's path and query.
///
/// # Errors
/// `bad_request` when they make no URI.
pub fn uri(config: &Config, endpoint: &Endpoint, target: &str) -> Result<Uri, Refusal> {
    let mut parts = endpoint.uri.clone().into_parts();
    let joined = if config.path_prefix.is_empty() {
        target.parse()
    } else {
        format!("{}{target}", config.path_prefix).parse()
    };
    parts.path_and_query =
        Some(joined.map_err(|_| Refusal::new(ErrorCode::BadRequest, "the path is not a URI"))?);
    Uri::from_parts(parts).map_err(|_| Refusal::new(ErrorCode::BadRequest, "the path is not a URI"))
}
