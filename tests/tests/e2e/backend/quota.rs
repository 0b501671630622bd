//! Backends that are overloaded, or whose account is exhausted: `429` and `Retry-After`.

use std::io::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use flate2::Compression;
use flate2::write::GzEncoder;
use weir::clock;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::ClientRequest;
use weir_tests::wait;

use super::retry::{recovering, start};

const SECOND: Duration = Duration::from_secs(1);

/// A `Retry-After`.
#[derive(Clone, Copy)]
enum RetryAfter {
    Text(&'static str),
    /// In whole seconds: up to one less.
    DateIn(Duration),
}

impl RetryAfter {
    fn text(self) -> String {
        match self {
            RetryAfter::Text(text) => text.to_owned(),
            RetryAfter::DateIn(time) => {
                httpdate::fmt_http_date(UNIX_EPOCH + clock::unix_now() + time)
            }
        }
    }
}

#[tokio::test]
async fn retry_after_is_obeyed_up_to_its_maximum() {
    const RETRY: &str = "retry: {backoff: 1ms, when: [429, '503'], retry_after_max: 2s}";
    // The header, whether it is obeyed, and what is waited for.
    for (header, is_retried, waited) in [
        (RetryAfter::Text("1"), true, SECOND),
        (RetryAfter::Text("3"), false, Duration::ZERO),
        (RetryAfter::Text("later"), true, Duration::ZERO),
        (RetryAfter::DateIn(2 * SECOND), true, SECOND),
        (RetryAfter::DateIn(60 * SECOND), false, Duration::ZERO),
    ] {
        let limited = move || BackendResponse::status(429).header("retry-after", &header.text());
        let backend = recovering(limited).await;
        let proxy = start(&backend, RETRY).await;
        let begun = clock::now();
        let response = proxy.send(ClientRequest::chat("hi")).await;
        match is_retried {
            true => assert_eq!(response.status, 200),
            false => assert_eq!(response.status, 429),
        }
        let took = begun.elapsed();
        assert!(took >= waited, "{took:?}");
        assert!(took < wait::PATIENCE);
    }
}

#[tokio::test]
async fn an_exhausted_quota_is_never_retried() {
    let bodies = [
        r#"{ "error": {"code": "insufficient_quota", "message": "You exceeded it"} }"#,
        r#"{"error":{"message":"Budget has been exceeded! Current cost: 10","type":"budget_exceeded","code":"429"}}"#,
        r#"[{"error":{"code":429,"message":"Please check your plan and billing details."}}]"#,
    ];
    let backend = Backend::responding(move |received| {
        let number = received.header("x-case").expect("a case");
        let body = bodies[number.parse::<usize>().expect("its number")];
        let response = match received.header("x-coding") {
            Some("gzip") => {
                let compressed = gzip(body.as_bytes());
                BackendResponse::bytes("application/json", compressed)
                    .header("content-encoding", "gzip")
            }
            _ => BackendResponse::bytes("application/json", body),
        };
        response.with_status(429)
    })
    .await;
    let proxy = start(&backend, "retry: {backoff: 1ms, when: [429]}").await;
    for (number, body) in bodies.into_iter().enumerate() {
        for coding in ["identity", "gzip"] {
            let before = backend.requests().len();
            let request = ClientRequest::chat("hi")
                .header("x-case", &number.to_string())
                .header("x-coding", coding)
                .header("accept-encoding", coding);
            let response = proxy.send(request).await;
            assert_eq!(response.status, 429, "{body}");
            match coding {
                "gzip" => assert_eq!(response.body, gzip(body.as_bytes())),
                _ => assert_eq!(response.text(), body),
            }
            assert_eq!(backend.requests().len(), before + 1, "{body}, {coding}");
        }
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("written");
    encoder.finish().expect("written")
}
