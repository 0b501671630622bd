//! The head of an answer on its way to the client, whatever version of HTTP the client speaks.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;

/// How many fields a head has room for at first.
const FIELDS: usize = 16;

/// Status and fields. There are few of them, so a list is cheaper than a map.
#[derive(Debug)]
pub(crate) struct AnswerHead {
    pub(crate) status: StatusCode,
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    /// Fields that are written already: lines of `name: value` and CR LF.
    pub(super) lines: Bytes,
}

impl AnswerHead {
    /// A head without fields.
    pub(crate) fn new(status: StatusCode) -> Self {
        AnswerHead {
            status,
            fields: Vec::with_capacity(FIELDS),
            lines: Bytes::new(),
        }
    }

    /// A head whose first fields are written already, in lines of `name: value` and CR LF. None of
    /// them may be one that is set later.
    pub(crate) fn with_lines(status: StatusCode, lines: Bytes) -> Self {
        AnswerHead {
            lines,
            ..AnswerHead::new(status)
        }
    }

    /// Sets a field: whatever stood under its name is gone.
    pub(crate) fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value));
    }

    /// Adds a field behind those of the same name.
    pub(crate) fn append(&mut self, name: HeaderName, value: HeaderValue) {
        self.fields.push((name, value));
    }

    /// The same head as pingora writes it.
    pub(crate) fn into_pingora(self) -> Box<ResponseHeader> {
        let fields = Some(FIELDS.max(self.fields.len()));
        let mut head = match ResponseHeader::build_no_case(self.status, fields) {
            Ok(head) => Box::new(head),
            // A `StatusCode` is always a valid one; pingora's signature does not know.
            Err(_) => Box::new(ServerSession::generate_error(500)),
        };
        let lines = self.lines.split(|byte| *byte == b'\n');
        for line in lines.filter_map(|line| line.strip_suffix(b"\r")) {
            let colon = memchr::memchr(b':', line).unwrap_or(line.len());
            let (name, value) = line.split_at(colon);
            let name = HeaderName::from_bytes(name);
            let value = HeaderValue::from_bytes(value.strip_prefix(b": ").unwrap_or(value));
            if let (Ok(name), Ok(value)) = (name, value) {
                let _ = head.append_header(name, value);
            }
        }
        for (name, value) in self.fields {
            // Names and values are valid by their types, so nothing can be refused.
            let _ = head.append_header(name, value);
        }
        head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_lines_become_fields_of_pingora() {
        let lines = Bytes::from_static(b"etag: a: b\r\netag: \xe4\r\nx-empty: \r\n");
        let mut head = AnswerHead::with_lines(StatusCode::CREATED, lines);
        head.set(http::header::AGE, HeaderValue::from(1));
        head.set(http::header::AGE, HeaderValue::from(2));
        let head = head.into_pingora();
        let fields: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let expected: [(&str, &[u8]); 4] = [
            ("etag", b"a: b"),
            ("etag", b"\xe4"),
            ("x-empty", b""),
            ("age", b"2"),
        ];
        assert_eq!(fields, expected);
        assert_eq!(head.status, 201);
    }
}
