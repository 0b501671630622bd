//! The route stage of the gateway: host, canonical path, route, client address and trace of a request.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Instant;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::{Method, Uri, Version};

use super::outcome::finish;
use super::{Gateway, Stop};
use crate::answer::local::{self, LocalResponse};
use crate::cache::status::CacheStatus;
use crate::exchange::{CACHE_STATUS, Exchange};
use crate::generation::Generation;
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::session::Session;
use crate::metrics::InUse;
use crate::random;
use crate::refusal::{ErrorCode, Refusal};
use crate::route::guard::Guarded;
use crate::route::path::EncodedSlash;
use crate::route::{RouteMatch, address, path};
use crate::trace::TraceContext;

impl Gateway {
    /// The record of a request that has begun.
    pub(super) fn begin(&self, peer: IpAddr, started: Instant) -> Exchange {
        Exchange::begin(
            started,
            address::counted(peer),
            self.default_platform.clone(),
            self.recorder.clone(),
        )
    }

    /// Finds route, platform, client address and trace.
    pub(super) fn route(
        &self,
        generation: &Generation,
        session: &Session,
        exchange: &mut Exchange,
        connection: &Connection,
    ) -> Result<Arc<RoutePipeline>, Stop> {
        let head = session.head();
        note_head(exchange, head, connection, generation);
        exchange.client_ip = address::client(
            connection.peer,
            &head.headers,
            &generation.shared.trusted_proxies,
        );
        if self.loop_token.is_in(&head.headers) {
            let detail =
                "request loop: a backend forwards to this proxy (CDN-Loop); check its endpoints";
            return Err(Refusal::new(ErrorCode::LoopDetected, detail).into());
        }
        exchange.cdn_loop = Some(self.loop_token.added_to(&head.headers));
        let host = host(head)?;
        exchange.domain = host.map(|host| without_port(host).into());
        if session.is_http2() && head_bytes(&head.headers) > generation.header_bytes {
            let detail = format!("the request head exceeds {} bytes", generation.header_bytes);
            return Err(Refusal::new(ErrorCode::HeaderTooLarge, detail).into());
        }
        if session.is_http2() {
            check_fields(&head.headers)?;
        }
        if head.method == Method::OPTIONS && head.uri.path() == "*" {
            exchange.path = "*".into();
            return Err(Stop::ServerOptions(generation.table.methods()));
        }
        if host.is_some() && !head.headers.contains_key(header::HOST) {
            exchange.authority = host.and_then(|host| HeaderValue::from_str(host).ok());
        }
        exchange.path = canonical_path(head, generation.encoded_slash)?;
        let found = find(generation, exchange)?;
        let pipeline = pipeline_for(generation, found, exchange)?;
        match guard(generation, found, exchange)? {
            Guarded::By(stricter) => Ok(pipeline_for(generation, stricter, exchange)?),
            _ => Ok(pipeline),
        }
    }

    /// Rejects a request whose head could not be read; `bytes`
    /// begins with the part of its request line that arrived.
    pub(crate) async fn refuse_unread(
        &self,
        session: &mut Session,
        connection: &Connection,
        bytes: &[u8],
        refusal: Refusal,
        started: Instant,
    ) {
        let _in_flight = InUse::count(&self.in_flight);
        let mut exchange = self.begin(connection.peer, started);
        exchange.scheme = connection.scheme;
        parse_request_line(&mut exchange, bytes, &self.generation.load());
        session.close_after_response();
        let mut response = LocalResponse::Refusal(refusal);
        let outcome = local::write(session, &mut exchange, &mut response).await;
        finish(session, &mut exchange, outcome);
    }

    /// Records a request over HTTP/2 whose header fields are malformed. The HTTP/2 implementation has rejected it
    /// already: with 400, or by a reset of its stream.
    pub(crate) fn record_malformed(&self, connection: &Connection, now: Instant) {
        let mut exchange = self.begin(connection.peer, now);
        exchange.scheme = connection.scheme;
        exchange.version = Version::HTTP_2;
        parse_request_line(&mut exchange, b"", &self.generation.load());
        exchange.status = ErrorCode::BadRequest.status().as_u16();
        exchange.error_code = Some(ErrorCode::BadRequest);
        exchange.finish(now);
    }
}

