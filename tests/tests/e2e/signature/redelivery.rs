//! Deliveries that are repeated while the backend is still processing them, or afterwards.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinHandle;
use weir_tests::backend::{Backend, BackendResponse, PendingRequest};
use weir_tests::client::{Client, ClientRequest, ClientResponse};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::sign::fresh_id;

use super::feishu::{PATH, TOKEN, delivery_request, event, signed, start};

/// When Feishu gives up.
const FEISHU_GIVES_UP: Duration = Duration::from_secs(3);

/// A delivery, with a new signature each time it is sent.
#[derive(Clone)]
pub(super) struct Delivery(pub(super) String);

impl Delivery {
    pub(super) fn new() -> Self {
        Delivery(event(&fresh_id(), TOKEN).to_string())
    }

    pub(super) fn request(&self) -> ClientRequest {
        delivery_request(&self.0, signed(&self.0))
    }

    /// Sent by a client that waits for the response indefinitely.
    pub(super) fn send(&self, proxy: &Proxy) -> JoinHandle<ClientResponse> {
        let (address, request) = (proxy.address(), self.request());
        tokio::spawn(async move { weir_tests::client::send(address, request).await })
    }
}

/// A bot that has accepted it.
pub(super) fn accepted_response() -> BackendResponse {
    BackendResponse::json(&json!({"msg": "success"}))
}

pub(super) fn in_flight(metrics: &Metrics) -> f64 {
    metrics.sum("weir_requests_in_flight", &[])
}

/// Sends a delivery whose client disconnects once the backend has it.
pub(super) async fn send_and_abandon(
    proxy: &Proxy,
    backend: &Backend,
    delivery: &Delivery,
) -> PendingRequest {
    let sending = delivery.send(proxy);
    let call = backend.next_request().await;
    sending.abort();
    wait_until_clientless(proxy).await;
    call
}

/// Sends a delivery whose client stays, or disconnects once the backend has it.
async fn send_and_maybe_abandon(
    proxy: &Proxy,
    backend: &Backend,
    delivery: &Delivery,
    first_stays: bool,
) -> (Option<JoinHandle<ClientResponse>>, PendingRequest) {
    if first_stays {
        let first = delivery.send(proxy);
        return (Some(first), backend.next_request().await);
    }
    (None, send_and_abandon(proxy, backend, delivery).await)
}

/// Waits until no client is connected while one request continues.
pub(super) async fn wait_until_clientless(proxy: &Proxy) {
    proxy
        .metrics_when("the client's connection to be let go", |metrics| {
            metrics.sum("weir_connections", &[]) == 0.0 && in_flight(metrics) == 1.0
        })
        .await;
}

/// Waits until this many repeats of a delivery are waiting.
async fn wait_for_repeats(proxy: &Proxy, count: u32) {
    let all = f64::from(count) + 1.0;
    proxy
        .metrics_when("repeats to wait", |metrics| in_flight(metrics) == all)
        .await;
}

pub(super) fn assert_accepted(response: &ClientResponse) {
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.json(), json!({"msg": "success"}));
}

#[tokio::test]
async fn a_slow_bot_gets_a_delivery_once_and_its_connection_is_released() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for reset in [false, true] {
        let delivery = Delivery::new();
        let mut raw = Raw::connect(proxy.address()).await;
        let headers: String = signed(&delivery.0)
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"))
            .collect();
        let length = delivery.0.len();
        let head =
            format!("POST {PATH} HTTP/1.1\r\nHost: weir.test\r\nContent-Length: {length}\r\n");
        raw.write(format!("{head}{headers}\r\n{}", delivery.0))
            .await;
        let call = backend.next_request().await;
        match reset {
            true => raw.reset(),
            false => drop(raw),
        }
        wait_until_clientless(&proxy).await;
        call.respond(accepted_response()).await;
        let event = proxy
            .event_where("the event of a client that left", |event| {
                event["http"]["response"]["status_code"] == 499
            })
            .await;
        assert_eq!(event["error_code"], "client_closed");
        assert_eq!(event["weir"]["signature"]["outcome"], "valid");
        assert_eq!(event["weir"]["upstream"]["attempts"], 1);
        // The next attempt of Feishu, 15 s later.
        let response = delivery.send(&proxy).await.expect("a response");
        assert_accepted(&response);
        let event = proxy.event_of(&response).await;
        assert_eq!(event["weir"]["signature"]["outcome"], "duplicate");
    }
    assert_eq!(backend.requests().len(), 2);
    let metrics = proxy.metrics().await;
    let attempts = [("outcome", "ok")];
    assert_eq!(metrics.sum("weir_upstream_attempts_total", &attempts), 2.0);
    assert_eq!(metrics.sum("weir_failed_requests_total", &[]), 0.0);
}

#[tokio::test]
async fn over_http2_the_stream_or_the_connection_may_be_closed() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for whole_connection in [false, true] {
        let delivery = Delivery::new();
        let mut client = Client::h2(proxy.address()).await;
        let call = {
            let asking = client.try_open(delivery.request());
            tokio::select! {
                backend_response = asking => panic!("answered: {:?}", backend_response.map(|streaming| streaming.status)),
                call = backend.next_request() => call,
            }
        };
        let other = Delivery::new();
        if whole_connection {
            drop(client);
            wait_until_clientless(&proxy).await;
        } else {
            // The connection serves another delivery meanwhile.
            let (response, ()) = tokio::join!(client.send(other.request()), async {
                backend
                    .next_request()
                    .await
                    .respond(accepted_response())
                    .await;
            });
            assert_accepted(&response);
        }
        let repeat = delivery.send(&proxy);
        wait_for_repeats(&proxy, 1).await;
        call.respond(accepted_response()).await;
        assert_accepted(&repeat.await.expect("a response"));
        assert!(backend.no_request_for(Duration::ZERO).await);
    }
}

