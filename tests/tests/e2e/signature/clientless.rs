//! Requests that continue after their clients have disconnected.

use std::time::Duration;

use bytes::Bytes;
use weir_tests::backend::{Backend, PendingRequest};
use weir_tests::client::Client;
use weir_tests::fault_proxy::FaultProxy;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::fresh_id;
use weir_tests::wait;

use super::feishu::{ROUTE, TOKEN, event, start};
use super::redelivery::{
    Delivery, accepted_response, assert_accepted, in_flight, send_and_abandon,
    wait_until_clientless,
};

#[tokio::test]
async fn a_request_continued_without_its_client_ends_at_the_timeout() {
    let backend = Backend::manual().await;
    let proxy = Setup::new(&backend)
        .backend_options(&["first_byte_timeout: 1s"])
        .routes(ROUTE)
        .start()
        .await;
    let delivery = Delivery::new();
    let mut call = send_and_abandon(&proxy, &backend, &delivery).await;
    wait::within("the backend to be let go", wait::PATIENCE, call.closed()).await;
    proxy
        .metrics_when("its end", |metrics| in_flight(metrics) == 0.0)
        .await;
    let again = delivery.send(&proxy);
    backend
        .next_request()
        .await
        .respond(accepted_response())
        .await;
    assert_accepted(&again.await.expect("a response"));
}

#[tokio::test]
async fn a_delivery_keeps_its_connection_to_the_backend_when_its_client_leaves() {
    let backend = Backend::manual().await;
    let faults = FaultProxy::start(backend.address());
    let proxy = Setup::without_backend()
        .backend("assistant", &[faults.url()], &[])
        .routes(ROUTE)
        .start()
        .await;
    let mut call = send_and_abandon(&proxy, &backend, &Delivery::new()).await;
    // Any other request would have freed it within a second.
    assert!(wait::still_waiting_after(Duration::from_secs(2), call.closed()).await);
    assert_eq!(faults.counts().open, 1);
    call.respond(accepted_response()).await;
    let event = proxy.event_with_code("client_closed").await;
    assert_eq!(
        event["weir"]["upstream"]["endpoint"],
        faults.url(),
        "{event}"
    );
    // It is read to its end, so that the connection can be used again.
    assert_eq!(faults.counts().open, 1);
}

#[tokio::test]
async fn a_delivery_cut_short_by_its_client_can_be_repeated() {
    // Accepts connections and reads nothing.
    let (taken, mut connections) = tokio::sync::mpsc::channel(8);
    let backend = Backend::raw(move |stream| {
        let taken = taken.clone();
        async move {
            let _ = taken.send(stream).await;
        }
    })
    .await;
    let proxy = start(&backend).await;
    let mut large = event(&fresh_id(), TOKEN);
    large["padding"] = "x".repeat(9 << 20).into();
    let delivery = Delivery(large.to_string());
    for _ in 0..2 {
        let sending = delivery.send(&proxy);
        let mut stream = connections.recv().await.expect("a connection");
        sending.abort();
        // Nothing is read before: the socket buffers must not hold all of it.
        proxy
            .metrics_when("its end", |metrics| in_flight(metrics) == 0.0)
            .await;
        // It is truncated, so that the backend cannot treat it as complete.
        let mut got = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut got);
        let _ = wait::within("the backend to be let go", wait::PATIENCE, reading).await;
        assert!(got.len() < delivery.0.len());
    }
}

#[tokio::test]
async fn shutdown_waits_for_requests_without_clients() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for http2 in [false, true] {
        let delivery = Delivery::new();
        let mut client = match http2 {
            true => Client::h2(proxy.address()).await,
            false => Client::h1(proxy.address()).await,
        };
        let call = tokio::select! {
            _ = client.try_open(delivery.request()) => panic!("answered"),
            call = backend.next_request() => call,
        };
        drop(client);
        if http2 {
            assert_exit_after_response(&proxy, call).await;
        } else {
            wait_until_clientless(&proxy).await;
            call.respond(accepted_response()).await;
            proxy.event_with_code("client_closed").await;
        }
    }
}

/// The proxy exits when the request has been answered, and not before.
async fn assert_exit_after_response(proxy: &Proxy, call: PendingRequest) {
    wait_until_clientless(proxy).await;
    proxy.sigterm();
    let stopping = proxy.wait_exit(wait::PATIENCE);
    tokio::pin!(stopping);
    assert!(wait::still_waiting_after(Duration::from_millis(300), &mut stopping).await);
    call.respond(accepted_response()).await;
    assert_eq!(stopping.await.code(), Some(0), "{}", proxy.stderr());
    let events = proxy.events_when(2).await;
    assert_eq!(events[1]["error_code"], "client_closed");
    assert!(
        !proxy.stderr().contains("are cut off"),
        "{}",
        proxy.stderr()
    );
}

#[tokio::test]
async fn a_request_without_client_that_outlasts_the_drain_is_recorded() {
    let backend = Backend::manual().await;
    let proxy = Setup::new(&backend)
        .routes(ROUTE)
        .top("shutdown: {drain: 1s}")
        .start()
        .await;
    let call = send_and_abandon(&proxy, &backend, &Delivery::new()).await;
    proxy.sigterm();
    let exit = proxy.wait_exit(wait::PATIENCE).await;
    assert_eq!(exit.code(), Some(0), "{}", proxy.stderr());
    let events = proxy.events_when(1).await;
    assert_eq!(events[0]["http"]["response"]["status_code"], 499);
    drop(call);
}

#[tokio::test]
async fn a_started_response_keeps_its_status_when_the_client_leaves() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let delivery = Delivery::new();
    let mut client = Client::h1(proxy.address()).await;
    let (mut streaming, mut call) = tokio::join!(client.open(delivery.request()), async {
        let mut call = backend.next_request().await;
        call.send_head("application/json").await;
        call.chunk(Bytes::from_static(b"{\"msg\":")).await;
        call
    });
    streaming.until("msg").await;
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    drop((streaming, client));
    wait_until_clientless(&proxy).await;
    call.chunk("\"success\"}").await;
    call.finish().await;
    let event = proxy.event(&id).await;
    assert_eq!(event["http"]["response"]["status_code"], 200, "{event}");
    assert!(event.get("error_code").is_none(), "{event}");
    assert_eq!(event["weir"]["client_aborted"], true);
    assert_accepted(&delivery.send(&proxy).await.expect("a response"));
    assert_eq!(backend.requests().len(), 1);
}
