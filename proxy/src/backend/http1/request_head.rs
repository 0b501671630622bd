//! Writes the head of a request (RFC 9112, section 3), with the framing of its body (section 6).

use http::request::Parts;
use http::{Method, header};

/// Writes the head of a request with a body of this length; without one, the body is chunked.
pub(super) fn write_head(out: &mut Vec<u8>, head: &Parts, length: Option<u64>) {
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    for part in [head.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    for (name, value) in &head.headers {
        if !matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING) {
            field(out, name.as_str(), value.as_bytes());
        }
    }
    // RFC 9110, section 8.6: these methods announce an empty body.
    let is_expected = matches!(head.method, Method::POST | Method::PUT | Method::PATCH);
    match length {
        Some(0) if !is_expected => {}
        Some(bytes) => field(
            out,
            "content-length",
            itoa::Buffer::new().format(bytes).as_bytes(),
        ),
        None => field(out, "transfer-encoding", b"chunked"),
    }
    out.extend_from_slice(b"\r\n");
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn a_head_announces_the_framing_of_its_body() {
        let written = |method: &str, uri: &str, length| {
            let request = Request::builder()
                .method(method)
                .uri(uri)
                .header("x-a", "1")
                .header("x-a", "2")
                .header("content-length", "9")
                .header("transfer-encoding", "gzip");
            let (head, ()) = request.body(()).expect("a request").into_parts();
            let mut out = Vec::new();
            write_head(&mut out, &head, length);
            String::from_utf8(out).expect("text")
        };
        let fields = "x-a: 1\r\nx-a: 2\r\n";
        for (method, length, framed) in [
            ("GET", Some(0), ""),
            ("DELETE", Some(0), ""),
            ("POST", Some(0), "content-length: 0\r\n"),
            ("PUT", Some(0), "content-length: 0\r\n"),
            ("PATCH", Some(0), "content-length: 0\r\n"),
            ("GET", Some(12), "content-length: 12\r\n"),
            ("GET", None, "transfer-encoding: chunked\r\n"),
        ] {
            assert_eq!(
                written(method, "http://a.test:80/b?c=d", length),
                format!("{method} /b?c=d HTTP/1.1\r\n{fields}{framed}\r\n")
            );
        }
        assert!(written("OPTIONS", "*", Some(0)).starts_with("OPTIONS * HTTP/1.1\r\n"));
        assert!(written("GET", "http://a.test", Some(0)).starts_with("GET / HTTP/1.1\r\n"));
    }
}
