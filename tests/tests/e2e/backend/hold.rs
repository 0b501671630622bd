//! Start-up events of a stream are held, so that an error before any content is retried or failed over.

use std::time::Duration;

use futures_util::future::join_all;
use weir::clock;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::codings::encoded;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};

use super::retry::outcomes;

const ROLE: &str = r#"{"object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#;
const ERROR: &str = r#"{"error":{"message":"overloaded","type":"server_error"}}"#;

async fn start(primary: &Backend, cloud: &Backend, options: &[&str]) -> Proxy {
    Setup::open(primary)
        // Held until the content, however long that takes.
        .backend_options(&["fallback: cloud", "retry: {attempts: 1, hold: 1h}"])
        .backend_options(options)
        .backend("cloud", &[cloud.url()], &[])
        .start()
        .await
}

#[tokio::test]
async fn an_error_before_any_content_is_failed_over() {
    let gzipped = || {
        let events = format!("data: {ROLE}\n\ndata: {ERROR}\n\n");
        let chunks = encoded("gzip", &[events]).into_iter().map(Into::into);
        BackendResponse::chunks("text/event-stream", chunks.collect())
            .header("content-encoding", "gzip")
    };
    let failures: [fn() -> BackendResponse; 7] = [
        || BackendResponse::bytes("application/json", ERROR),
        || BackendResponse::bytes("text/event-stream", format!("data: {ERROR}\n")),
        || BackendResponse::chunks("text/event-stream", vec![ERROR.into()]),
        || BackendResponse::events(&[ERROR]),
        || BackendResponse::events(&[ROLE, ROLE, ERROR]),
        || BackendResponse::events(&[ROLE]).truncated(),
        gzipped,
    ];
    for (number, failure) in failures.into_iter().enumerate() {
        let primary = Backend::responding(move |_| failure()).await;
        let cloud = Backend::chat().await;
        let proxy = start(&primary, &cloud, &[]).await;
        let request = ClientRequest::chat_stream("hi").header("accept-encoding", "gzip");
        let response = proxy.send(request).await;
        assert_eq!(response.status, 200);
        let text = response.text();
        assert!(
            text.contains("well ") && !text.contains("error"),
            "{number}: {text}"
        );
        assert!(!text.contains("role"), "{number}: {text}");
        // The truncated one.
        let failed = if number == 5 { "reset" } else { "error" };
        let outcomes = outcomes(&proxy, &response).await;
        assert_eq!(outcomes, [failed, "ok"], "{number}");
        assert_eq!(proxy.event_of(&response).await["backend"], "cloud");
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_and_what_is_no_model_text_is_not_held() {
    let (primary, cloud) = (Backend::manual().await, Backend::chat().await);
    let proxy = start(&primary, &cloud, &[]).await;
    let gzipped = ClientRequest::chat_stream("hi").header("accept-encoding", "gzip");
    let spoken = ClientRequest::post("/v1/audio/transcriptions", "x");
    for (request, head) in [
        (
            gzipped,
            "content-type: text/event-stream\r\ncontent-encoding: gzip",
        ),
        (spoken, "content-type: text/plain"),
    ] {
        let mut client = Client::h1(proxy.address()).await;
        let (mut streaming, mut call) = tokio::join!(client.open(request), async {
            let mut call = primary.next_request().await;
            let head = format!("HTTP/1.1 200 OK\r\n{head}\r\ntransfer-encoding: chunked\r\n\r\n");
            call.write(head).await;
            call.chunk("plain").await;
            call
        });
        streaming.until("plain").await;
        call.chunk(" text").await;
        call.finish().await;
        streaming.rest().await.expect("whole");
    }
    cloud.assert_untouched();
}

#[tokio::test]
async fn an_error_before_any_content_is_retried_with_another_endpoint() {
    let failing = Backend::responding(|_| BackendResponse::events(&[ROLE, ERROR])).await;
    let healthy = Backend::chat().await;
    let proxy = Setup::without_backend()
        .backend("assistant", &[failing.url(), healthy.url()], &[])
        .routes(OPEN)
        .start()
        .await;
    for _ in 0..4 {
        let response = proxy.send(ClientRequest::chat_stream("hi")).await;
        assert!(response.text().contains("[DONE]"), "{}", response.text());
    }
    assert_eq!((failing.requests().len(), healthy.requests().len()), (2, 4));
}

#[tokio::test]
async fn content_is_not_delayed_and_nothing_is_lost() {
    let (primary, cloud) = (Backend::manual().await, Backend::chat().await);
    let proxy = start(&primary, &cloud, &["idle_timeout: 1m"]).await;
    let mut client = Client::h1(proxy.address()).await;
    let (mut streaming, mut call) =
        tokio::join!(client.open(ClientRequest::chat_stream("hi")), async {
            let mut call = primary.next_request().await;
            call.send_event_stream_head().await;
            call.event(ROLE).await;
            call.token("first").await;
            call
        });
    let received = streaming.until("first").await;
    assert!(
        received.starts_with(&format!("data: {ROLE}\n\ndata: ")),
        "{received}"
    );
    call.event(ERROR).await;
    // It is too late to fail over.
    streaming.until("overloaded").await;
    call.finish().await;
    streaming.rest().await.expect("whole");
    cloud.assert_untouched();
}

#[tokio::test]
async fn comments_and_single_endpoints_are_not_held() {
    let (primary, cloud) = (Backend::manual().await, Backend::chat().await);
    let single = Setup::open(&primary)
        .backend_options(&["retry: {hold: 1h}"])
        .start()
        .await;
    let with_fallback = Setup::open(&primary)
        .backend_options(&["fallback: cloud", "retry: {hold: 1h}"])
        .backend("cloud", &[cloud.url()], &[])
        .start()
        .await;
    for (proxy, begin, expected) in [
        (&single, format!("data: {ROLE}\n\n"), "role"),
        (&with_fallback, ": working\n\n".to_owned(), "working"),
    ] {
        let mut client = Client::h1(proxy.address()).await;
        let (mut streaming, mut call) =
            tokio::join!(client.open(ClientRequest::chat_stream("hi")), async {
                let mut call = primary.next_request().await;
                call.send_event_stream_head().await;
                call.chunk(&begin).await;
                call
            });
        streaming.until(expected).await;
        call.token("first").await;
        call.end_chat(1).await;
        streaming.rest().await.expect("whole");
    }
}

#[tokio::test]
async fn start_up_events_are_held_no_longer_than_configured() {
    let limits: [(&[&str], Duration); 2] = [
        (&["retry: {hold: 200ms}"], Duration::from_millis(200)),
        (
            &["retry: {hold: 1h}", "idle_timeout: 2s"],
            Duration::from_secs(2),
        ),
    ];
    let each = limits.map(async |(options, expected)| {
        let (primary, cloud) = (Backend::manual().await, Backend::chat().await);
        let proxy = Setup::open(&primary)
            .backend_options(&["fallback: cloud"])
            .backend_options(options)
            .backend("cloud", &[cloud.url()], &[])
            .start()
            .await;
        let mut client = Client::h1(proxy.address()).await;
        let begun = clock::now();
        let (mut streaming, call) =
            tokio::join!(client.open(ClientRequest::chat_stream("hi")), async {
                let mut call = primary.next_request().await;
                call.send_event_stream_head().await;
                call.event(ROLE).await;
                call
            });
        streaming.until("role").await;
        assert!(begun.elapsed() >= expected, "{options:?}");
        call.end_chat(1).await;
        streaming.rest().await.expect("whole");
        cloud.assert_untouched();
    });
    join_all(each).await;
}
