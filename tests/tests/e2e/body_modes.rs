//! Responses and requests are handled the same whether a body was buffered or passed through, over every version of
//! HTTP: one table of rules for both modes.

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;

mod requests;

/// The two body modes.
#[derive(Clone, Copy, Debug)]
pub(super) enum BodyMode {
    Buffered,
    PassedThrough,
}

const BODY_MODES: [BodyMode; 2] = [BodyMode::Buffered, BodyMode::PassedThrough];

impl BodyMode {
    fn request(self) -> ClientRequest {
        match self {
            BodyMode::Buffered => ClientRequest::post("/alike", "hi"),
            BodyMode::PassedThrough => ClientRequest::chunked("/alike", b"hi", 1),
        }
    }

    /// A request of HTTP/1.1 or of HTTP/1.0, which has no chunks and announces a length.
    fn raw(self, version: &str) -> Vec<u8> {
        let body = match (self, version) {
            (BodyMode::Buffered, _) => "Content-Length: 2\r\n\r\nhi".to_owned(),
            (BodyMode::PassedThrough, "1.1") => {
                "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n".to_owned()
            }
            (BodyMode::PassedThrough, _) => {
                format!("Content-Length: 70000\r\n\r\n{}", "x".repeat(70_000))
            }
        };
        format!("POST /alike HTTP/{version}\r\nHost: weir.test\r\n{body}").into_bytes()
    }
}

/// A backend that sends these bytes to every client and closes, and a proxy in front of it.
async fn backend_sending(bytes: &'static str) -> (Backend, Proxy, tokio::task::JoinHandle<()>) {
    let backend = std::sync::Arc::new(Backend::manual().await);
    let proxy = Setup::open(&backend).start().await;
    let hand = backend.clone();
    let responding = tokio::spawn(async move {
        loop {
            let mut call = hand.next_request().await;
            call.write(bytes).await;
        }
    });
    (Backend::echo().await, proxy, responding)
}

/// What the client should receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// This status and body, with this `Content-Length`.
    Whole(u16, &'static str, Option<&'static str>),
    /// An error response: nothing of the original is visible.
    Refused,
    /// A response that started, and does not end as if it were complete.
    Truncated,
}

/// Responses, and what the client should receive.
fn response_cases() -> Vec<(&'static str, &'static str, Expected)> {
    let replaced_cases = replaced_cases().into_iter();
    let replaced_cases = replaced_cases.map(|(name, bytes)| (name, bytes, Expected::Refused));
    replaced_cases.chain(forwarded_cases()).collect()
}

/// Responses that are replaced by an error.
fn replaced_cases() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "two lengths",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        ),
        (
            "two lengths in one line",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc",
        ),
        (
            "no number",
            "HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nabc",
        ),
        ("a sign", "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"),
        (
            "compressed in transfer",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "chunks of HTTP/1.0",
            "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "an unrequested upgrade",
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        ),
        (
            "an invalid first chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
        ),
        ("no answer at all", "nothing of HTTP\r\n\r\n"),
    ]
}

/// Responses that are forwarded as far as they arrived.
fn forwarded_cases() -> Vec<(&'static str, &'static str, Expected)> {
    use Expected::{Truncated, Whole};
    vec![
        (
            "a length beside chunks",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            Whole(200, "abc", None),
        ),
        (
            "a length twice in one line",
            "HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab",
            Whole(200, "ab", Some("2")),
        ),
        (
            "a length twice in two lines",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab",
            Whole(200, "ab", Some("2")),
        ),
        (
            "fewer bytes than announced",
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
            Truncated,
        ),
        (
            "more bytes than announced",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabcde",
            Whole(200, "ab", Some("2")),
        ),
        (
            "an invalid second chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\nabc\r\n0\r\n\r\n",
            Truncated,
        ),
        (
            "until the connection closes",
            "HTTP/1.1 200 OK\r\n\r\nabc",
            Whole(200, "abc", None),
        ),
        (
            "a length where there is no body",
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
            Whole(204, "", None),
        ),
        (
            "the length of what is not sent",
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nETag: \"a\"\r\n\r\n",
            Whole(304, "", Some("5")),
        ),
    ]
}

#[tokio::test]
async fn responses_are_classified_by_their_framing() {
    for (name, bytes, expected) in response_cases() {
        let (_backend, proxy, responding) = backend_sending(bytes).await;
        for mode in BODY_MODES {
            for version in ["1", "2"] {
                let mut client = match version {
                    "1" => Client::h1(proxy.address()).await,
                    _ => Client::h2(proxy.address()).await,
                };
                let what = format!("{name}, {mode:?}, HTTP/{version}");
                let streaming = client.open(mode.request()).await;
                let length = streaming.header("content-length").map(str::to_owned);
                let code = streaming.header("x-request-id").expect("an id").to_owned();
                let status = streaming.status;
                let body = streaming
                    .rest()
                    .await
                    .map(|body| String::from_utf8_lossy(&body).into_owned());
                let event = proxy.event(&code).await;
                match expected {
                    Expected::Whole(required, text, framed) => {
                        assert_eq!(status, required, "{what}");
                        assert_eq!(body.as_deref().ok(), Some(text), "{what}");
                        assert_eq!(length.as_deref(), framed, "{what}");
                        assert!(event.get("error_code").is_none(), "{what}: {event}");
                    }
                    Expected::Refused => {
                        assert_eq!(status, 502, "{what}");
                        assert_eq!(event["error_code"], "upstream_reset", "{what}");
                    }
                    Expected::Truncated => {
                        assert_eq!(status, 200, "{what}");
                        assert!(body.is_err(), "{what}: {body:?}");
                        assert_eq!(event["error_code"], "upstream_reset", "{what}");
                    }
                }
            }
        }
        responding.abort();
    }
}