#[tokio::test]
async fn repeats_wait_for_the_response_to_the_first() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for first_stays in [true, false] {
        let delivery = Delivery::new();
        let (first, call) = send_and_maybe_abandon(&proxy, &backend, &delivery, first_stays).await;
        let repeats: Vec<_> = (0..6).map(|_| delivery.send(&proxy)).collect();
        wait_for_repeats(&proxy, 6).await;
        // Another delivery is not delayed.
        let other = Delivery::new().send(&proxy);
        backend
            .next_request()
            .await
            .respond(accepted_response())
            .await;
        assert_eq!(other.await.expect("a response").status, 200);
        call.respond(BackendResponse::json(&json!({"from": "the bot"})).with_status(202))
            .await;
        if let Some(first) = first {
            let first = first.await.expect("a response");
            assert_eq!(
                (first.status, first.json()),
                (202, json!({"from": "the bot"}))
            );
        }
        for repeat in repeats {
            let response = repeat.await.expect("a response");
            assert_accepted(&response);
            let event = proxy.event_of(&response).await;
            assert_eq!(event["weir"]["signature"]["outcome"], "duplicate");
            assert!(event.get("error_code").is_none());
        }
    }
    assert!(backend.no_request_for(Duration::ZERO).await);
    assert_eq!(backend.requests().len(), 4);
}

#[tokio::test]
async fn a_repeat_gets_delivery_pending_in_time() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let delivery = Delivery::new();
    let call = send_and_abandon(&proxy, &backend, &delivery).await;
    let send_and_maybe_abandon = weir::clock::now();
    let response = delivery.send(&proxy).await.expect("a response");
    let lasted = send_and_maybe_abandon.elapsed();
    assert!(lasted < FEISHU_GIVES_UP, "{lasted:?}");
    assert_eq!(
        (response.status, response.rejection().as_str()),
        (503, "delivery_pending")
    );
    assert_eq!(response.header("retry-after"), Some("3"));
    let event = proxy.event_of(&response).await;
    assert_eq!(event["error_code"], "delivery_pending");
    assert_eq!(event["weir"]["signature"]["outcome"], "duplicate");
    // The backend was waited for.
    let waited = event["weir"]["timing"]["backend_ms"].as_f64();
    assert!(waited > Some(2_000.0), "{event}");
    // The bot has accepted it: the next attempt of Feishu is not forwarded.
    call.respond(accepted_response()).await;
    proxy.event_with_code("client_closed").await;
    assert_accepted(&delivery.send(&proxy).await.expect("a response"));
    assert!(backend.no_request_for(Duration::ZERO).await);
}

#[tokio::test]
async fn waiting_repeats_of_a_failed_delivery_are_forwarded_one_at_a_time() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let failures = [
        accepted_response().with_status(500),
        accepted_response().with_status(404),
        accepted_response().with_status(302),
        BackendResponse::reset_immediately(),
        accepted_response().truncated(),
        accepted_response().chunked().reset(),
    ];
    for (failure, first_stays) in failures.into_iter().zip([true, false].into_iter().cycle()) {
        let delivery = Delivery::new();
        let (first, call) = send_and_maybe_abandon(&proxy, &backend, &delivery, first_stays).await;
        let repeats: Vec<_> = (0..3).map(|_| delivery.send(&proxy)).collect();
        wait_for_repeats(&proxy, 3).await;
        let reported = format!("{failure:?}");
        call.respond(failure.clone()).await;
        // One has taken over, and the others wait for it.
        let call = backend.next_request().await;
        assert!(
            backend.no_request_for(Duration::from_millis(100)).await,
            "{reported}"
        );
        call.respond(failure).await;
        let call = backend.next_request().await;
        assert!(
            backend.no_request_for(Duration::from_millis(100)).await,
            "{reported}"
        );
        call.respond(accepted_response()).await;
        // Of three, one failed like the first.
        let mut taken = 0;
        for repeat in repeats {
            if let Ok(response) = repeat.await {
                taken += usize::from(response.status == 200);
            }
        }
        assert_eq!(taken, 2, "{reported}");
        if let Some(first) = first {
            let _ = first.await;
        }
        assert_accepted(&delivery.send(&proxy).await.expect("a response"));
        assert!(backend.no_request_for(Duration::ZERO).await, "{reported}");
    }
}

#[tokio::test]
async fn a_failed_delivery_can_be_repeated() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let delivery = Delivery::new();
    let call = send_and_abandon(&proxy, &backend, &delivery).await;
    call.respond(BackendResponse::status(500)).await;
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(event["http"]["response"]["status_code"], 499);
    // The event describes what the backend did.
    let attempts = [("outcome", "status_5xx")];
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("weir_upstream_attempts_total", &attempts), 1.0);
    let again = delivery.send(&proxy);
    backend
        .next_request()
        .await
        .respond(accepted_response())
        .await;
    assert_accepted(&again.await.expect("a response"));
}

#[tokio::test]
async fn a_repeat_whose_client_leaves_affects_no_others() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let delivery = Delivery::new();
    let call = send_and_abandon(&proxy, &backend, &delivery).await;
    let (leaves, stays) = (delivery.send(&proxy), delivery.send(&proxy));
    wait_for_repeats(&proxy, 2).await;
    leaves.abort();
    wait_for_repeats(&proxy, 1).await;
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(event["weir"]["signature"]["outcome"], "duplicate");
    call.respond(accepted_response()).await;
    assert_accepted(&stays.await.expect("a response"));
    assert!(backend.no_request_for(Duration::ZERO).await);
}
