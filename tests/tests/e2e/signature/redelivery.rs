//! Deliveries that come again while their backend is still at work, or after it.

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

/// Feishu gives up after so long.
const FEISHU_GIVES_UP: Duration = Duration::from_secs(3);

/// A delivery, signed anew each time it is sent.
#[derive(Clone)]
pub(super) struct Delivery(pub(super) String);

impl Delivery {
    pub(super) fn new() -> Self {
        Delivery(event(&fresh_id(), TOKEN).to_string())
    }

    pub(super) fn request(&self) -> ClientRequest {
        delivery_request(&self.0, signed(&self.0))
    }

    /// Sent by a client that waits for its answer for as long as it takes.
    pub(super) fn send(&self, proxy: &Proxy) -> JoinHandle<ClientResponse> {
        let (address, request) = (proxy.address(), self.request());
        tokio::spawn(async move { weir_tests::client::send(address, request).await })
    }
}

/// A bot that took it.
pub(super) fn took_it() -> BackendResponse {
    BackendResponse::json(&json!({"msg": "success"}))
}

pub(super) fn in_flight(metrics: &Metrics) -> f64 {
    metrics.sum("weir_requests_in_flight", &[])
}

/// Sends a delivery whose client gives up once the backend has it.
pub(super) async fn abandoned(
    proxy: &Proxy,
    backend: &Backend,
    delivery: &Delivery,
) -> PendingRequest {
    let sending = delivery.send(proxy);
    let call = backend.next_request().await;
    sending.abort();
    gone(proxy).await;
    call
}

/// Sends a delivery whose client stays, or gives up once the backend has it.
async fn begun(
    proxy: &Proxy,
    backend: &Backend,
    delivery: &Delivery,
    first_stays: bool,
) -> (Option<JoinHandle<ClientResponse>>, PendingRequest) {
    if first_stays {
        let first = delivery.send(proxy);
        return (Some(first), backend.next_request().await);
    }
    (None, abandoned(proxy, backend, delivery).await)
}

/// Waits until no client is there, and one request goes on all the same.
pub(super) async fn gone(proxy: &Proxy) {
    proxy
        .metrics_when("the client's connection to be let go", |metrics| {
            metrics.sum("weir_connections", &[]) == 0.0 && in_flight(metrics) == 1.0
        })
        .await;
}

/// So many of the same delivery wait, beside the first.
async fn waiting(proxy: &Proxy, count: u32) {
    let all = f64::from(count) + 1.0;
    proxy
        .metrics_when("repeats to wait", |metrics| in_flight(metrics) == all)
        .await;
}

pub(super) fn assert_taken(reply: &ClientResponse) {
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(reply.json(), json!({"msg": "success"}));
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
        gone(&proxy).await;
        call.respond(took_it()).await;
        let event = proxy
            .event_where("the event of a client that left", |event| {
                event["http"]["response"]["status_code"] == 499
            })
            .await;
        assert_eq!(event["error_code"], "client_closed");
        assert_eq!(event["weir"]["signature"]["outcome"], "valid");
        assert_eq!(event["weir"]["upstream"]["attempts"], 1);
        // Feishu's next try, 15 s later.
        let reply = delivery.send(&proxy).await.expect("answered");
        assert_taken(&reply);
        let event = proxy.event_of(&reply).await;
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
                answer = asking => panic!("answered: {:?}", answer.map(|live| live.status)),
                call = backend.next_request() => call,
            }
        };
        let other = Delivery::new();
        if whole_connection {
            drop(client);
            gone(&proxy).await;
        } else {
            // The connection serves another delivery meanwhile.
            let (reply, ()) = tokio::join!(client.send(other.request()), async {
                backend.next_request().await.respond(took_it()).await;
            });
            assert_taken(&reply);
        }
        let repeat = delivery.send(&proxy);
        waiting(&proxy, 1).await;
        call.respond(took_it()).await;
        assert_taken(&repeat.await.expect("answered"));
        assert!(backend.no_request_for(Duration::ZERO).await);
    }
}

