//! A backend that hangs: requests end at their deadline, and leave neither connections, descriptors nor memory behind.

use std::time::Duration;

use futures_util::future::join_all;
use weir_tests::backend::{Backend, Http2Backend};
use weir_tests::client::ClientRequest;
use weir_tests::fault_proxy::{Admission, CutKind, FaultProxy};
use weir_tests::proxy::Proxy;
use weir_tests::resources::Resources;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

use super::variants::{ClientVersion, VARIANTS, Variant, wait_until_closed};

/// The deadline of a request.
const FIRST_BYTE: Duration = Duration::from_secs(3);
/// How much later than that a request may end on a busy machine.
const LATE_MAX: Duration = Duration::from_secs(5);

/// All requests of a variant at once: one a connection over HTTP/1.1, fifty over HTTP/2. Each ends in 504 at its deadline.
async fn time_out_at_once(proxy: &Proxy, variant: Variant, requests: usize) {
    let on_each = match variant.version {
        ClientVersion::Http1 => 1,
        ClientVersion::Http2 => 50,
    };
    let connections = (0..requests / on_each).map(|_| async {
        let mut client = variant.client(proxy).await;
        let mut opening = Vec::new();
        for _ in 0..on_each {
            let started = weir::clock::now();
            let response = client.begin(variant.post("/hung")).await.expect("sent");
            opening.push(async move { (response.await, started.elapsed()) });
        }
        for (response, took) in join_all(opening).await {
            let response = response.expect("a head").whole().await;
            assert_eq!(response.status, 504, "{}", response.text());
            assert_eq!(response.rejection(), "upstream_timeout");
            assert!(took + Duration::from_millis(50) >= FIRST_BYTE, "{took:?}");
            assert!(took <= FIRST_BYTE + LATE_MAX, "{took:?}");
        }
    });
    join_all(connections).await;
}

async fn assert_counted(proxy: &Proxy, timeouts: f64) {
    proxy
        .metrics_when("the end of all requests", |metrics| {
            metrics.sum("weir_requests_in_flight", &[]) == 0.0
                && metrics.sum("weir_errors_total", &[("error_code", "upstream_timeout")])
                    == timeouts
        })
        .await;
}

#[tokio::test]
async fn a_thousand_requests_to_a_hung_backend_leave_nothing_behind() {
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    let proxy = Setup::behind(&faults)
        .backend_options(&["first_byte_timeout: 3s"])
        .start()
        .await;
    // Warm up: what every code path allocates once is not part of the cost.
    for variant in VARIANTS {
        let mut client = variant.client(&proxy).await;
        assert_eq!(client.send(variant.post("/warm-up")).await.status, 200);
    }
    faults.admit(Admission::Blackhole);
    faults.cut_open(CutKind::Close);
    wait_until_closed(&faults).await;
    let rest = Resources::of(proxy.process());
    let accepted = faults.counts().accepted;
    let variants = VARIANTS.iter();
    join_all(variants.map(|variant| time_out_at_once(&proxy, *variant, 250))).await;
    assert_eq!(faults.counts().accepted, accepted + 1000);
    Resources::returned_to(rest, proxy.process()).await;
    assert_counted(&proxy, 1000.0).await;
    wait_until_closed(&faults).await;
    // It serves as before.
    faults.heal();
    assert_eq!(proxy.send(ClientRequest::get("/after")).await.status, 200);
}

#[tokio::test]
async fn a_thousand_streams_of_a_hung_http2_backend_leave_nothing_behind() {
    let backend = Http2Backend::start().await;
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[backend.url()],
            &[
                "first_byte_timeout: 3s",
                "retry: {attempts: 1}",
                "pool: {idle_timeout: 1s}",
            ],
        )
        .routes(OPEN)
        .start()
        .await;
    for variant in VARIANTS {
        let mut client = variant.client(&proxy).await;
        assert_eq!(client.send(variant.post("/warm-up")).await.status, 200);
    }
    wait::eventually("idle connections to be closed", wait::PATIENCE, || {
        backend.connections_open() == 0
    })
    .await;
    let rest = Resources::of(proxy.process());
    backend.hang(true);
    let variants = VARIANTS.iter();
    join_all(variants.map(|variant| time_out_at_once(&proxy, *variant, 250))).await;
    wait::eventually("the end of all streams", wait::PATIENCE, || {
        backend.hanging() == 0
    })
    .await;
    Resources::returned_to(rest, proxy.process()).await;
    assert_counted(&proxy, 1000.0).await;
    backend.hang(false);
    assert_eq!(proxy.send(ClientRequest::get("/after")).await.status, 200);
}
