//! Parses the head of a response (RFC 9112): status, fields, and how its body is framed.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::response::{Parts, Response};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use crate::http::framing::{self, Coding};

/// The length of a head.
pub(super) const BYTES_MAX: usize = 64 * 1024;
/// The fields of a head, or of the trailers.
pub(super) const FIELDS_MAX: usize = 100;

/// What every head begins with.
const VERSION: &[u8] = b"HTTP/1.";

/// How the end of the body is known (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamFraming {
    /// There is no body, whatever the fields announce.
    Bodiless,
    Length(u64),
    Chunked,
    UntilClose,
}

/// Whether the endpoint keeps the connection alive for another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Kept,
    Closed,
}

/// A parsed head.
#[derive(Debug)]
pub(crate) struct ParsedHead {
    pub(super) parts: Parts,
    pub(super) framing: UpstreamFraming,
    pub(super) persistence: Persistence,
}

/// Where the head ends, once it is complete: after its first empty line. What is before `scanned` has been
/// searched already.
///
/// # Errors
/// What has arrived is not the beginning of a head, or too long for one.
pub(crate) fn end(arrived: &[u8], scanned: usize) -> Result<Option<usize>, &'static str> {
    let begun = arrived.len().min(VERSION.len());
    if arrived[..begun] != VERSION[..begun] {
        return Err("the response does not begin with HTTP/1.0 or HTTP/1.1");
    }
    // The line end before an empty line may have arrived before the rest of it.
    let from = scanned.saturating_sub(2);
    let mut ends = memchr::memchr_iter(b'\n', &arrived[from..]).map(|at| from + at + 1);
    let end = ends.find_map(|next| match &arrived[next..] {
        [b'\n', ..] => Some(next + 1),
        [b'\r', b'\n', ..] => Some(next + 2),
        _ => None,
    });
    match end.unwrap_or(arrived.len()) {
        bytes if bytes > BYTES_MAX => Err("the response head is too long"),
        _ => Ok(end),
    }
}

/// Parses a complete head of a response to a request with this method. Names and values are slices of it.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(head: &Bytes, method: &Method) -> Result<ParsedHead, &'static str> {
    let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut lines,
    );
    match parsed {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err("the response head is incomplete"),
        Err(error) => return Err(flaw_of(error)),
    }
    let (mut parts, ()) = Response::new(()).into_parts();
    parts.status = StatusCode::from_u16(response.code.unwrap_or_default())
        .map_err(|_| "the status is not valid")?;
    parts.version = match response.version {
        Some(0) => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    append(&mut parts.headers, head, response.headers)?;
    let framing = framing(method, &parts)?;
    let persistence = persistence(&parts, framing);
    Ok(ParsedHead {
        parts,
        framing,
        persistence,
    })
}

/// Parses the lines of the trailers, which end with an empty one.
///
/// # Errors
/// What is wrong with them.
pub(super) fn parse_trailers(lines: &Bytes) -> Result<HeaderMap, &'static str> {
    let mut parsed_lines = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut fields = HeaderMap::new();
    match httparse::parse_headers(lines, &mut parsed_lines) {
        Ok(httparse::Status::Complete((_, parsed))) => append(&mut fields, lines, parsed)?,
        Ok(httparse::Status::Partial) => return Err("the trailers are incomplete"),
        Err(error) => return Err(flaw_of(error)),
    }
    Ok(fields)
}

fn append(
    fields: &mut HeaderMap,
    text: &Bytes,
    lines: &[httparse::Header<'_>],
) -> Result<(), &'static str> {
    fields.reserve(lines.len());
    for line in lines {
        let name = HeaderName::from_bytes(line.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(text.slice_ref(line.value));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err("a response header is not valid");
        };
        fields.append(name, value);
    }
    Ok(())
}

fn flaw_of(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::TooManyHeaders => "the response has too many header fields",
        httparse::Error::Version => "the response does not begin with HTTP/1.0 or HTTP/1.1",
        httparse::Error::HeaderName => "the name of a response header is not valid",
        httparse::Error::HeaderValue => "the value of a response header is not valid",
        httparse::Error::Status => "the status line is not valid",
        _ => "the response head is not valid",
    }
}