/// The position of the route that matches this path.
fn find(generation: &Generation, exchange: &Exchange) -> Result<usize, Refusal> {
    match generation.table.find(&exchange.method, &exchange.path) {
        RouteMatch::Route(position) => Ok(position),
        RouteMatch::NoRoute => Err(Refusal::new(
            ErrorCode::NoRoute,
            "no route matches this path",
        )),
        RouteMatch::MethodNotAllowed(allow) => Err(method_not_allowed(allow)),
    }
}

/// Whether the path is a variant of a stricter route's path, which then guards it.
fn guard(generation: &Generation, found: usize, exchange: &Exchange) -> Result<Guarded, Refusal> {
    let table = &generation.table;
    let (path, address) = (&exchange.path, exchange.client_ip);
    match table.guard(&exchange.method, path, found, address) {
        Guarded::MethodNotAllowed(allow) => Err(method_not_allowed(allow)),
        guarded => Ok(guarded),
    }
}

/// The pipeline of a route, if it allows the client's address.
fn pipeline_for(
    generation: &Generation,
    position: usize,
    exchange: &mut Exchange,
) -> Result<Arc<RoutePipeline>, Refusal> {
    let pipeline = generation.pipelines[position].clone();
    exchange.route = Some(pipeline.config.name.clone());
    exchange.route_path = Some(pipeline.config.path.clone());
    exchange.platform = pipeline.config.platform.clone();
    if pipeline.config.matching.admits(exchange.client_ip) {
        return Ok(pipeline);
    }
    let name = &pipeline.config.name;
    let detail = format!("route {name} does not allow this source address");
    Err(Refusal::new(ErrorCode::AddressDenied, detail))
}

fn method_not_allowed(allow: String) -> Refusal {
    let detail = format!("allowed methods: {allow}");
    let mut refusal = Refusal::new(ErrorCode::MethodNotAllowed, detail);
    refusal.allow = Some(allow);
    refusal
}

/// Notes what does not need validation: method, version, user agent, trace.
fn note_head(
    exchange: &mut Exchange,
    head: &Parts,
    connection: &Connection,
    generation: &Generation,
) {
    exchange.method = head.method.clone();
    exchange.version = head.version;
    exchange.user_agent = head.headers.get(header::USER_AGENT).cloned();
    exchange.scheme = connection.scheme;
    note_sampling(exchange, &head.headers, generation);
}

/// Notes what is known about an incomplete head: method and path, if the request line has arrived.
pub(super) fn parse_request_line(exchange: &mut Exchange, bytes: &[u8], generation: &Generation) {
    let line = bytes
        .split(|byte| *byte == b'\r')
        .next()
        .unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    if let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next())
        && version.starts_with(b"HTTP/")
    {
        exchange.method = Method::from_bytes(method).unwrap_or(Method::GET);
        let path = target
            .split(|byte| *byte == b'?')
            .next()
            .unwrap_or_default();
        let path = std::str::from_utf8(path).unwrap_or_default();
        let path = path::canonical(path, EncodedSlash::Keep);
        exchange.path = path.map(Into::into).unwrap_or_default();
    }
    note_sampling(exchange, &HeaderMap::new(), generation);
}

/// Notes the trace, and which sampling of events applies: that of the generation which the request met.
fn note_sampling(exchange: &mut Exchange, headers: &HeaderMap, generation: &Generation) {
    exchange.event_sampling = generation.event_sampling;
    exchange.trace =
        TraceContext::of_request(headers, &generation.trace_sampling, &mut random::fill);
}

/// The host of a request, which must be exactly one (RFC 9112, section 3.2); HTTP/1.0 may have none.
fn host(head: &Parts) -> Result<Option<&str>, Refusal> {
    let invalid = |what: &str| Err(Refusal::new(ErrorCode::BadRequest, what));
    let mut named = head.headers.get_all(header::HOST).iter();
    let first = named.next();
    if named.next().is_some() {
        return invalid("more than one Host header");
    }
    let in_target = head.uri.authority();
    let host = match (first, in_target) {
        (None, Some(authority)) if head.version == Version::HTTP_2 => {
            return valid_host(authority.as_str().as_bytes()).map(Some);
        }
        (None, _) if head.version == Version::HTTP_10 => return Ok(None),
        (None, _) => return invalid("the Host header is missing"),
        (Some(host), None) => valid_host(host.as_bytes())?,
        (Some(host), Some(authority)) => {
            let host = valid_host(host.as_bytes())?;
            if !host.eq_ignore_ascii_case(authority.as_str()) {
                return invalid("the Host header and the request target name different hosts");
            }
            host
        }
    };
    Ok(Some(host))
}

