//! Streams of HTTP/2 backends that fail or hang: what is sent again, the deadlines, and clients that disconnect.

use std::time::Duration;

use futures_util::future::join_all;
use weir_tests::backend::{ScriptedHttp2, StreamPosition, StreamScript};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

use super::deadlines::{DEADLINE, assert_rejected_at, assert_truncated_at};
use super::departures::{FREED_WITHIN, assert_event};
use super::retry::outcomes;
use super::variants::VARIANTS;

type MakeRequest = fn() -> ClientRequest;

/// A backend that ends one stream, and responds to all others.
async fn ending(ended: StreamPosition, script: StreamScript) -> ScriptedHttp2 {
    let script = move |position| match position == ended {
        true => script,
        false => StreamScript::Respond,
    };
    ScriptedHttp2::start(script).await
}

async fn proxy_to(backend: &ScriptedHttp2, options: &[&str]) -> Proxy {
    Setup::without_backend()
        .backend("assistant", &[backend.url()], options)
        .routes(OPEN)
        .limit("upgrade_idle_timeout: 1s")
        .start()
        .await
}

async fn assert_resets(backend: &ScriptedHttp2, count: usize, what: &str) {
    wait::eventually(what, FREED_WITHIN, || backend.resets() >= count).await;
    assert_eq!(backend.resets(), count, "{what}");
}

