//! Clients that disconnect before or during a response free the connection to the backend within a second.

use std::time::Duration;

use weir_tests::backend::{Backend, PendingRequest};
use weir_tests::client::CHAT;
use weir_tests::fault_proxy::{Admission, FaultProxy};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;
use weir_tests::wait;

use super::variants::{VARIANTS, wait_until_closed};

mod crowd;

/// weir guarantees a second; the rest is for a busy machine.
pub(super) const FREED_WITHIN: Duration = Duration::from_secs(3);

/// How a client of HTTP/1.1 leaves.
#[derive(Clone, Copy, Debug)]
enum Departure {
    Fin,
    Reset,
}

/// The backend's connection is closed in time.
async fn assert_freed(mut call: PendingRequest, faults: &FaultProxy, what: &str) {
    wait::within(what, FREED_WITHIN, call.closed()).await;
    drop(call);
    wait_until_closed(faults).await;
}

pub(super) async fn assert_event(proxy: &Proxy, code: Option<&str>, count: usize) {
    let events = proxy.events_when(count).await;
    for event in events {
        let reported = event.get("error_code").and_then(|code| code.as_str());
        assert_eq!(reported, code, "{event}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_before_the_response() {
    let backend = Backend::manual().await;
    for variant in VARIANTS {
        let faults = FaultProxy::start(backend.address());
        let proxy = Setup::behind(&faults).start().await;
        let mut client = variant.client(&proxy).await;
        let call = tokio::select! {
            _ = client.try_open(variant.chat_stream()) => panic!("answered"),
            call = backend.next_request() => call,
        };
        drop(client);
        assert_freed(call, &faults, &format!("{variant:?}")).await;
        assert_event(&proxy, Some("client_closed"), 1).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_while_the_backend_hangs() {
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    faults.admit(Admission::Blackhole);
    let proxy = Setup::behind(&faults).start().await;
    for variant in VARIANTS {
        let mut client = variant.client(&proxy).await;
        tokio::select! {
            _ = client.try_open(variant.post("/any")) => panic!("answered"),
            () = wait::eventually("a connection", wait::PATIENCE, || faults.counts().open == 1) => {}
        }
        drop(client);
        wait::eventually(&format!("{variant:?}"), FREED_WITHIN, || {
            faults.counts().open == 0
        })
        .await;
    }
    assert_event(&proxy, Some("client_closed"), VARIANTS.len()).await;
}

#[tokio::test]
async fn a_client_that_leaves_during_a_stream() {
    let backend = Backend::manual().await;
    for variant in VARIANTS {
        let faults = FaultProxy::start(backend.address());
        let proxy = Setup::behind(&faults).start().await;
        let mut client = variant.client(&proxy).await;
        let (mut streaming, mut call) = backend
            .open_stream(&mut client, variant.chat_stream())
            .await;
        call.token("first").await;
        streaming.until("first").await;
        drop(streaming);
        drop(client);
        // Nothing more is sent that could reveal it.
        assert_freed(call, &faults, &format!("{variant:?}")).await;
        assert_event(&proxy, None, 1).await;
        let event = &proxy.events()[0];
        assert_eq!(event["weir"]["client_aborted"], true, "{event}");
    }
}

#[tokio::test]
async fn a_client_that_is_reset_or_lost_behind_a_proxy() {
    let backend = Backend::manual().await;
    let faults = FaultProxy::start(backend.address());
    let proxy = Setup::behind(&faults).start().await;
    let in_front = FaultProxy::start(proxy.address());
    let request =
        format!("POST {CHAT} HTTP/1.1\r\nHost: weir.test\r\nContent-Length: 2\r\n\r\n{{}}");
    for departure in [Departure::Fin, Departure::Reset] {
        let mut raw = Raw::connect(in_front.address()).await;
        raw.write(&request).await;
        let call = backend.next_request().await;
        match departure {
            Departure::Fin => drop(raw),
            Departure::Reset => raw.reset(),
        }
        assert_freed(call, &faults, &format!("{departure:?}")).await;
    }
    assert_event(&proxy, Some("client_closed"), 2).await;
}
