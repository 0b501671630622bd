//! Heads, chunks and paths: they decide where a request ends and where it is forwarded.

use std::borrow::Cow;

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{Method, Version, header};

use super::piece_size;
use crate::backend::http1::response_head;
use crate::http::framing::chunked::{Chunked, Step};
use crate::http::http1::request::{self, RequestFraming};
use crate::route::path::{self, EncodedSlash, folded};

/// An accepted head has exactly one framing, and is the same after it is written and parsed again.
pub fn request_head(data: &[u8]) {
    let Some((parts, framing)) = parsed(data) else {
        return;
    };
    let coded = parts.headers.contains_key(header::TRANSFER_ENCODING);
    let sized = parts.headers.contains_key(header::CONTENT_LENGTH);
    match framing {
        RequestFraming::Bodiless => assert!(!coded && !sized),
        RequestFraming::Length(_) => assert!(!coded && sized),
        RequestFraming::Chunked => assert!(coded && !sized && parts.version == Version::HTTP_11),
    }
    let mut again = format!("{} {} {:?}\r\n", parts.method, parts.uri, parts.version).into_bytes();
    for (name, value) in &parts.headers {
        again.extend_from_slice(name.as_str().as_bytes());
        again.extend_from_slice(b": ");
        again.extend_from_slice(value.as_bytes());
        again.extend_from_slice(b"\r\n");
    }
    again.extend_from_slice(b"\r\n");
    let Some((second, second_framing)) = parsed(&again) else {
        panic!("rejected: {}", again.escape_ascii());
    };
    assert_eq!(framing, second_framing);
    assert_eq!(parts.headers, second.headers);
    assert_eq!((parts.method, parts.uri), (second.method, second.uri));
}

fn parsed(head: &[u8]) -> Option<(Parts, RequestFraming)> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    let framing = request::parse(&Bytes::copy_from_slice(head), &mut parts).ok()?;
    Some((parts, framing))
}

/// The end of a backend's head is the same in one piece and in two, and parsing up to it does not panic.
pub fn response_head(data: &[u8]) {
    let Some((&cut, data)) = data.split_first() else {
        return;
    };
    let whole = response_head::end(data, 0);
    let scanned = usize::from(cut).min(data.len());
    if response_head::end(&data[..scanned], 0) == Ok(None) {
        assert_eq!(response_head::end(data, scanned), whole);
    }
    if let Ok(Some(end)) = whole {
        let head = Bytes::copy_from_slice(&data[..end]);
        for method in [Method::GET, Method::HEAD, Method::CONNECT] {
            drop(response_head::parse(&head, &method));
        }
    }
}

/// A chunked body is the same in one piece and in several.
pub fn chunks(data: &[u8]) {
    let Some((size, data)) = piece_size(data) else {
        return;
    };
    let whole = dechunked(data.chunks(data.len().max(1)));
    let pieces = dechunked(data.chunks(size));
    assert_eq!(whole.is_err(), pieces.is_err());
    if whole.is_ok() {
        assert_eq!(whole, pieces);
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Dechunked {
    data: Vec<u8>,
    trailers: Vec<Bytes>,
    has_ended: bool,
}

fn dechunked<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Dechunked, &'static str> {
    let mut chunked = Chunked::Size;
    let mut arrived = BytesMut::new();
    let mut body = Dechunked::default();
    for piece in pieces {
        arrived.extend_from_slice(piece);
        loop {
            match chunked.step(&mut arrived)? {
                Step::Data(data) => body.data.extend_from_slice(&data),
                Step::Trailer(line) => body.trailers.push(line),
                Step::More => break,
                Step::End => {
                    body.has_ended = true;
                    return Ok(body);
                }
            }
        }
    }
    Ok(body)
}

/// A canonical path is absolute, ASCII, without empty or dot segments, and canonical; its folded form
/// differs only if `may_differ` returns true.
pub fn path(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(canonical) = path::canonical(raw, EncodedSlash::Keep) else {
        return;
    };
    assert!(canonical.starts_with('/') && canonical.is_ascii());
    assert!(!canonical.contains("//"));
    let dots = |segment: &str| matches!(segment, "." | "..");
    assert!(!canonical.split('/').any(dots), "{canonical}");
    let again = path::canonical(&canonical, EncodedSlash::Keep);
    assert_eq!(again, Ok(Cow::Borrowed(&*canonical)));
    let strict = path::canonical(raw, EncodedSlash::Reject);
    assert_eq!(strict.is_ok(), !canonical.contains("%2F"));
    let (first, second) = folded::forms(&canonical);
    if !folded::may_differ(&canonical) {
        assert_eq!((first.as_str(), second), (&*canonical, None));
    }
}