#[tokio::test]
async fn repeats_wait_for_the_response_to_the_first() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for first_stays in [true, false] {
        let delivery = Delivery::new();
        let (first, call) = begun(&proxy, &backend, &delivery, first_stays).await;
        let repeats: Vec<_> = (0..6).map(|_| delivery.send(&proxy)).collect();
        waiting(&proxy, 6).await;
        // Another delivery is not held up.
        let other = Delivery::new().send(&proxy);
        backend.next_request().await.respond(took_it()).await;
        assert_eq!(other.await.expect("answered").status, 200);
        call.respond(BackendResponse::json(&json!({"from": "the bot"})).with_status(202))
            .await;
        if let Some(first) = first {
            let first = first.await.expect("answered");
            assert_eq!(
                (first.status, first.json()),
                (202, json!({"from": "the bot"}))
            );
        }
        for repeat in repeats {
            let reply = repeat.await.expect("answered");
            assert_taken(&reply);
            let event = proxy.event_of(&reply).await;
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
    let call = abandoned(&proxy, &backend, &delivery).await;
    let begun = weir::clock::now();
    let reply = delivery.send(&proxy).await.expect("answered");
    let lasted = begun.elapsed();
    assert!(lasted < FEISHU_GIVES_UP, "{lasted:?}");
    assert_eq!(
        (reply.status, reply.refusal().as_str()),
        (503, "delivery_pending")
    );
    assert_eq!(reply.header("retry-after"), Some("3"));
    let event = proxy.event_of(&reply).await;
    assert_eq!(event["error_code"], "delivery_pending");
    assert_eq!(event["weir"]["signature"]["outcome"], "duplicate");
    // It is the backend that was waited for.
    let waited = event["weir"]["timing"]["backend_ms"].as_f64();
    assert!(waited > Some(2_000.0), "{event}");
    // The bot took it in the end: Feishu's next try need not go there.
    call.respond(took_it()).await;
    proxy.event_with_code("client_closed").await;
    assert_taken(&delivery.send(&proxy).await.expect("answered"));
    assert!(backend.no_request_for(Duration::ZERO).await);
}

#[tokio::test]
async fn waiting_repeats_of_a_failed_delivery_are_forwarded_one_at_a_time() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let failures = [
        took_it().with_status(500),
        took_it().with_status(404),
        took_it().with_status(302),
        BackendResponse::reset_immediately(),
        took_it().truncated(),
        took_it().chunked().reset(),
    ];
    for (failure, first_stays) in failures.into_iter().zip([true, false].into_iter().cycle()) {
        let delivery = Delivery::new();
        let (first, call) = begun(&proxy, &backend, &delivery, first_stays).await;
        let repeats: Vec<_> = (0..3).map(|_| delivery.send(&proxy)).collect();
        waiting(&proxy, 3).await;
        let told = format!("{failure:?}");
        call.respond(failure.clone()).await;
        // One has taken over, and the others wait for it.
        let call = backend.next_request().await;
        assert!(
            backend.no_request_for(Duration::from_millis(100)).await,
            "{told}"
        );
        call.respond(failure).await;
        let call = backend.next_request().await;
        assert!(
            backend.no_request_for(Duration::from_millis(100)).await,
            "{told}"
        );
        call.respond(took_it()).await;
        // Of three, one failed as the first did.
        let mut taken = 0;
        for repeat in repeats {
            if let Ok(reply) = repeat.await {
                taken += usize::from(reply.status == 200);
            }
        }
        assert_eq!(taken, 2, "{told}");
        if let Some(first) = first {
            let _ = first.await;
        }
        assert_taken(&delivery.send(&proxy).await.expect("answered"));
        assert!(backend.no_request_for(Duration::ZERO).await, "{told}");
    }
}

#[tokio::test]
async fn a_failed_delivery_can_be_repeated() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let delivery = Delivery::new();
    let call = abandoned(&proxy, &backend, &delivery).await;
    call.respond(BackendResponse::status(500)).await;
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(event["http"]["response"]["status_code"], 499);
    // What the backend did is told of the backend.
    let attempts = [("outcome", "status_5xx")];
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("weir_upstream_attempts_total", &attempts), 1.0);
    let again = delivery.send(&proxy);
    backend.next_request().await.respond(took_it()).await;
    assert_taken(&again.await.expect("answered"));
}

#[tokio::test]
async fn a_repeat_whose_client_leaves_affects_no_others() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let delivery = Delivery::new();
    let call = abandoned(&proxy, &backend, &delivery).await;
    let (leaves, stays) = (delivery.send(&proxy), delivery.send(&proxy));
    waiting(&proxy, 2).await;
    leaves.abort();
    waiting(&proxy, 1).await;
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(event["weir"]["signature"]["outcome"], "duplicate");
    call.respond(took_it()).await;
    assert_taken(&stays.await.expect("answered"));
    assert!(backend.no_request_for(Duration::ZERO).await);
}
