//! The deadlines of an exchange: connect, first byte, idle, total. Each has its error code, for buffered and pass-through
//! requests, and leaves no connection behind.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest, StreamingResponse};
use weir_tests::fault_proxy::{
    Admission, Cut, CutKind, Delivery, Direction, FaultProxy, Faults, Slices, UnreachableAddress,
};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::{BUFFERED, OPEN, Setup};
use weir_tests::wait;

use super::variants::{VARIANTS, Variant, wait_until_closed};

/// The deadline under test; the others have their defaults, which are longer than any test may take.
pub(super) const DEADLINE: Duration = Duration::from_millis(400);

/// Neither before its deadline, nor much later.
fn assert_in_time(started: Instant, deadline: Duration, what: &str) {
    let took = started.elapsed();
    // Timers have a resolution of some milliseconds.
    assert!(
        took + Duration::from_millis(20) >= deadline,
        "{what}: {took:?}"
    );
    assert!(took < wait::PATIENCE, "{what}: {took:?}");
}

/// Every variant is rejected at the deadline.
pub(super) async fn assert_rejected_at(proxy: &Proxy, status: u16, code: &str) {
    let requests = VARIANTS.map(|variant| async move {
        let what = format!("{variant:?}");
        for request in [variant.post("/any"), variant.chat_stream()] {
            let mut client = variant.client(proxy).await;
            let started = weir::clock::now();
            let response = client.send(request).await;
            assert_in_time(started, DEADLINE, &what);
            assert_eq!(response.status, status, "{what}: {}", response.text());
            assert_eq!(response.rejection(), code, "{what}");
            let event = proxy.event_of(&response).await;
            assert_eq!(event["error_code"], code, "{what}: {event}");
            assert_eq!(event["event"]["outcome"], "failure", "{what}");
        }
    });
    join_all(requests).await;
}

#[tokio::test]
async fn connect_timeout_of_an_unreachable_address() {
    let unreachable = UnreachableAddress::new().await;
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[unreachable.url()],
            &["connect_timeout: 400ms", "retry: {attempts: 1}"],
        )
        .routes(OPEN)
        .start()
        .await;
    assert_rejected_at(&proxy, 502, "upstream_connect").await;
}

#[tokio::test]
async fn connect_timeout_of_a_tls_handshake() {
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    faults.admit(Admission::Blackhole);
    let endpoint = format!("https://localhost:{}", faults.address().port());
    let proxy = Setup::without_backend()
        .backend(
            "assistant",
            &[endpoint],
            &["connect_timeout: 400ms", "retry: {attempts: 1}"],
        )
        .routes(OPEN)
        .start()
        .await;
    assert_rejected_at(&proxy, 502, "upstream_connect").await;
    wait_until_closed(&faults).await;
}

#[tokio::test]
async fn first_byte_and_total_timeout_of_a_backend_that_does_not_respond() {
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    faults.admit(Admission::Blackhole);
    for option in ["first_byte_timeout: 400ms", "total_timeout: 400ms"] {
        let proxy = Setup::behind(&faults)
            .backend_options(&[option])
            .start()
            .await;
        assert_rejected_at(&proxy, 504, "upstream_timeout").await;
        wait_until_closed(&faults).await;
    }
}

#[tokio::test]
async fn first_byte_timeout_of_a_response_that_is_lost() {
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    let lost = Faults {
        delivery: Delivery::Lost,
        ..Faults::default()
    };
    faults.set(Direction::ToClient, lost);
    let proxy = Setup::behind(&faults)
        .backend_options(&["first_byte_timeout: 400ms"])
        .start()
        .await;
    assert_rejected_at(&proxy, 504, "upstream_timeout").await;
    wait_until_closed(&faults).await;
    assert_eq!(backend.requests().len(), 2 * VARIANTS.len());
}

