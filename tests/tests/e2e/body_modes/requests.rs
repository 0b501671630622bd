//! Requests are handled the same in both body modes.

use weir_tests::backend::Backend;
use weir_tests::client::{Client, ClientRequest};
use weir_tests::raw::Raw;
use weir_tests::setup::Setup;

use super::{BODY_MODES, BodyMode};

/// A chunked request in each mode: without a stage that reads it, and with one.
async fn assert_rejected_in_both_modes(chunks: &str) {
    for reading in [true, false] {
        let backend = Backend::echo().await;
        let setup = match reading {
            true => Setup::buffered(&backend),
            false => Setup::open(&backend),
        };
        let proxy = setup.start().await;
        // In the packet of the head, and in a later one.
        for apart in [false, true] {
            let head =
                "POST /chunks HTTP/1.1\r\nHost: weir.test\r\nTransfer-Encoding: chunked\r\n\r\n";
            let mut raw = Raw::connect(proxy.address()).await;
            if apart {
                raw.write(format!("{head}2\r\nhi\r\n")).await;
                if !reading {
                    // The first chunk is forwarded before the next is written.
                    weir_tests::wait::eventually(
                        "a connection",
                        weir_tests::wait::PATIENCE,
                        || backend.connections_open() > 0,
                    )
                    .await;
                }
                let _ = raw.try_write(chunks).await;
            } else {
                raw.write(format!("{head}{chunks}")).await;
            }
            let backend_response = raw.response().await;
            let what = format!("{chunks:?}, reading {reading}, apart {apart}");
            assert_eq!(
                backend_response.status,
                400,
                "{what}: {}",
                backend_response.text()
            );
        }
        assert!(backend.requests().iter().all(|received| !received.whole));
    }
}

#[tokio::test]
async fn malformed_chunks_are_rejected_at_any_position() {
    for size in [
        "5;", "5;;a", "5;a=", "5;a\0b", "5;a=\"b", "5\u{c}", "5\u{b}", "5 5", "zz", "-5", "0x5",
    ] {
        assert_rejected_in_both_modes(&format!("{size}\r\nhello\r\n0\r\n\r\n")).await;
    }
    assert_rejected_in_both_modes("5\r\nhello0\r\n\r\n").await;
    assert_rejected_in_both_modes("5\r\nhello\r\n0\r\nx: y\n\r\n").await;
}

#[tokio::test]
async fn options_asterisk_is_answered_by_weir() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    let mut raw = Raw::connect(proxy.address()).await;
    for _ in 0..2 {
        raw.write("OPTIONS * HTTP/1.1\r\nHost: weir.test\r\n\r\n")
            .await;
        let backend_response = raw.response().await;
        assert_eq!(backend_response.status, 204, "{}", backend_response.text());
        let allow = backend_response.header("allow").expect("methods");
        assert!(allow.contains("POST"), "{allow}");
        let event = proxy
            .event(backend_response.header("x-request-id").expect("an id"))
            .await;
        assert_eq!(event["url"]["path"], "*");
        assert_eq!(event["route"], "none");
    }
    backend.assert_untouched();
}

#[tokio::test]
async fn an_upgrade_requires_the_connection_field() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for connection in ["", "Connection: keep-alive\r\n", "Connection: close\r\n"] {
        let mut raw = Raw::connect(proxy.address()).await;
        raw.write(format!(
            "GET /plain HTTP/1.1\r\nHost: weir.test\r\n{connection}Upgrade: websocket\r\n\r\n"
        ))
        .await;
        let backend_response = raw.response().await;
        assert_eq!(backend_response.status, 200, "{connection:?}");
        let received = backend.requests().pop().expect("a request");
        assert_eq!(received.header("upgrade"), None, "{connection:?}");
        assert_eq!(received.header("connection"), None, "{connection:?}");
    }
}

#[tokio::test]
async fn fields_with_underscores_cannot_shadow_weirs_own() {
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .backend_options(&["request_headers: {x-upstream-key: own}"])
        .routes(weir_tests::setup::OPEN)
        .start()
        .await;
    for mode in BODY_MODES {
        for mut client in [
            Client::h1(proxy.address()).await,
            Client::h2(proxy.address()).await,
        ] {
            let mut request = mode.request().header("x_kept", "1");
            for shadow in [
                "x_weir_client",
                "X_Weir_Platform",
                "x_forwarded_for",
                "x-forwarded_proto",
                "x_forwarded_host",
                "x_request_id",
                "x_upstream_key",
                // WSGI variables.
                "SCRIPT_NAME",
                "path_info",
                "content_length",
                "transfer_encoding",
            ] {
                request = request.header(&shadow.to_ascii_lowercase(), "9");
            }
            let client_response = client.send(request).await;
            assert_eq!(
                client_response.status,
                200,
                "{mode:?}: {}",
                client_response.text()
            );
            let received = backend.requests().pop().expect("a request");
            let shadows = received
                .headers
                .iter()
                .filter(|(name, _)| name.contains('_'));
            let shadows: Vec<_> = shadows.map(|(name, _)| name.as_str()).collect();
            assert_eq!(shadows, ["x_kept"], "{mode:?}");
            assert_eq!(received.header("x-upstream-key"), Some("own"));
        }
    }
}

#[tokio::test]
async fn split_cookies_and_authority_are_restored_for_the_backend() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for mode in BODY_MODES {
        let mut client = Client::h2(proxy.address()).await;
        let request = mode
            .request()
            .header("cookie", "a=1")
            .header("cookie", "b=2")
            .header("cookie", "c=3");
        let client_response = client.send(request).await;
        assert_eq!(client_response.status, 200, "{mode:?}");
        let received = backend.requests().pop().expect("a request");
        assert_eq!(received.all("cookie"), ["a=1; b=2; c=3"], "{mode:?}");
        let host = received
            .header("x-forwarded-host")
            .expect("the requested host");
        assert!(
            host.starts_with("weir.test") || host.starts_with("127.0.0.1"),
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_response_before_the_end_of_the_request_is_forwarded() {
    // The backend rejects by the head, closes at once, and never reads the body.
    let backend = Backend::raw(|mut stream| async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut room = [0; 512];
        let _ = stream.read(&mut room).await;
        let _ = stream
            .write_all(b"HTTP/1.1 413 Payload Too Large\r\nContent-Length: 7\r\nConnection: close\r\n\r\nenough!")
            .await;
        let _ = stream.set_zero_linger();
        let _ = stream.shutdown().await;
    })
    .await;
    for reading in [true, false] {
        let setup = match reading {
            true => Setup::buffered(&backend),
            false => Setup::open(&backend),
        };
        let proxy = setup.start().await;
        for turn in 0..5 {
            for mut client in [
                Client::h1(proxy.address()).await,
                Client::h2(proxy.address()).await,
            ] {
                let client_response = client
                    .send(ClientRequest::post("/up", vec![7; 4 << 20]))
                    .await;
                let what = format!("reading {reading}, turn {turn}");
                assert_eq!(
                    client_response.status,
                    413,
                    "{what}: {}",
                    client_response.text()
                );
                assert_eq!(client_response.text(), "enough!", "{what}");
            }
        }
    }
}

#[tokio::test]
async fn malformed_http2_fields_are_rejected() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for mode in [BodyMode::Buffered, BodyMode::PassedThrough] {
        for value in [" a", "a ", "\ta", "a\t"] {
            let mut client = Client::h2(proxy.address()).await;
            let client_response = client.send(mode.request().header("x-edge", value)).await;
            assert_eq!(client_response.status, 400, "{mode:?}: {value:?}");
        }
    }
    backend.assert_untouched();
}