#[tokio::test]
async fn no_response_has_ambiguous_framing() {
    for (name, bytes, _) in response_cases() {
        let (_backend, proxy, responding) = backend_sending(bytes).await;
        for mode in BODY_MODES {
            for version in ["1.1", "1.0"] {
                let mut raw = Raw::connect(proxy.address()).await;
                raw.write(mode.raw(version)).await;
                let head = raw
                    .read_until(b"\r\n\r\n", weir_tests::wait::PATIENCE)
                    .await;
                let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
                let lengths = head.matches("\r\ncontent-length:").count();
                let codings = head.matches("\r\ntransfer-encoding:").count();
                let what = format!("{name}, {mode:?}, HTTP/{version}: {head}");
                assert!(lengths + codings <= 1, "{what}");
                assert!(version == "1.1" || codings == 0, "{what}");
            }
        }
        responding.abort();
    }
}

#[tokio::test]
async fn hop_by_hop_fields_are_removed() {
    let bytes = "HTTP/1.1 200 OK\r\nConnection: x-secret-hop, keep-alive, content-type\r\nX-Secret-Hop: 1\r\n\
                 Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authenticate: Basic\r\n\
                 Upgrade: h2c\r\nTrailer: x-sum\r\nTE: trailers\r\nContent-Type: text/plain\r\nX-Kept: yes\r\n\
                 Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\nx-sum: 1\r\ncontent-length: 9\r\n\
                 set-cookie: a=b\r\nconnection: close\r\nx-request-id: forged\r\n\r\n";
    let (_backend, proxy, responding) = backend_sending(bytes).await;
    for mode in BODY_MODES {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(mode.raw("1.1")).await;
        let reported = raw
            .read_until(b"\r\n\r\n", weir_tests::wait::PATIENCE)
            .await;
        let head = String::from_utf8_lossy(&reported).to_ascii_lowercase();
        for gone in [
            "x-secret-hop",
            "keep-alive",
            "proxy-",
            "upgrade",
            "\r\ntrailer",
            "\r\nte:",
            "content-type",
        ] {
            assert!(!head.contains(gone), "{mode:?}: {gone} in {head}");
        }
        assert!(head.contains("x-kept: yes"), "{head}");
        let rest = raw
            .read_until(b"\r\n\r\n", weir_tests::wait::PATIENCE)
            .await;
        let trailers = String::from_utf8_lossy(&rest).to_ascii_lowercase();
        assert_eq!(trailers, "2\r\nab\r\n0\r\nx-sum: 1\r\n\r\n", "{mode:?}");
    }
    responding.abort();
}

#[tokio::test]
async fn interim_responses_reach_clients_that_understand_them() {
    let bytes = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab";
    let (_backend, proxy, responding) = backend_sending(bytes).await;
    for mode in BODY_MODES {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(mode.raw("1.1")).await;
        let response_cases = [
            raw.response().await,
            raw.response().await,
            raw.response().await,
        ];
        assert_eq!(
            response_cases
                .each_ref()
                .map(|backend_response| backend_response.status),
            [102, 103, 200],
            "{mode:?}"
        );
        assert_eq!(
            response_cases[1].headers,
            [("link".to_owned(), "</a.css>".to_owned())]
        );
        assert_eq!(response_cases[2].text(), "ab");
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(mode.raw("1.0")).await;
        let backend_response = raw.response().await;
        assert_eq!(
            (backend_response.status, backend_response.text().as_str()),
            (200, "ab"),
            "{mode:?}"
        );
        let mut client = Client::h2(proxy.address()).await;
        assert_eq!(client.send(mode.request()).await.text(), "ab", "{mode:?}");
    }
    responding.abort();
}

#[tokio::test]
async fn both_body_modes_treat_many_fields_equally() {
    for (count, status) in [(90, 200), (150, 502)] {
        let many: String = (0..count).map(|n| format!("x-{n}: {n}\r\n")).collect();
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{many}\r\nab").leak();
        let (_backend, proxy, responding) = backend_sending(bytes).await;
        for mode in BODY_MODES {
            for mut client in [
                Client::h1(proxy.address()).await,
                Client::h2(proxy.address()).await,
            ] {
                let client_response = client.send(mode.request()).await;
                assert_eq!(
                    client_response.status,
                    status,
                    "{mode:?}, {count}: {}",
                    client_response.text()
                );
            }
        }
        responding.abort();
    }
}
