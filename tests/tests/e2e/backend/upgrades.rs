//! Requests for an upgrade to backends that do not respond: their deadlines, and clients that disconnect.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir_tests::backend::Backend;
use weir_tests::fault_proxy::{Admission, FaultProxy};
use weir_tests::proxy::Proxy;
use weir_tests::raw::Raw;
use weir_tests::setup::{OPEN, Setup};
use weir_tests::wait;

use super::departures::FREED_WITHIN;
use super::retry::{outcomes_of, refusing};
use super::variants::wait_until_closed;

const UPGRADE: &str =
    "GET /up HTTP/1.1\r\nHost: weir.test\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n";

async fn request_upgrade(proxy: &Proxy) -> Raw {
    let mut raw = Raw::connect(proxy.address()).await;
    raw.write(UPGRADE).await;
    raw
}

/// The error code of an upgrade that is rejected, and its status.
async fn rejection(proxy: &Proxy) -> (u16, String) {
    let response = request_upgrade(proxy).await.response().await;
    let id = response.header("x-request-id").expect("an id");
    let event = proxy.event(id).await;
    let code = event["error_code"].as_str().expect("a code").to_owned();
    (response.status, code)
}

#[tokio::test]
async fn an_upgrade_without_a_response_ends_at_its_deadline() {
    let connect = Setup::without_backend()
        .backend("assistant", &[refusing().await], &["retry: {attempts: 1}"])
        .routes(OPEN)
        .start()
        .await;
    let refused = (502, "upstream_connect".to_owned());
    assert_eq!(rejection(&connect).await, refused);
    let backend = Backend::echo().await;
    let faults = FaultProxy::start(backend.address());
    faults.admit(Admission::Blackhole);
    for option in ["first_byte_timeout: 300ms", "total_timeout: 300ms"] {
        let proxy = Setup::behind(&faults)
            .backend_options(&[option])
            .start()
            .await;
        let late = (504, "upstream_timeout".to_owned());
        assert_eq!(rejection(&proxy).await, late, "{option}");
        wait_until_closed(&faults).await;
    }
}

#[tokio::test]
async fn a_client_that_leaves_frees_the_connection_of_its_upgrade() {
    let backend = Backend::manual().await;
    let proxy = Setup::open(&backend).start().await;
    // Before the response, and after it.
    for is_upgraded in [false, true] {
        let mut raw = request_upgrade(&proxy).await;
        let mut call = backend.next_request().await;
        if is_upgraded {
            call.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines\r\n\r\n",
            )
            .await;
            raw.read_until(b"\r\n\r\n", wait::PATIENCE).await;
        }
        drop(raw);
        wait::within("the end of the connection", FREED_WITHIN, call.closed()).await;
    }
}

#[tokio::test]
async fn an_upgrade_whose_reused_connection_broke_is_sent_once_over_a_new_one() {
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    // Every connection serves one request, and ends when the next one has arrived.
    let backend = Backend::raw(async |mut stream| {
        let mut bytes = [0; 4096];
        if stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
            let _ = stream.write_all(RESPONSE).await;
            let _ = stream.read(&mut bytes).await;
        }
    })
    .await;
    let proxy = Setup::open(&backend)
        .backend_options(&["retry: {attempts: 1, when: []}"])
        .start()
        .await;
    let mut raw = Raw::connect(proxy.address()).await;
    for expected in [&[][..], &["reset", "ok"]] {
        raw.write(UPGRADE).await;
        let response = wait::within("a response", Duration::from_secs(20), raw.response()).await;
        assert_eq!(response.status, 200, "{}", response.text());
        let id = response.header("x-request-id").expect("an id");
        assert_eq!(outcomes_of(&proxy.event(id).await), expected);
    }
}
