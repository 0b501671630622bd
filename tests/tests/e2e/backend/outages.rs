//! Backends that fail while another one is healthy: what clients see of it, in figures.

use std::time::Duration;

use futures_util::future::join_all;
use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::fault_proxy::{FaultProxy, TrafficCounts};
use weir_tests::proxy::Proxy;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

use failing_starts::{FAILING_STARTS, FailingStart};

mod failing_starts;

/// Requests a second, and from how many clients.
const RATE: u32 = 200;
const CLIENTS: u32 = 20;

/// Sends requests that may be repeated, at a steady rate for this time; returns what failed.
async fn send_steadily(proxy: &Proxy, lasts: Duration) -> (usize, Vec<String>) {
    let begin = tokio::time::Instant::now();
    let clients = (0..CLIENTS).map(|number| async move {
        let mut failures = Vec::new();
        let mut sent = 0;
        let mut client = Client::h1(proxy.address()).await;
        let mut times = tokio::time::interval_at(
            begin + Duration::from_secs(1) * number / RATE,
            Duration::from_secs(1) * CLIENTS / RATE,
        );
        while begin.elapsed() < lasts {
            times.tick().await;
            let request = match sent % 3 {
                0 => ClientRequest::get("/any"),
                1 => ClientRequest::json("/v1/chat/completions", &serde_json::json!({})),
                _ => ClientRequest::json("/orders", &serde_json::json!({}))
                    .header("idempotency-key", &format!("{number}-{sent}")),
            };
            sent += 1;
            let response = client.send(request).await;
            if response.status != 200 {
                let event = proxy.event_of(&response).await;
                failures.push(format!("{}: {event}", response.status));
            }
        }
        (sent, failures)
    });
    let all = join_all(clients).await;
    let sent = all.iter().map(|(sent, _)| sent).sum();
    (
        sent,
        all.into_iter().flat_map(|(_, failures)| failures).collect(),
    )
}

/// One of three endpoints after another is killed for some time. No client notices.
async fn assert_unnoticed(killed_for: Duration, lasts: Duration) -> [TrafficCounts; 3] {
    // No kill can cut a response in two.
    let backend = Backend::whole_responses().await;
    let endpoints = [(); 3].map(|()| FaultProxy::start(backend.address()));
    let urls = endpoints.each_ref().map(FaultProxy::url);
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &urls,
            &["retry: {attempts: 3, backoff: 10ms, when: [connect, reset_before_response]}"],
        )
        .routes(OPEN)
        .start()
        .await;
    let killing = async {
        for endpoint in endpoints.iter().cycle() {
            endpoint.kill().await;
            let killed = std::future::pending::<()>();
            assert!(wait::still_waiting_after(killed_for, killed).await);
            endpoint.reopen();
        }
    };
    let (sent, failures) = tokio::select! {
        result = send_steadily(&proxy, lasts) => result,
        () = killing => unreachable!("it is repeated until the end"),
    };
    let expected = (lasts.as_secs() * u64::from(RATE)) as usize;
    // A busy machine sends fewer.
    assert!(sent >= expected / 2, "{sent} of {expected} were sent");
    let first = &failures[..failures.len().min(5)];
    assert!(
        failures.is_empty(),
        "{} of {sent} failed: {first:#?}",
        failures.len()
    );
    let metrics = proxy.metrics().await;
    let attempts = metrics.sum("weir_upstream_attempts_total", &[]);
    assert!(attempts >= sent as f64);
    // One request in three begins with the endpoint that is down, and needs one retry; some connections break.
    assert!(attempts <= sent as f64 * 1.4, "{attempts} for {sent}");
    endpoints.each_ref().map(FaultProxy::counts)
}

#[tokio::test]
async fn clients_notice_nothing_of_endpoints_that_are_killed_in_turn() {
    assert_unnoticed(Duration::from_millis(500), Duration::from_secs(4)).await;
}

#[tokio::test]
#[ignore = "takes a minute; `cargo test -p weir-tests --test e2e -- --ignored killed_in_turn`"]
async fn clients_notice_nothing_of_endpoints_that_are_killed_in_turn_for_a_minute() {
    for counts in assert_unnoticed(Duration::from_secs(2), Duration::from_secs(60)).await {
        assert!(counts.accepted > 1, "each was used again: {counts:?}");
    }
}

/// Sends `requests` model calls, and asserts that each response is the whole one of the healthy backend.
async fn assert_healthy_responses(proxy: &Proxy, requests: usize) {
    const AT_ONCE: usize = 20;
    let one = |number: usize| async move {
        let case = number % FAILING_STARTS.len();
        let start = &FAILING_STARTS[case];
        let mut client = match number % 2 {
            0 => Client::h1(proxy.address()).await,
            _ => Client::h2(proxy.address()).await,
        };
        let request = ClientRequest::post(start.path, start.question)
            .header("content-type", "application/json")
            .header("x-case", &case.to_string());
        let response = client.send(request).await;
        assert_eq!(response.status, 200, "{number}: {}", response.text());
        assert_eq!(response.text(), start.whole.concat(), "{number}");
    };
    for first in (0..requests).step_by(AT_ONCE) {
        join_all((first..first + AT_ONCE).map(one)).await;
    }
}

#[tokio::test]
async fn errors_before_any_content_are_invisible_while_a_fallback_is_healthy() {
    let failing = Backend::responding(|request| FailingStart::of(request).failed()).await;
    let healthy = Backend::responding(|request| FailingStart::of(request).succeeded()).await;
    // With a closed breaker, every request meets the error; by default, most go to the fallback at once.
    for breaker in [
        "circuit_breaker: {minimum_requests: 100000}",
        "load_balancing: round_robin",
    ] {
        let proxy = Setup::without_backend()
            .backend(
                "assistant",
                &[failing.url()],
                &[
                    "fallback: cloud",
                    "retry: {attempts: 2, backoff: 1ms}",
                    breaker,
                ],
            )
            .backend("cloud", &[healthy.url()], &[])
            .routes(OPEN)
            .start()
            .await;
        assert_healthy_responses(&proxy, 1000).await;
        let metrics = proxy.metrics().await;
        assert_eq!(metrics.sum("weir_failed_requests_total", &[]), 0.0);
        for event in proxy.events_when(1000).await {
            assert_eq!(event["event"]["outcome"], "success", "{event}");
        }
    }
    assert!(failing.requests().len() >= 1000);
    assert_eq!(healthy.requests().len(), 2000);
}

#[tokio::test]
async fn errors_before_any_content_are_invisible_while_another_endpoint_is_healthy() {
    let failing = Backend::responding(|request| FailingStart::of(request).failed()).await;
    let healthy = Backend::responding(|request| FailingStart::of(request).succeeded()).await;
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[failing.url(), healthy.url()],
            &[
                // Half of the requests need a retry: far more than the default budget allows.
                "retry: {attempts: 3, backoff: 1ms, budget: 100%}",
                "circuit_breaker: {minimum_requests: 100000}",
            ],
        )
        .routes(OPEN)
        .start()
        .await;
    assert_healthy_responses(&proxy, 200).await;
}
