//! Parses the head of a request (RFC 9112): method, target, fields, and the framing of its body.
//!
//! Ambiguous framing is rejected: it is the root of request smuggling.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::request::Parts;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};

use super::KeepAlive;
use crate::http::framing::{self, Coding};
use crate::http::hop_by_hop::has_option;
use crate::refusal::{ErrorCode, Refusal};

const LINES_MAX: usize = 256;

/// How the end of a request body is determined (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFraming {
    /// There is neither a length nor chunks, and so no body.
    Bodiless,
    Length(u64),
    Chunked,
}

/// Parses a complete head into `parts`, which must have no fields yet.
///
/// # Errors
/// `bad_request` for a head that is not HTTP/1 or whose body could be framed in two ways;
/// `header_too_large` beyond 256 lines.
pub(crate) fn parse(head: &Bytes, parts: &mut Parts) -> Result<RequestFraming, Refusal> {
    let mut lines = [const { MaybeUninit::uninit() }; LINES_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut lines) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(bad("the head is not valid HTTP/1.1")),
        Err(error) => return Err(refusal_of(error)),
    }
    let method = request.method.unwrap_or_default();
    parts.method =
        Method::from_bytes(method.as_bytes()).map_err(|_| bad("the method is not valid"))?;
    parts.version = match request.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let target = request.path.unwrap_or_default();
    parts.uri = target_of(&parts.method, head.slice_ref(target.as_bytes()))?;
    parts.headers.reserve(request.headers.len());
    for line in &*request.headers {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(bad("a header line is not valid"));
        };
        parts.headers.append(name, value);
    }
    framing(parts.version, &parts.headers)
}

fn bad(detail: &'static str) -> Refusal {
    Refusal::new(ErrorCode::BadRequest, detail)
}

fn refusal_of(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => {
            let detail = format!("a head may have at most {LINES_MAX} header lines");
            Refusal::new(ErrorCode::HeaderTooLarge, detail)
        }
        httparse::Error::Version => bad("the version is not HTTP/1.0 or HTTP/1.1"),
        httparse::Error::HeaderName => bad("a header name is not valid"),
        httparse::Error::HeaderValue => bad("a header value is not valid"),
        _ => bad("the head is not valid HTTP/1.1"),
    }
}

/// Parses the target in one of the forms of RFC 9112, section 3.2.
fn target_of(method: &Method, target: Bytes) -> Result<Uri, Refusal> {
    let text = std::str::from_utf8(&target).map_err(|_| bad("the path is not UTF-8"))?;
    if text.contains('#') {
        return Err(bad("the request target contains a fragment"));
    }
    let flaw = bad("the request target is not valid");
    if text.starts_with('/') {
        let path = PathAndQuery::from_maybe_shared(target).map_err(|_| flaw)?;
        return Ok(Uri::from(path));
    }
    let alone = text == "*" && *method == Method::OPTIONS || *method == Method::CONNECT;
    let uri = Uri::from_maybe_shared(target).map_err(|_| bad("the request target is not valid"))?;
    let absolute =
        matches!(uri.scheme(), Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS);
    if absolute || alone {
        Ok(uri)
    } else {
        Err(flaw)
    }
}

/// The framing of the body. Ambiguous framing is rejected, so that no intermediary in front of weir can have
/// read it differently (request smuggling; RFC 9112, sections 6.1 and 6.3).
fn framing(version: Version, headers: &HeaderMap) -> Result<RequestFraming, Refusal> {
    let coding = framing::coding(headers)
        .map_err(|_| bad("the only supported Transfer-Encoding is chunked"))?;
    if coding == Coding::Plain {
        let length = framing::content_length(headers)
            .map_err(|_| bad("Content-Length is not one number"))?;
        return Ok(length.map_or(RequestFraming::Bodiless, RequestFraming::Length));
    }
    if version == Version::HTTP_10 {
        return Err(bad("Transfer-Encoding is not allowed in HTTP/1.0"));
    }
    if headers.contains_key(header::CONTENT_LENGTH) {
        return Err(bad(
            "Transfer-Encoding and Content-Length must not be combined",
        ));
    }
    Ok(RequestFraming::Chunked)
}

