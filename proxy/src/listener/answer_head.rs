//! The head of an answer on its way to the client, whatever version of HTTP the client speaks.

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
}

impl AnswerHead {
    /// A head without fields.
    pub(crate) fn new(status: StatusCode) -> Self {
        AnswerHead {
            status,
            fields: Vec::with_capacity(FIELDS),
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
        let fields = Some(self.fields.len());
        let mut head = match ResponseHeader::build_no_case(self.status, fields) {
            Ok(head) => Box::new(head),
            // A `StatusCode` is always a valid one; pingora's signature does not know.
            Err(_) => Box::new(ServerSession::generate_error(500)),
        };
        for (name, value) in self.fields {
            // Names and values are valid by their types, so nothing can be refused.
            let _ = head.append_header(name, value);
        }
        head
    }
}