#[tokio::test]
async fn first_byte_timeout_of_a_head_that_drips() {
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    let slices = Slices {
        bytes: 1,
        pause: Duration::from_millis(50),
    };
    let dripping = Faults {
        slices: Some(slices),
        ..Faults::default()
    };
    faults.set(Direction::ToClient, dripping);
    let proxy = Setup::behind(&faults)
        .backend_options(&["first_byte_timeout: 400ms"])
        .start()
        .await;
    assert_rejected_at(&proxy, 504, "upstream_timeout").await;
    wait_until_closed(&faults).await;
}

#[tokio::test]
async fn first_byte_timeout_begins_after_a_body_that_is_passed_through() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend)
        .backend_options(&["first_byte_timeout: 700ms"])
        .start()
        .await;
    for variant in VARIANTS {
        let (request, sender) = ClientRequest::streamed("/slow");
        let mut client = variant.client(&proxy).await;
        let sending = async {
            let mut sent_at = weir::clock::now();
            // Longer than the timeout, and steadily.
            for _ in 0..5 {
                sender.send("x".repeat(100).into()).await.expect("sent");
                wait::sleep(DEADLINE / 2).await;
                sent_at = weir::clock::now();
            }
            drop(sender);
            sent_at
        };
        let (response, sent_at, mut call) =
            tokio::join!(client.send(request), sending, backend.next_request());
        assert_in_time(sent_at, Duration::from_millis(700), "after the body");
        assert_eq!(response.status, 504, "{}", response.text());
        assert_eq!(response.rejection(), "upstream_timeout");
        wait::within("the connection's end", wait::PATIENCE, call.closed()).await;
    }
}

#[tokio::test]
async fn timeout_of_a_backend_that_does_not_read_a_large_body() {
    // More than the socket buffers hold.
    let body = vec![b'x'; 24 << 20];
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    let stalled = Faults {
        delivery: Delivery::Stalled,
        ..Faults::default()
    };
    faults.set(Direction::ToTarget, stalled);
    for (routes, option) in [
        (BUFFERED, "first_byte_timeout: 400ms"),
        (OPEN, "idle_timeout: 400ms"),
    ] {
        let proxy = Setup::without_backend()
            .backend("assistant", &[faults.url()], &[option])
            .routes(&routes.replace("backend:", "body_bytes: 32MiB, backend:"))
            .start()
            .await;
        let mut client = Client::h1(proxy.address()).await;
        let started = weir::clock::now();
        // Whether the client gets the response while it is still sending depends on the client.
        let _ = client
            .try_open(ClientRequest::post("/large", body.clone()))
            .await;
        assert_in_time(started, DEADLINE, option);
        let event = proxy.event_with_code("upstream_timeout").await;
        assert_eq!(event["http"]["response"]["status_code"], 504, "{event}");
    }
}

/// A stream whose first token has arrived, and then its truncation at the deadline.
pub(super) async fn assert_truncated_at(
    proxy: &Proxy,
    variant: Variant,
    deadline: Duration,
    started: Instant,
    streaming: StreamingResponse,
) {
    let what = format!("{variant:?}");
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    assert_eq!(streaming.status, 200, "{what}");
    let cut = streaming.rest().await;
    cut.expect_err("a truncated transfer");
    assert_in_time(started, deadline, &what);
    let event = proxy.event(&id).await;
    assert_eq!(event["error_code"], "upstream_timeout", "{what}: {event}");
    assert_eq!(event["event"]["outcome"], "failure", "{what}");
    assert_eq!(event["http"]["response"]["status_code"], 200, "{what}");
}

#[tokio::test]
async fn idle_timeout_between_two_chunks() {
    let backend = Backend::manual().await;
    let faults = FaultProxy::start(backend.address());
    let proxy = Setup::behind(&faults)
        .backend_options(&["idle_timeout: 400ms"])
        .start()
        .await;
    for variant in VARIANTS {
        for lost in [Delivery::Stalled, Delivery::Lost] {
            faults.heal();
            let mut client = variant.client(&proxy).await;
            let (mut streaming, mut call) = backend
                .open_stream(&mut client, variant.chat_stream())
                .await;
            // The time begins no later than this.
            let started = weir::clock::now();
            call.token("first").await;
            streaming.until("first").await;
            let delivery = Faults {
                delivery: lost,
                ..Faults::default()
            };
            faults.set(Direction::ToClient, delivery);
            call.token("second").await;
            assert_truncated_at(&proxy, variant, DEADLINE, started, streaming).await;
        }
    }
    faults.heal();
    wait_until_closed(&faults).await;
}