/// Whether the client keeps its connection open: by default HTTP/1.1 does and HTTP/1.0 does not.
pub(super) fn keep_alive(head: &Parts) -> KeepAlive {
    let named = |option: &[u8]| has_option(&head.headers, option);
    let open = match head.version {
        Version::HTTP_10 => named(b"keep-alive") && !named(b"close"),
        _ => !named(b"close"),
    };
    match open {
        true => KeepAlive::Open,
        false => KeepAlive::Close,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(head: &str) -> Result<(Parts, RequestFraming), Refusal> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        let framing = parse(&Bytes::copy_from_slice(head.as_bytes()), &mut parts)?;
        Ok((parts, framing))
    }

    fn framed(lines: &str) -> Result<RequestFraming, Refusal> {
        read(&format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n")).map(|(_, framing)| framing)
    }

    #[test]
    fn a_complete_head_is_parsed() {
        let (parts, framing) =
            read("PATCH /a?b=%20 HTTP/1.0\r\nHost: x:1\r\nA: 1\r\na: \u{e4}\r\nE:\r\n\r\n")
                .expect("valid");
        assert_eq!(parts.method, Method::PATCH);
        assert_eq!(parts.version, Version::HTTP_10);
        assert_eq!(parts.uri.path(), "/a");
        assert_eq!(parts.uri.query(), Some("b=%20"));
        assert_eq!(parts.headers.get_all("a").iter().count(), 2);
        assert_eq!(parts.headers["e"], "");
        assert_eq!(framing, RequestFraming::Bodiless);
    }

    #[test]
    fn ambiguous_framing_is_rejected() {
        assert_eq!(
            framed("Content-Length: 5\r\n").ok(),
            Some(RequestFraming::Length(5))
        );
        assert_eq!(
            framed("Content-Length: 5, 5\r\nContent-Length: 5\r\n").ok(),
            Some(RequestFraming::Length(5))
        );
        assert_eq!(
            framed("Transfer-Encoding: Chunked\r\n").ok(),
            Some(RequestFraming::Chunked)
        );
        for lines in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 5,\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            let refusal = framed(lines).expect_err(lines);
            assert_eq!(refusal.code, ErrorCode::BadRequest, "{lines}");
        }
        let old = read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert!(old.is_err());
    }

    #[test]
    fn targets_have_one_of_the_standard_forms() {
        let target = |method: &str, target: &str| {
            read(&format!("{method} {target} HTTP/1.1\r\n\r\n")).map(|(parts, _)| parts.uri)
        };
        let absolute = target("GET", "http://a.test:80/b?c").expect("absolute form");
        assert_eq!(absolute.path(), "/b");
        assert_eq!(absolute.authority().map(|a| a.as_str()), Some("a.test:80"));
        assert!(target("OPTIONS", "*").is_ok());
        assert!(target("CONNECT", "a.test:443").is_ok());
        for (method, text) in [
            ("GET", "*"),
            ("GET", "a.test:443"),
            ("GET", "chat"),
            ("GET", "/a#b"),
            ("GET", "ftp://a/b"),
            ("GET", "//a\\<b"),
        ] {
            assert!(target(method, text).is_err(), "{method} {text}");
        }
    }

    #[test]
    fn an_invalid_head_is_rejected_with_a_reason() {
        for head in [
            "GET / HTTP/2.0\r\n\r\n",
            "G(T / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA : b\r\n\r\n",
            "GET / HTTP/1.1\r\nA: b\0\r\n\r\n",
            "GET / HTTP/1.1\r\n: b\r\n\r\n",
        ] {
            assert_eq!(read(head).expect_err(head).code, ErrorCode::BadRequest);
        }
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(LINES_MAX + 1));
        let refusal = read(&many).expect_err("too many");
        assert_eq!(refusal.code, ErrorCode::HeaderTooLarge);
    }
}
