//! How a backend framed its response, and how it is framed for the client (RFC 9112, section 6).
//!
//! One table for every response. The `Content-Length` for the client never repeats the backend's field: it is
//! the actual length of the body. So no client can parse a response differently from weir,
//! which rules out response smuggling.

use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{Method, StatusCode};

use crate::http::framing::{self, Coding};

/// The length of a response, and whether its connection can be reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResponseFraming {
    /// The client's `Content-Length`; without one, chunks or frames end the body.
    pub(crate) length: Option<u64>,
    pub(crate) reuse: Reuse,
}

/// Whether another request may be sent over the connection that the response came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Allowed,
    /// The response was framed in two ways, which "ought to be handled as an error" (section 6.3): this may
    /// be request or response smuggling.
    Never,
}

/// Whether the request was for an upgrade to another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    Requested,
    NotRequested,
}

/// Checks the head of a response; `body_bytes` is the length of its body, if known.
///
/// # Errors
/// Why the response cannot be forwarded.
pub(crate) fn check(
    method: &Method,
    upgrade: Upgrade,
    head: &Parts,
    body_bytes: Option<u64>,
) -> Result<ResponseFraming, &'static str> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS && upgrade == Upgrade::NotRequested {
        return Err("it switches protocols although the request did not ask for it");
    }
    let chunked = framing::coding(&head.headers)? == Coding::Chunked;
    let has_length = head.headers.contains_key(CONTENT_LENGTH);
    let reuse = match chunked && has_length {
        true => Reuse::Never,
        false => Reuse::Allowed,
    };
    let length = match head.status {
        // RFC 9110, section 8.6: these have no length, and a client that trusts one waits for a body.
        StatusCode::NO_CONTENT => None,
        status if status.is_informational() => None,
        // The length that the body of a GET would have.
        status if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED => match chunked {
            true => None,
            false => framing::content_length(&head.headers).ok().flatten(),
        },
        _ => body_bytes,
    };
    Ok(ResponseFraming { length, reuse })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(
        method: &Method,
        status: u16,
        fields: &[(&str, &str)],
        body_bytes: Option<u64>,
    ) -> Result<(Option<u64>, Reuse), &'static str> {
        let mut response = http::Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).expect("a head").into_parts();
        check(method, Upgrade::NotRequested, &head, body_bytes)
            .map(|framing| (framing.length, framing.reuse))
    }

    #[test]
    fn content_length_is_the_length_of_the_body() {
        use Reuse::{Allowed, Never};
        let te = ("transfer-encoding", "chunked");
        let length = |text| ("content-length", text);
        let (get, head) = (&Method::GET, &Method::HEAD);
        assert_eq!(
            checked(get, 200, &[length("5")], Some(5)),
            Ok((Some(5), Allowed))
        );
        assert_eq!(
            checked(get, 200, &[length("2, 2")], Some(2)),
            Ok((Some(2), Allowed))
        );
        assert_eq!(checked(get, 200, &[te], None), Ok((None, Allowed)));
        assert_eq!(
            checked(get, 200, &[te, length("2")], None),
            Ok((None, Never))
        );
        assert_eq!(checked(get, 200, &[], None), Ok((None, Allowed)));
        assert_eq!(
            checked(get, 204, &[length("5")], Some(0)),
            Ok((None, Allowed))
        );
        for (method, status) in [(head, 200), (get, 304)] {
            let checked = |fields: &[_]| checked(method, status, fields, Some(0));
            assert_eq!(checked(&[length("5")]), Ok((Some(5), Allowed)));
            assert_eq!(checked(&[length("5"), length("5")]), Ok((Some(5), Allowed)));
            assert_eq!(checked(&[length("5, 6")]), Ok((None, Allowed)));
            assert_eq!(checked(&[length("+5")]), Ok((None, Allowed)));
            assert_eq!(checked(&[te, length("5")]), Ok((None, Never)));
        }
    }

    #[test]
    fn a_response_that_cannot_be_forwarded_is_an_error() {
        for coding in ["gzip, chunked", "chunked, chunked", "gzip", "identity", ""] {
            assert!(checked(&Method::GET, 200, &[("transfer-encoding", coding)], None).is_err());
        }
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert!(checked(&Method::GET, 200, &twice, None).is_err());
        assert!(checked(&Method::GET, 101, &[("upgrade", "websocket")], None).is_err());
    }
}