#[tokio::test]
async fn a_stream_of_a_new_connection_that_was_not_processed_is_retried_for_every_method() {
    let first = StreamPosition {
        connection: 0,
        stream: 0,
    };
    let cases: [(StreamScript, MakeRequest, bool); 4] = [
        (
            StreamScript::Refuse,
            || ClientRequest::post("/orders", "x"),
            true,
        ),
        (
            StreamScript::GoAway,
            || ClientRequest::post("/orders", "x"),
            true,
        ),
        (
            StreamScript::Close,
            || ClientRequest::post("/orders", "x"),
            false,
        ),
        (StreamScript::Close, || ClientRequest::get("/a"), true),
    ];
    for (script, request, is_retried) in cases {
        let backend = ending(first, script).await;
        let proxy = proxy_to(&backend, &["retry: {backoff: 10ms}"]).await;
        let response = proxy.send(request()).await;
        let what = format!("{script:?}, {:?}: {}", request(), response.text());
        match is_retried {
            true => {
                assert_eq!(response.status, 200, "{what}");
                assert_eq!(outcomes(&proxy, &response).await, ["reset", "ok"], "{what}");
                assert_eq!(backend.streams(), 2, "{what}");
            }
            false => {
                assert_eq!(response.rejection(), "upstream_reset", "{what}");
                assert_eq!(backend.streams(), 1, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_post_whose_reused_connection_broke_is_sent_once_over_a_new_one() {
    let second = StreamPosition {
        connection: 0,
        stream: 1,
    };
    for script in [
        StreamScript::Refuse,
        StreamScript::GoAway,
        StreamScript::Close,
    ] {
        let backend = ending(second, script).await;
        let proxy = proxy_to(&backend, &["retry: {attempts: 1, when: []}"]).await;
        let mut client = Client::h1(proxy.address()).await;
        for expected in [&[][..], &["reset", "ok"]] {
            let response = client.send(ClientRequest::post("/orders", "x")).await;
            assert_eq!(response.status, 200, "{script:?}: {}", response.text());
            assert_eq!(outcomes(&proxy, &response).await, expected, "{script:?}");
        }
        assert_eq!(backend.connections(), 2, "{script:?}");
    }
}

#[tokio::test]
async fn streams_that_are_refused_open_the_circuit() {
    let backend = ScriptedHttp2::start(|_| StreamScript::Refuse).await;
    let options = [
        "retry: {attempts: 1}",
        "circuit_breaker: {minimum_requests: 3, when_all_open: fail}",
    ];
    let proxy = proxy_to(&backend, &options).await;
    for code in [
        "upstream_reset",
        "upstream_reset",
        "upstream_reset",
        "circuit_open",
    ] {
        let response = proxy.send(ClientRequest::post("/orders", "x")).await;
        assert_eq!(response.rejection(), code);
    }
    let labels = [("backend", "assistant")];
    assert_metric(proxy.admin(), "weir_circuit_open", &labels, 1.0).await;
}

#[tokio::test]
async fn first_byte_and_total_timeout_over_http2() {
    for option in ["first_byte_timeout: 400ms", "total_timeout: 400ms"] {
        let backend = ScriptedHttp2::start(|_| StreamScript::Hang).await;
        let proxy = proxy_to(&backend, &[option, "retry: {attempts: 1}"]).await;
        assert_rejected_at(&proxy, 504, "upstream_timeout").await;
        assert_resets(&backend, 2 * VARIANTS.len(), option).await;
    }
}

#[tokio::test]
async fn idle_and_total_timeout_within_a_response_over_http2() {
    let cases = [
        (StreamScript::Begin, "idle_timeout: 400ms"),
        (StreamScript::Drip, "total_timeout: 400ms"),
    ];
    for (script, option) in cases {
        let backend = ScriptedHttp2::start(move |_| script).await;
        let proxy = proxy_to(&backend, &[option]).await;
        let requests = VARIANTS.map(|variant| {
            let proxy = &proxy;
            async move {
                let mut client = variant.client(proxy).await;
                let started = weir::clock::now();
                let streaming = client.open(variant.chat_stream()).await;
                assert_truncated_at(proxy, variant, DEADLINE, started, streaming).await;
            }
        });
        join_all(requests).await;
        assert_resets(&backend, VARIANTS.len(), option).await;
    }
}

/// gRPC has no deadline but that of silence.
#[tokio::test]
async fn a_grpc_call_ends_when_it_has_been_silent_or_its_client_leaves() {
    let call = || {
        ClientRequest::post("/pkg.Service/Call", "\0\0\0\0\0")
            .header("content-type", "application/grpc")
            .header("te", "trailers")
    };
    for script in [StreamScript::Hang, StreamScript::Begin] {
        let backend = ScriptedHttp2::start(move |_| script).await;
        let options = [
            "first_byte_timeout: 100ms",
            "idle_timeout: 100ms",
            "total_timeout: 200ms",
        ];
        let proxy = proxy_to(&backend, &options).await;
        let mut client = Client::h2(proxy.address()).await;
        let started = weir::clock::now();
        let streaming = client.open(call()).await;
        match script {
            StreamScript::Hang => {
                assert_eq!(streaming.whole().await.rejection(), "upstream_timeout");
            }
            _ => {
                streaming.rest().await.expect_err("a truncated response");
                proxy.event_with_code("upstream_timeout").await;
            }
        }
        assert!(started.elapsed() >= Duration::from_millis(900));
        assert_resets(&backend, 1, "silence").await;
        let begun = || backend.streams() == 2;
        tokio::select! {
            opened = client.try_open(call()) => drop(opened),
            () = wait::eventually("a call", wait::PATIENCE, begun),
                if script == StreamScript::Hang => {}
        }
        drop(client);
        assert_resets(&backend, 2, "a client that leaves").await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_resets_its_stream() {
    for (script, code) in [
        (StreamScript::Hang, Some("client_closed")),
        (StreamScript::Begin, None),
    ] {
        let backend = ScriptedHttp2::start(move |_| script).await;
        let proxy = proxy_to(&backend, &[]).await;
        for (position, variant) in VARIANTS.into_iter().enumerate() {
            let mut client = variant.client(&proxy).await;
            let begun = || backend.streams() > position;
            tokio::select! {
                opened = client.try_open(variant.chat_stream()) => {
                    let mut streaming = opened.expect("a response");
                    assert_eq!(script, StreamScript::Begin);
                    streaming.until("first").await;
                }
                () = wait::eventually("a stream", wait::PATIENCE, begun),
                    if script == StreamScript::Hang => {}
            }
            drop(client);
            assert_resets(&backend, position + 1, &format!("{script:?}, {variant:?}")).await;
        }
        assert_event(&proxy, code, VARIANTS.len()).await;
    }
}