/// A host with an optional port (RFC 9110, section 7.2), and nothing else.
fn valid_host(value: &[u8]) -> Result<&str, Refusal> {
    let refusal = || Refusal::new(ErrorCode::BadRequest, "the Host header is not a valid host");
    let text = std::str::from_utf8(value).map_err(|_| refusal())?;
    let host = without_port(text);
    let is_valid_host = match host.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => {
            let allowed = |byte: u8| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
            };
            !host.is_empty() && host.bytes().all(allowed)
        }
    };
    let port = &text[host.len()..];
    let is_valid_port = matches!(port, "" | ":")
        || (port[1..].bytes().all(|byte| byte.is_ascii_digit())
            && port[1..].parse::<u16>().is_ok());
    if is_valid_host && is_valid_port {
        Ok(text)
    } else {
        Err(refusal())
    }
}

fn without_port(host: &str) -> &str {
    match host.rfind(':') {
        Some(colon) if !host[colon..].contains(']') => &host[..colon],
        _ => host,
    }
}

/// The size of an HTTP/2 head, counted as in RFC 9113, section 6.5.2.
fn head_bytes(headers: &HeaderMap) -> usize {
    headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}

/// Rejects fields that RFC 9113, section 8.2.1, defines as malformed and that pingora accepts: over HTTP/1
/// they would become other fields, which is request smuggling.
fn check_fields(headers: &HeaderMap) -> Result<(), Refusal> {
    let invalid = |what: &str| Err(Refusal::new(ErrorCode::BadRequest, what));
    for (name, value) in headers {
        if !name.as_str().bytes().all(is_token) {
            return invalid("a header name is not valid");
        }
        let value = value.as_bytes();
        if value.trim_ascii().len() != value.len() {
            return invalid("a header value begins or ends with white space");
        }
    }
    Ok(())
}

/// A character of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn canonical_path(head: &Parts, slash: EncodedSlash) -> Result<Box<str>, Refusal> {
    if head.method == Method::CONNECT {
        return Err(Refusal::new(
            ErrorCode::MethodNotAllowed,
            "CONNECT is not supported",
        ));
    }
    path::canonical(head.uri.path(), slash)
        .map(Into::into)
        .map_err(|error| Refusal::new(ErrorCode::BadRequest, error.to_string()))
}

/// The host that is sent to the backend as `X-Forwarded-Host`.
pub(super) fn forwarded_host<'a>(
    head: &'a Parts,
    exchange: &'a Exchange,
) -> Option<&'a HeaderValue> {
    let host = head.headers.get(header::HOST);
    host.or(exchange.authority.as_ref())
}

/// The query, without the question mark.
pub(super) fn query(uri: &Uri) -> &str {
    uri.query().unwrap_or_default()
}

/// Adds a header field to the response.
pub(super) fn add_header(exchange: &mut Exchange, name: HeaderName, value: HeaderValue) {
    exchange.response_headers.push((name, value));
}

/// Sets `Cache-Status`, which may have been added already.
pub(super) fn set_cache_status(exchange: &mut Exchange, status: CacheStatus) {
    let headers = &mut exchange.response_headers;
    match headers.iter_mut().find(|(name, _)| *name == CACHE_STATUS) {
        Some((_, value)) => *value = status.header(),
        None => headers.push((CACHE_STATUS, status.header())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_or_none() {
        for valid in [
            "a",
            "a.test:80",
            "a:",
            "127.0.0.1:65535",
            "[::1]",
            "[::1]:8080",
            "a_b~c-d",
        ] {
            assert_eq!(valid_host(valid.as_bytes()).ok(), Some(valid));
        }
        for invalid in [
            "", ":80", "a:b", "a:+1", "a:65536", "a:1:2", "a b", "a/b", "u@a", "[::1", "::1", "[]",
            "[a]:1", "[::1]x", "[::1]:x", "a,b", "a%20", "\u{e4}", "a]:1",
        ] {
            assert!(valid_host(invalid.as_bytes()).is_err(), "{invalid:?}");
        }
        assert!(valid_host(b"\xff").is_err());
    }
}
