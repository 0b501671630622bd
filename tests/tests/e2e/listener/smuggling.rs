//! Request smuggling: heads that two parsers could read differently carry no second request.

use std::time::Duration;

use futures_util::future::join_all;
use weir_tests::backend::Backend;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;

/// The request that must never arrive.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: weir.test\r\n\r\n";

/// How long a connection may stay open if the proxy finds nothing wrong.
const QUIET: Duration = Duration::from_secs(2);

type Case = (&'static str, String);

fn raw(rest: &str) -> String {
    format!("POST /outer HTTP/1.1\r\nHost: weir.test\r\n{rest}")
}

/// An empty chunked body, or five bytes of something else.
fn chunked_then(headers: &str) -> String {
    raw(&format!("{headers}\r\n\r\n0\r\n\r\n{SMUGGLED}"))
}

/// Lengths that two parsers could read differently.
fn lengths() -> Vec<Case> {
    let length = SMUGGLED.len();
    vec![
        (
            "both framings, chunked ends first",
            chunked_then("Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ),
        (
            "both framings, length ends first",
            raw(&format!(
                "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n{length:x}\r\n{SMUGGLED}\r\n0\r\n\r\n"
            )),
        ),
        (
            "two lengths",
            raw(&format!(
                "Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
            )),
        ),
        (
            "a list of lengths",
            raw(&format!("Content-Length: 0, {length}\r\n\r\n{SMUGGLED}")),
        ),
        (
            "a negative length",
            raw(&format!("Content-Length: -1\r\n\r\n{SMUGGLED}")),
        ),
        (
            "a length with a sign",
            raw(&format!("Content-Length: +0\r\n\r\n{SMUGGLED}")),
        ),
        (
            "a length in hex",
            raw(&format!("Content-Length: 0x0\r\n\r\n{SMUGGLED}")),
        ),
        (
            "a length past 64 bits",
            raw(&format!(
                "Content-Length: 18446744073709551616\r\n\r\n{SMUGGLED}"
            )),
        ),
        (
            "a body that a GET does not read",
            format!(
                "GET /outer HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}"
            ),
        ),
    ]
}

/// Codings that two parsers could read differently.
fn codings() -> Vec<Case> {
    vec![
        (
            "an unknown coding",
            chunked_then("Transfer-Encoding: xchunked"),
        ),
        ("identity", chunked_then("Transfer-Encoding: identity")),
        (
            "chunked that is not last",
            chunked_then("Transfer-Encoding: chunked, identity"),
        ),
        (
            "two codings in two lines",
            chunked_then("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"),
        ),
        (
            "chunked twice",
            chunked_then("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"),
        ),
        (
            "a space before the colon",
            chunked_then("Content-Length: 5\r\nTransfer-Encoding : chunked"),
        ),
        (
            "a vertical tab before the coding",
            chunked_then("Content-Length: 5\r\nTransfer-Encoding: \u{b}chunked"),
        ),
        (
            "a folded line",
            chunked_then("Content-Length: 5\r\nTransfer-Encoding:\r\n chunked"),
        ),
        (
            "a line feed inside a value",
            chunked_then("Content-Length: 5\r\nX-A: b\nTransfer-Encoding: chunked"),
        ),
        (
            "a carriage return inside a value",
            chunked_then("Content-Length: 5\r\nX-A: b\rTransfer-Encoding: chunked"),
        ),
        (
            "a NUL inside a value",
            chunked_then("Content-Length: 5\r\nX-A: b\0c"),
        ),
        (
            "chunked under HTTP/1.0",
            format!(
                "POST /outer HTTP/1.0\r\nHost: weir.test\r\nConnection: keep-alive\r\n\
                 Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{SMUGGLED}"
            ),
        ),
    ]
}

#[tokio::test]
async fn no_ambiguous_head_smuggles_a_second_request() {
    for (name, bytes) in lengths().into_iter().chain(codings()) {
        // A backend for each case, so that a leak can be attributed.
        let backend = Backend::echo().await;
        let proxy = Setup::open(&backend).start().await;
        let mut raw = Raw::connect(proxy.address()).await;
        let _ = raw.try_write(bytes).await;
        let closed = raw.closes_within(QUIET).await;
        let requests = backend.requests();
        assert!(
            requests
                .iter()
                .all(|received| !received.target.contains("smuggled")),
            "{name}: a second request was smuggled: {requests:#?}"
        );
        assert!(requests.len() <= 1, "{name}: {requests:#?}");
        backend.assert_faultless();
        assert!(
            closed || name.starts_with("a body that"),
            "{name}: the connection stays open"
        );
    }
}

#[tokio::test]
async fn an_invalid_chunk_size_ends_the_connection() {
    // Without a digit there is no size (RFC 9112, section 7.1): a parser that treats it as zero reads the chunk as trailers,
    // and what follows as a second request.
    let without_digits = ["", " ", ";x"];
    let no_numbers = ["zz", "-1", "0x5", "5 5", "fffffffffffffffff", "5\u{b}"];
    let sizes = without_digits.into_iter().chain(no_numbers);
    let backend = Backend::echo().await;
    let proxy = Setup::buffered(&backend).start().await;
    let address = proxy.address();
    // As the size of the first chunk, and after a valid one.
    let cases = sizes.flat_map(|size| ["", "2\r\nhi\r\n"].map(|before| (before, size)));
    join_all(cases.map(|(before, size)| async move {
        let mut raw = Raw::connect(address).await;
        let head = "POST /outer HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n";
        let _ = raw
            .try_write(format!(
                "{head}{before}{size}\r\nhello\r\n0\r\n\r\n{SMUGGLED}"
            ))
            .await;
        let closed = raw.closes_within(QUIET).await;
        assert!(closed, "size {size:?} behind {before:?}");
    }))
    .await;
    backend.assert_untouched();
}

#[tokio::test]
async fn connections_without_http_are_closed() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let address = proxy.address();
    let nonsense: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /a\r\n\r\n",
        b"GET /a HTTP/9.9\r\nHost: weir.test\r\n\r\n",
        b"G\x00T /a HTTP/1.1\r\nHost: weir.test\r\n\r\n",
        b"GET /a b HTTP/1.1\r\nHost: weir.test\r\n\r\n",
    ];
    join_all(nonsense.map(|bytes| async move {
        let mut raw = Raw::connect(address).await;
        let _ = raw.try_write(bytes).await;
        let _ = raw.try_write(b"\r\n\r\n").await;
        assert!(raw.closes_within(QUIET).await, "{bytes:?}");
    }))
    .await;
    backend.assert_untouched();
}
