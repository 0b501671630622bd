//! The head of a response on its way to the client, for either version of HTTP.

use http::{HeaderName, HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

/// The initial capacity for fields, in bytes.
const TEXT_BYTES: usize = 768;
/// The initial capacity of pingora's head, in fields.
const FIELDS: usize = 16;

/// Status and fields, the fields already serialised as HTTP/1 lines: most responses are sent that way, and a
/// map of names and values would be built only to be serialised.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    pub(crate) status: StatusCode,
    /// Lines of `name: value` and CR LF.
    text: Vec<u8>,
    content_length: Option<u64>,
    date: Date,
}

/// Whether a head carries `Date` already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Date {
    Present,
    Missing,
}

impl ResponseHead {
    /// A head without fields.
    pub(crate) fn new(status: StatusCode) -> Self {
        ResponseHead {
            status,
            text: Vec::with_capacity(TEXT_BYTES),
            content_length: None,
            date: Date::Missing,
        }
    }

    /// A head whose first fields are serialised already, as lines of `name: value` and CR LF, without
    /// `Content-Length` and `Date`.
    pub(crate) fn with_lines(status: StatusCode, lines: &[u8]) -> Self {
        let mut head = ResponseHead::new(status);
        head.text.extend_from_slice(lines);
        head
    }

    /// As [`ResponseHead::with_lines`], with a `Date` among the lines.
    pub(crate) fn with_dated_lines(status: StatusCode, lines: &[u8]) -> Self {
        let mut head = ResponseHead::with_lines(status, lines);
        head.date = Date::Present;
        head
    }

    /// Adds a field. The caller ensures that no name is duplicated by mistake.
    pub(crate) fn field(&mut self, name: &HeaderName, value: &HeaderValue) {
        if *name == header::CONTENT_LENGTH {
            self.content_length = value.to_str().ok().and_then(|text| text.parse().ok());
        } else if *name == header::DATE {
            self.date = Date::Present;
        }
        self.line(name, value.as_bytes());
    }

    /// Adds a field that is a number.
    pub(crate) fn number(&mut self, name: &HeaderName, value: u64) {
        if *name == header::CONTENT_LENGTH {
            self.content_length = Some(value);
        }
        self.line(name, itoa::Buffer::new().format(value).as_bytes());
    }

    /// Adds a field whose name is known where weir is built, and that says nothing about the message: `prefix` is the name,
    /// a colon and a space, and `write` appends a valid value.
    #[inline]
    pub(crate) fn constant_field<const N: usize>(
        &mut self,
        prefix: &'static [u8; N],
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        self.text.extend_from_slice(prefix);
        write(&mut self.text);
        self.text.extend_from_slice(b"\r\n");
    }

    fn line(&mut self, name: &HeaderName, value: &[u8]) {
        let text = &mut self.text;
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value);
        text.extend_from_slice(b"\r\n");
    }

    /// The fields, as lines of `name: value` and CR LF.
    pub(crate) fn lines(&self) -> &[u8] {
        &self.text
    }

    /// The length of the body, if the head states it.
    pub(crate) fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    pub(crate) fn date(&self) -> Date {
        self.date
    }

    /// The same head as pingora's type.
    pub(crate) fn into_pingora(self) -> Box<ResponseHeader> {
        let mut head = match ResponseHeader::build_no_case(self.status, Some(FIELDS)) {
            Ok(head) => Box::new(head),
            // A `StatusCode` is always valid; pingora's signature does not show it.
            Err(_) => Box::new(ServerSession::generate_error(500)),
        };
        let lines = self.text.split(|byte| *byte == b'\n');
        for line in lines.filter_map(|line| line.strip_suffix(b"\r")) {
            let colon = memchr::memchr(b':', line).unwrap_or(line.len());
            let (name, value) = line.split_at(colon);
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_bytes(value.strip_prefix(b": ").unwrap_or(value));
            // They were valid names and values when they were written.
            if let (Ok(name), Ok(value)) = (name, value) {
                let _ = head.append_header(name, value);
            }
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_lines_become_fields_of_pingora() {
        let lines = b"etag: a: b\r\netag: \xe4\r\nx-empty: \r\n";
        let mut head = ResponseHead::with_lines(StatusCode::CREATED, lines);
        assert_eq!((head.content_length(), head.date()), (None, Date::Missing));
        head.number(&header::CONTENT_LENGTH, 17);
        head.field(&header::DATE, &HeaderValue::from_static("today"));
        assert_eq!(
            (head.content_length(), head.date()),
            (Some(17), Date::Present)
        );
        let head = head.into_pingora();
        let fields = head.headers.iter();
        let fields: Vec<_> = fields
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let expected: [(&str, &[u8]); 5] = [
            ("etag", b"a: b"),
            ("etag", b"\xe4"),
            ("x-empty", b""),
            ("content-length", b"17"),
            ("date", b"today"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(head.status, 201);
    }
}
