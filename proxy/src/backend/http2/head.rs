//! The head of a request over HTTP/2: what HTTP/1.1 has in its first line and in `Host` are pseudo-header fields
//! (RFC 9113, section 8.3.1).

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};

/// Fields of an HTTP/1.1 connection (RFC 9113, section 8.2.2).
const CONNECTION_FIELDS: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The head of a request that has been prepared for HTTP/1.1, with a body of this length, if it is known.
///
/// # Errors
/// Host or target cannot be sent.
pub(super) fn of_request(mut head: Parts, length: Option<u64>) -> Result<Request<()>, http::Error> {
    let host = head.headers.remove(header::HOST);
    let host = host.and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let written = head.uri.into_parts();
    let root = PathAndQuery::from_static("/");
    let mut uri = Uri::builder()
        .scheme(written.scheme.unwrap_or(Scheme::HTTP))
        .path_and_query(written.path_and_query.unwrap_or(root));
    if let Some(authority) = host.or(written.authority) {
        uri = uri.authority(authority);
    }
    for name in CONNECTION_FIELDS {
        head.headers.remove(name);
    }
    // weir forwards trailers, and gRPC servers require that.
    let trailers = HeaderValue::from_static("trailers");
    head.headers.insert(header::TE, trailers);
    // RFC 9110, section 8.6: these methods announce an empty body.
    let is_expected = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    if let Some(bytes) = length.filter(|bytes| *bytes > 0 || is_expected) {
        head.headers.insert(header::CONTENT_LENGTH, bytes.into());
    }
    let mut request = Request::new(());
    *request.method_mut() = head.method;
    *request.uri_mut() = uri.build()?;
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = head.headers;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(uri: &str, fields: &[(&str, &str)], length: Option<u64>) -> Request<()> {
        let mut request = Request::post(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).expect("a request").into_parts();
        of_request(head, length).expect("valid")
    }

    #[test]
    fn the_host_is_the_authority() {
        let request = sent("https://a.test:8443/b?c", &[("host", "b.test")], None);
        assert_eq!(request.uri(), "https://b.test/b?c");
        assert!(!request.headers().contains_key("host"));
        let request = sent("http://a.test:80/b", &[], None);
        assert_eq!(request.uri(), "http://a.test:80/b");
        let request = sent("/b", &[("host", "c.test")], None);
        assert_eq!(request.uri(), "http://c.test/b");
    }

    #[test]
    fn fields_of_a_connection_are_removed_and_the_length_is_announced() {
        let fields = [("keep-alive", "1"), ("x-a", "1"), ("x-a", "2")];
        let request = sent("http://a.test/", &fields, Some(0));
        assert!(!request.headers().contains_key("keep-alive"));
        assert_eq!(request.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.headers()["content-length"], "0");
        let request = sent("http://a.test/", &[], None);
        assert!(!request.headers().contains_key("content-length"));
    }
}
