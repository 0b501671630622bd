//! How a backend framed its answer, and what a client may be told of it (RFC 9112, section 6).
//!
//! One table for every answer. The client is never told what the backend's fields say, only what the
//! body turned out to be, so that nobody behind weir can read the answer in another way than weir did.

use http::header::CONTENT_LENGTH;
use http::response::Parts;
use http::{Method, StatusCode};

use crate::http::framing::{self, Coding};

/// What the length of an answer is, and what becomes of the connection it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Framing {
    /// What `Content-Length` says to the client; without one the body ends by chunks or frames.
    pub(crate) length: Option<u64>,
    pub(crate) connection: Connection,
}

/// Whether another request may be sent over the connection that the answer came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Connection {
    Reusable,
    /// The answer was framed in two ways, which "ought to be handled as an error" (section 6.3).
    Suspect,
}

/// Whether the request asked for another protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    Asked,
    NotAsked,
}

/// Judges the head of an answer; `body_bytes` is the length of its body where that is known.
///
/// # Errors
/// What is wrong with it: it cannot be passed on.
pub(crate) fn judge(
    method: &Method,
    upgrade: Upgrade,
    head: &Parts,
    body_bytes: Option<u64>,
) -> Result<Framing, &'static str> {
    if head.status == StatusCode::SWITCHING_PROTOCOLS && upgrade == Upgrade::NotAsked {
        return Err("it switches protocols though nobody asked it to");
    }
    let chunked = framing::coding(&head.headers)? == Coding::Chunked;
    let has_length = head.headers.contains_key(CONTENT_LENGTH);
    let connection = match chunked && has_length {
        true => Connection::Suspect,
        false => Connection::Reusable,
    };
    let length = match head.status {
        // RFC 9110, section 8.6: these have no length, and a client that believes one waits for a body.
        StatusCode::NO_CONTENT => None,
        status if status.is_informational() => None,
        // The length that the body would have.
        status if *method == Method::HEAD || status == StatusCode::NOT_MODIFIED => match chunked {
            true => None,
            false => framing::content_length(&head.headers).ok().flatten(),
        },
        _ => body_bytes,
    };
    Ok(Framing { length, connection })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(
        method: &Method,
        status: u16,
        fields: &[(&str, &str)],
        body_bytes: Option<u64>,
    ) -> Result<(Option<u64>, Connection), &'static str> {
        let mut response = http::Response::builder().status(status);
        for (name, value) in fields {
            response = response.header(*name, *value);
        }
        let (head, ()) = response.body(()).expect("a head").into_parts();
        judge(method, Upgrade::NotAsked, &head, body_bytes)
            .map(|framing| (framing.length, framing.connection))
    }

    #[test]
    fn a_client_is_told_what_the_body_is() {
        use Connection::{Reusable, Suspect};
        let te = ("transfer-encoding", "chunked");
        let length = |text| ("content-length", text);
        let (get, head) = (&Method::GET, &Method::HEAD);
        assert_eq!(
            judged(get, 200, &[length("5")], Some(5)),
            Ok((Some(5), Reusable))
        );
        assert_eq!(
            judged(get, 200, &[length("2, 2")], Some(2)),
            Ok((Some(2), Reusable))
        );
        assert_eq!(judged(get, 200, &[te], None), Ok((None, Reusable)));
        assert_eq!(
            judged(get, 200, &[te, length("2")], None),
            Ok((None, Suspect))
        );
        assert_eq!(judged(get, 200, &[], None), Ok((None, Reusable)));
        assert_eq!(
            judged(get, 204, &[length("5")], Some(0)),
            Ok((None, Reusable))
        );
        for (method, status) in [(head, 200), (get, 304)] {
            let judged = |fields: &[_]| judged(method, status, fields, Some(0));
            assert_eq!(judged(&[length("5")]), Ok((Some(5), Reusable)));
            assert_eq!(judged(&[length("5"), length("5")]), Ok((Some(5), Reusable)));
            assert_eq!(judged(&[length("5, 6")]), Ok((None, Reusable)));
            assert_eq!(judged(&[length("+5")]), Ok((None, Reusable)));
            assert_eq!(judged(&[te, length("5")]), Ok((None, Suspect)));
        }
    }

    #[test]
    fn what_cannot_be_passed_on_is_named() {
        for coding in ["gzip, chunked", "chunked, chunked", "gzip", "identity", ""] {
            assert!(judged(&Method::GET, 200, &[("transfer-encoding", coding)], None).is_err());
        }
        let twice = [
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ];
        assert!(judged(&Method::GET, 200, &twice, None).is_err());
        assert!(judged(&Method::GET, 101, &[("upgrade", "websocket")], None).is_err());
    }
}