#[tokio::test]
async fn idle_timeout_in_a_body_with_a_length() {
    let backend =
        Backend::responding(|_| BackendResponse::bytes("text/plain", "x".repeat(5000))).await;
    let faults = FaultProxy::start(backend.address());
    let proxy = Setup::behind(&faults)
        .backend_options(&["idle_timeout: 400ms"])
        .start()
        .await;
    let silent = Faults {
        cut: Some(Cut::after(2000, CutKind::Silence)),
        ..Faults::default()
    };
    faults.set(Direction::ToClient, silent);
    for variant in VARIANTS {
        let mut client = variant.client(&proxy).await;
        let started = weir::clock::now();
        let streaming = client.open(variant.post("/any")).await;
        assert_truncated_at(&proxy, variant, DEADLINE, started, streaming).await;
    }
    wait_until_closed(&faults).await;
}

#[tokio::test]
async fn total_timeout_of_a_stream_that_never_ends() {
    let total = Duration::from_secs(1);
    let backend = Backend::manual().await;
    let faults = FaultProxy::start(backend.address());
    let proxy = Setup::behind(&faults)
        .backend_options(&["total_timeout: 1s"])
        .start()
        .await;
    for variant in VARIANTS {
        let mut client = variant.client(&proxy).await;
        let started = weir::clock::now();
        let (streaming, mut call) = backend
            .open_stream(&mut client, variant.chat_stream())
            .await;
        let talking = async {
            while call.try_chunk(": still here\n\n").await.is_ok() {
                wait::tick().await;
            }
        };
        let talking = wait::within("the proxy gives up", wait::PATIENCE, talking);
        let truncated = assert_truncated_at(&proxy, variant, total, started, streaming);
        tokio::join!(talking, truncated);
    }
    wait_until_closed(&faults).await;
}

#[tokio::test]
async fn a_response_in_slow_pieces_is_no_timeout() {
    let backend = Backend::chat().await;
    let faults = FaultProxy::start(backend.address());
    let slices = Slices {
        bytes: 12,
        pause: Duration::from_millis(50),
    };
    let slow = Faults {
        latency: Duration::from_millis(50),
        jitter: Duration::from_millis(50),
        slices: Some(slices),
        ..Faults::default()
    };
    faults.set(Direction::ToClient, slow);
    // Less than the whole stream takes.
    let proxy = Setup::behind(&faults)
        .backend_options(&["first_byte_timeout: 10s", "idle_timeout: 2s"])
        .start()
        .await;
    let proxy = &proxy;
    let responses = VARIANTS.map(|variant| async move {
        let mut client = variant.client(proxy).await;
        let started = weir::clock::now();
        let response = client.send(variant.chat_stream()).await;
        assert!(started.elapsed() > Duration::from_secs(2));
        assert!(response.text().ends_with("data: [DONE]\n\n"));
        let event = proxy.event_of(&response).await;
        assert_eq!(event["event"]["outcome"], "success", "{event}");
    });
    join_all(responses).await;
}

#[tokio::test]
async fn a_deadline_leaves_the_connection_of_the_client_usable() {
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    let proxy = Setup::behind(&faults)
        .backend_options(&["first_byte_timeout: 400ms"])
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    for (admission, status) in [(Admission::Blackhole, 504), (Admission::Forwarded, 200)] {
        faults.admit(admission);
        raw.write("GET /a HTTP/1.1\r\nHost: weir.test\r\n\r\n")
            .await;
        assert_eq!(raw.response().await.status, status);
    }
}
