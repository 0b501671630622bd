//! The head of a stored response: its lines as they are written to each client, and its update by a 304.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::super::freshness::date;
use crate::http::hop_by_hop::{has_option, is_hop_by_hop};

/// Lines of `name: value` and CR LF, with a `Date`, without `Age` and `Content-Length`, which are written anew.
pub(super) fn lines(headers: &HeaderMap, received_at: Duration) -> Bytes {
    let has_options = headers.contains_key(header::CONNECTION);
    let room = headers.iter();
    let room = room.map(|(name, value)| name.as_str().len() + value.len() + 4);
    let mut lines = Vec::with_capacity(room.sum::<usize>() + 40);
    for (name, value) in headers {
        let is_dropped = *name == header::DATE
            || is_not_stored(name)
            || has_options && has_option(headers, name.as_str().as_bytes());
        if !is_dropped {
            add(&mut lines, name.as_str().as_bytes(), value.as_bytes());
        }
    }
    // RFC 9110, section 6.6.1: a cache adds the date that is missing.
    let dated = date(headers, &header::DATE);
    let at = std::time::SystemTime::UNIX_EPOCH + dated.unwrap_or(received_at);
    add(&mut lines, b"date", httpdate::fmt_http_date(at).as_bytes());
    lines.into()
}

fn add(lines: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    lines.extend_from_slice(name);
    lines.extend_from_slice(b": ");
    lines.extend_from_slice(value);
    lines.extend_from_slice(b"\r\n");
}

/// The lines of a 304 (RFC 9110, section 15.4.5): those that a client updates what it has stored by.
pub(super) fn of_not_modified(lines: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(256);
    for (name, value) in fields(lines) {
        if matches!(
            name,
            b"cache-control"
                | b"cdn-cache-control"
                | b"content-location"
                | b"date"
                | b"etag"
                | b"expires"
                | b"last-modified"
                | b"vary"
        ) {
            add(&mut kept, name, value);
        }
    }
    kept
}

/// The names and values of lines.
fn fields(lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let lines = lines.split(|byte| *byte == b'\n');
    lines.filter_map(|line| {
        let line = line.strip_suffix(b"\r")?;
        let colon = memchr::memchr(b':', line)?;
        let value = &line[colon + 1..];
        Some((&line[..colon], value.strip_prefix(b" ").unwrap_or(value)))
    })
}

/// The stored head, updated by that of a 304 (RFC 9111, section 3.2): all values of each header that it has are replaced,
/// but for those that belong to the stored body.
pub(super) fn updated(lines: &[u8], by: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields(lines) {
        let name = HeaderName::from_bytes(name);
        let value = HeaderValue::from_bytes(value);
        // They were valid when they were written.
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let is_taken = |name: &HeaderName| {
        let is_option = || has_option(by, name.as_str().as_bytes());
        !is_not_stored(name) && !is_of_body(name) && !is_option()
    };
    for name in by.keys().filter(|name| is_taken(name)) {
        headers.remove(name);
        for value in by.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    // RFC 9110, section 6.6.1: a head without a date has that of its arrival.
    if !by.contains_key(header::DATE) {
        headers.remove(header::DATE);
    }
    // A stored age would be that of the stored head.
    if let Some(age) = by.get(header::AGE) {
        headers.insert(header::AGE, age.clone());
    }
    headers
}

/// Whether a header describes the bytes of the body, which a 304 leaves as they are.
fn is_of_body(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-encoding"
            | "content-range"
            | "content-md5"
            | "content-digest"
            | "repr-digest"
            | "digest"
    )
}

/// Whether a header is hop-by-hop (RFC 9110, section 7.6.1), or set anew by weir for each response.
fn is_not_stored(name: &HeaderName) -> bool {
    if is_hop_by_hop(name) {
        return true;
    }
    let name = name.as_str();
    matches!(
        name,
        "proxy-authentication-info"
            | "age"
            | "cache-status"
            | "content-length"
            | "server-timing"
            | "set-cookie"
            | "x-request-id"
            | "x-upstream-request-id"
    ) || name.starts_with("ratelimit")
}