fn framing(method: &Method, head: &Parts) -> Result<UpstreamFraming, &'static str> {
    let coding = framing::coding(&head.headers)?;
    if coding == Coding::Chunked && head.version == Version::HTTP_10 {
        return Err("HTTP/1.0 has no Transfer-Encoding");
    }
    let bodiless = head.status.is_informational()
        || matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
    if bodiless || *method == Method::HEAD {
        return Ok(UpstreamFraming::Bodiless);
    }
    match coding {
        Coding::Chunked => Ok(UpstreamFraming::Chunked),
        Coding::Plain => Ok(match framing::content_length(&head.headers)? {
            Some(bytes) => UpstreamFraming::Length(bytes),
            None => UpstreamFraming::UntilClose,
        }),
    }
}

/// HTTP/1.1 keeps a connection alive by default, HTTP/1.0 closes it by default (RFC 9112,
/// section 9.3). A response that is framed in two ways, as in response splitting, closes it (section 6.3).
fn persistence(head: &Parts, framing: UpstreamFraming) -> Persistence {
    let options = head.headers.get_all(header::CONNECTION).iter();
    let mut options = options.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let (mut close, mut keep_alive) = (false, false);
    for option in &mut options {
        let option = option.trim_ascii();
        close |= option.eq_ignore_ascii_case(b"close");
        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    let framed_twice = head.headers.contains_key(header::TRANSFER_ENCODING)
        && head.headers.contains_key(header::CONTENT_LENGTH);
    let kept = !close
        && (keep_alive || head.version == Version::HTTP_11)
        && !framed_twice
        && framing != UpstreamFraming::UntilClose
        && head.status != StatusCode::SWITCHING_PROTOCOLS;
    match kept {
        true => Persistence::Kept,
        false => Persistence::Closed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(method: &Method, head: &str) -> Result<ParsedHead, &'static str> {
        let end = end(head.as_bytes(), 0)?.ok_or("not whole")?;
        parse(&Bytes::copy_from_slice(&head.as_bytes()[..end]), method)
    }

    fn framed(head: &str) -> Result<(UpstreamFraming, Persistence), &'static str> {
        read(&Method::GET, head).map(|head| (head.framing, head.persistence))
    }

    #[test]
    fn a_complete_head_is_parsed() {
        let head = "HTTP/1.1 207 Multi \u{e4}\r\nContent-Type: a\r\nX-A: 1\r\nx-a:\t2 \r\nE:\r\nContent-Length: 5\r\n\r\n";
        let head = read(&Method::GET, head).expect("valid");
        assert_eq!(head.parts.status, 207);
        assert_eq!(head.parts.version, Version::HTTP_11);
        let values: Vec<_> = head.parts.headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["1", "2"]);
        assert_eq!(head.parts.headers["e"], "");
        assert_eq!(head.framing, UpstreamFraming::Length(5));
        assert_eq!(head.persistence, Persistence::Kept);
        // Simple endpoints send no reason, and lines that end with LF alone.
        let head = read(&Method::GET, "HTTP/1.0 200\nContent-Length: 0\n\n").expect("valid");
        assert_eq!(head.parts.version, Version::HTTP_10);
        assert_eq!(head.framing, UpstreamFraming::Length(0));
    }

    #[test]
    fn the_end_of_a_head_is_found_in_any_pieces() {
        for whole in [
            "HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
            "HTTP/1.1 200 OK\nA: b\n\n",
            "HTTP/1.1 200 OK\n\r\n",
        ] {
            let with_body = format!("{whole}\r\n\r\nbody");
            for scanned in 0..whole.len() {
                assert_eq!(end(&whole.as_bytes()[..scanned], 0), Ok(None), "{whole:?}");
                let found = end(with_body.as_bytes(), scanned);
                assert_eq!(found, Ok(Some(whole.len())), "{whole:?} at {scanned}");
            }
        }
    }

    #[test]
    fn the_framing_of_a_body_is_unambiguous() {
        use Persistence::{Closed, Kept};
        use UpstreamFraming::{Bodiless, Chunked, Length, UntilClose};
        let head =
            |version: &str, fields: &str| framed(&format!("HTTP/{version} 200 OK\r\n{fields}\r\n"));
        for (version, fields, expected) in [
            ("1.1", "Content-Length: 5\r\n", (Length(5), Kept)),
            (
                "1.1",
                "Content-Length: 5, 5\r\nContent-Length: 5\r\n",
                (Length(5), Kept),
            ),
            ("1.1", "Transfer-Encoding: Chunked \r\n", (Chunked, Kept)),
            (
                "1.1",
                "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
                (Chunked, Closed),
            ),
            (
                "1.1",
                "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
                (Chunked, Closed),
            ),
            ("1.1", "", (UntilClose, Closed)),
            ("1.1", "Connection: keep-alive\r\n", (UntilClose, Closed)),
            (
                "1.1",
                "Connection: x, Close\r\nContent-Length: 5\r\n",
                (Length(5), Closed),
            ),
            ("1.0", "Content-Length: 5\r\n", (Length(5), Closed)),
            (
                "1.0",
                "Content-Length: 5\r\nConnection: keep-alive\r\n",
                (Length(5), Kept),
            ),
            (
                "1.0",
                "Content-Length: 5\r\nConnection: keep-alive, close\r\n",
                (Length(5), Closed),
            ),
        ] {
            assert_eq!(head(version, fields), Ok(expected), "{version} {fields:?}");
        }
        for fields in [
            "Content-Length: 5\r\nContent-Length: 6\r\n",
            "Content-Length: 5, 6\r\n",
            "Content-Length: +5\r\n",
            "Content-Length:\r\n",
            "Content-Length: 18446744073709551616\r\n",
            "Transfer-Encoding: gzip, chunked\r\n",
            "Transfer-Encoding: chunked, identity\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding:\r\n",
        ] {
            assert!(head("1.1", fields).is_err(), "{fields:?}");
        }
        assert!(head("1.0", "Transfer-Encoding: chunked\r\n").is_err());
        for status in [101, 103, 204, 304] {
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 5\r\n\r\n");
            assert_eq!(framed(&head).map(|framed| framed.0), Ok(Bodiless), "{head}");
        }
        let method = read(
            &Method::HEAD,
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        );
        assert_eq!(method.expect("valid").framing, Bodiless);
    }

    #[test]
    fn malformed_heads_are_rejected() {
        for head in [
            "nothing of HTTP\r\n\r\n",
            "HTTP/2 200 OK\r\n\r\n",
            "HTTP/1.2 200 OK\r\n\r\n",
            "HTTP/1.1 20 OK\r\n\r\n",
            "HTTP/1.1 2000 OK\r\n\r\n",
            "HTTP/1.1 099 OK\r\n\r\n",
            "HTTP/1.1 abc OK\r\n\r\n",
            "HTTP/1.1  200 OK\r\n\r\n",
            "HTTP/1.1 200 O\0K\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
            "HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n",
            "HTTP/1.1 200 OK\r\n: b\r\n\r\n",
            "HTTP/1.1 200 OK\r\nA\u{e4}: b\r\n\r\n",
            "HTTP/1.1 200\r\r\n\r\n",
        ] {
            assert!(read(&Method::GET, head).is_err(), "{head:?}");
        }
        // Detected at once, not only when the head is complete.
        assert!(end(b"what", 0).is_err());
        assert!(end(b"HTTP/2", 0).is_err());
        assert_eq!(end(b"HTTP/1", 0), Ok(None));
    }

    #[test]
    fn the_size_of_a_head_is_bounded() {
        let head = |fields: usize| {
            let fields = "a: b\r\n".repeat(fields);
            read(&Method::GET, &format!("HTTP/1.1 200 OK\r\n{fields}\r\n"))
        };
        assert!(head(FIELDS_MAX).is_ok());
        assert_eq!(
            head(FIELDS_MAX + 1).err(),
            Some("the response has too many header fields")
        );
        let long = format!("HTTP/1.1 200 OK\r\na: {}", "b".repeat(BYTES_MAX));
        assert!(end(long.as_bytes(), 0).is_err());
        assert!(end(format!("{long}\r\n\r\n").as_bytes(), 0).is_err());
    }

    #[test]
    fn trailers_are_parsed_as_fields() {
        let lines = Bytes::from_static(b"X-Sum: 1\r\nx-sum: 2\r\n\r\n");
        let fields = parse_trailers(&lines).expect("valid");
        assert_eq!(fields.get_all("x-sum").iter().count(), 2);
        for flawed in [
            "x\r\n\r\n",
            "a : b\r\n\r\n",
            ": b\r\n\r\n",
            "a: b\r\n",
            "a: b\r\n c\r\n\r\n",
        ] {
            assert!(
                parse_trailers(&Bytes::from_static(flawed.as_bytes())).is_err(),
                "{flawed:?}"
            );
        }
    }
}
