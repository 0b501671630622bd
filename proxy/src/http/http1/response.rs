//! Writes the head of a response and frames its body (RFC 9112, sections 4 to 6).

use std::cell::RefCell;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode, Version};

use super::KeepAlive;
use crate::clock;
use crate::http::io::WriteError;
use crate::http::response_head::{Date, ResponseHead};

/// How the client recognises the end of a response body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is no body, whatever is written: `HEAD`, 101, 204, 304.
    Bodiless,
    /// How many bytes are still to come.
    Length(u64),
    Chunked,
    /// The end of the connection ends the body: HTTP/1.0.
    UntilClose,
}

/// The progress of the response head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadState {
    Unwritten,
    /// In the buffer.
    Buffered,
    Sent,
}

impl HeadState {
    /// The buffer has been written to the client.
    pub(super) fn after_write(self) -> Self {
        match self {
            HeadState::Unwritten => HeadState::Unwritten,
            HeadState::Buffered | HeadState::Sent => HeadState::Sent,
        }
    }
}

pub(super) async fn with_timeout(
    timeout: Duration,
    writing: impl Future<Output = std::io::Result<()>>,
) -> Result<(), WriteError> {
    match clock::timeout(timeout, writing).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(WriteError),
    }
}

/// Appends the head, including the fields of the connection, to `out`.
pub(super) fn write_head(
    out: &mut Vec<u8>,
    head: &ResponseHead,
    method: &Method,
    version: Version,
    keep_alive: &mut KeepAlive,
) -> Framing {
    let framing = framing(head, method, version);
    if framing == Framing::UntilClose {
        *keep_alive = KeepAlive::Close;
    }
    write_status(out, head.status);
    out.extend_from_slice(head.lines());
    if head.date() == Date::Missing {
        with_date(|date| field(out, "date", date));
    }
    if framing == Framing::Chunked {
        field(out, "transfer-encoding", b"chunked");
    }
    match (*keep_alive, version) {
        // The head of an upgrade carries its own `Connection`.
        _ if head.status == StatusCode::SWITCHING_PROTOCOLS => {}
        (KeepAlive::Close, _) => field(out, "connection", b"close"),
        (KeepAlive::Open, Version::HTTP_10) => field(out, "connection", b"keep-alive"),
        (KeepAlive::Open, _) => {}
    }
    out.extend_from_slice(b"\r\n");
    framing
}

/// Appends an informational (1xx) head: without a body and without `Connection`.
pub(super) fn write_informational(out: &mut Vec<u8>, head: &ResponseHead) {
    write_status(out, head.status);
    out.extend_from_slice(head.lines());
    out.extend_from_slice(b"\r\n");
}

fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    let reason = status.canonical_reason().unwrap_or_default();
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk and the trailers of a response.
pub(super) fn write_last_chunk(out: &mut Vec<u8>, trailers: &HeaderMap) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers {
        field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends the size line of a chunk.
pub(super) fn write_chunk_size(out: &mut Vec<u8>, bytes: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let bits = usize::BITS - bytes.leading_zeros();
    for place in (0..bits.div_ceil(4).max(1)).rev() {
        out.push(DIGITS[(bytes >> (place * 4)) & 0xf]);
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn framing(head: &ResponseHead, method: &Method, version: Version) -> Framing {
    let bodiless = matches!(
        head.status,
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED | StatusCode::SWITCHING_PROTOCOLS
    );
    if bodiless || *method == Method::HEAD {
        return Framing::Bodiless;
    }
    match (head.content_length(), version) {
        (Some(bytes), _) => Framing::Length(bytes),
        (None, Version::HTTP_10) => Framing::UntilClose,
        (None, _) => Framing::Chunked,
    }
}

/// The time in the format of `Date` (RFC 9110, section 6.6.1), formatted once a second.
fn with_date(write: impl FnOnce(&[u8])) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = RefCell::default();
    }
    let now_s = clock::unix_now().as_secs();
    DATE.with_borrow_mut(|(second, text)| {
        if *second != now_s || text.is_empty() {
            *second = now_s;
            *text = date(now_s);
        }
        write(text.as_bytes());
    });
}

fn date(unix_s: u64) -> String {
    let seconds = i64::try_from(unix_s).unwrap_or_default();
    let timestamp = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    printer
        .timestamp_to_rfc9110_string(&timestamp)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    fn written(
        status: u16,
        length: Option<u64>,
        method: Method,
        version: Version,
    ) -> (String, Framing, KeepAlive) {
        let status = StatusCode::from_u16(status).expect("a status");
        let mut head = ResponseHead::new(status);
        head.field(&header::DATE, &HeaderValue::from_static("today"));
        if let Some(length) = length {
            head.number(&header::CONTENT_LENGTH, length);
        }
        let (mut out, mut keep_alive) = (Vec::new(), KeepAlive::Open);
        let framing = write_head(&mut out, &head, &method, version, &mut keep_alive);
        (String::from_utf8(out).expect("ASCII"), framing, keep_alive)
    }

    #[test]
    fn the_framing_depends_on_the_http_version_of_the_client() {
        let new = Version::HTTP_11;
        let (head, framing, _) = written(200, Some(5), Method::GET, new);
        assert_eq!(
            head,
            "HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 5\r\n\r\n"
        );
        assert_eq!(framing, Framing::Length(5));
        let (head, framing, _) = written(200, None, Method::GET, new);
        assert!(head.ends_with("transfer-encoding: chunked\r\n\r\n"));
        assert_eq!(framing, Framing::Chunked);
        let (head, framing, _) = written(200, Some(5), Method::HEAD, new);
        assert!(head.contains("content-length: 5\r\n"));
        assert_eq!(framing, Framing::Bodiless);
        for status in [204, 304] {
            let (head, framing, _) = written(status, None, Method::GET, new);
            assert!(!head.contains("chunked"), "{head}");
            assert_eq!(framing, Framing::Bodiless);
        }
        let (head, framing, keep_alive) = written(200, None, Method::GET, Version::HTTP_10);
        assert!(head.ends_with("connection: close\r\n\r\n"), "{head}");
        assert_eq!(
            (framing, keep_alive),
            (Framing::UntilClose, KeepAlive::Close)
        );
        let (head, _, _) = written(200, Some(5), Method::GET, Version::HTTP_10);
        assert!(head.ends_with("connection: keep-alive\r\n\r\n"), "{head}");
    }

    #[test]
    fn a_size_is_written_in_hexadecimal_digits() {
        for size in [1, 15, 16, 255, 256, 4096, 65_537, usize::MAX] {
            let mut out = Vec::new();
            write_chunk_size(&mut out, size);
            assert_eq!(out, format!("{size:x}\r\n").into_bytes());
        }
    }

    #[test]
    fn a_date_has_the_form_of_rfc_9110() {
        assert_eq!(date(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        with_date(|now| assert_eq!(now.len(), 29));
    }
}
