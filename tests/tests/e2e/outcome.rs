//! The outcome of a request: a complete response is no failure however its framing ends, an error in its body is one, and
//! the status that was sent is recorded.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use weir_tests::backend::{Backend, BackendResponse, PendingRequest};
use weir_tests::client::{Client, ClientRequest};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

mod formats;
mod inferred_end;
use super::body_modes::BodyMode;
use formats::{CHAT, FORMATS, Format};

/// A route that buffers bodies and stores responses, and one that does neither.
const ROUTES: &str = "- {name: kept, path: /kept/*, backend: assistant, \
                      cache: {answers: true, memory: 16MiB, ttl: 1h, scope: route}}\n\
                      - {name: open, path: /*, backend: assistant}";

async fn start(backend: &Backend) -> Proxy {
    let setup = Setup::new(backend).backend_options(&["retry: {attempts: 1}"]);
    setup.routes(ROUTES).start().await
}

async fn client(proxy: &Proxy, version: u8) -> Client {
    match version {
        1 => Client::h1(proxy.address()).await,
        _ => Client::h2(proxy.address()).await,
    }
}

async fn pause(time: Duration) {
    wait::sleep(time).await;
}

/// Answers a request with everything of a format but its end.
async fn respond_without_end(call: &mut PendingRequest, format: &Format) {
    call.send_head(format.content_type).await;
    for part in format.open() {
        call.chunk(part).await;
    }
    call.chunk(format.terminal).await;
}

/// Asserts a success without an error.
fn assert_success(event: &Value, what: &str) {
    assert_eq!(
        event["http"]["response"]["status_code"], 200,
        "{what}: {event}"
    );
    assert_eq!(event["event"]["outcome"], "success", "{what}: {event}");
    assert!(event.get("error_code").is_none(), "{what}: {event}");
    let aborted = event["weir"].get("client_aborted");
    assert!(aborted.is_none(), "{what}: {event}");
}

async fn assert_attempts(proxy: &Proxy, outcome: &str, count: usize) {
    let labels = [("outcome", outcome)];
    let name = "weir_upstream_attempts_total";
    assert_metric(proxy.admin(), name, &labels, count as f64).await;
}

/// Clients that close after the terminal event, as SDKs do, with a backend that sends its last chunk later. Each response
/// is stored completely.
async fn run_closing_clients(version: u8, late: Duration) {
    const CLIENTS: usize = 100;
    const AT_ONCE: usize = 20;

    let backend = Arc::new(Backend::manual().await);
    let proxy = start(&backend).await;
    let answering = tokio::spawn({
        let backend = backend.clone();
        async move {
            let calls = (0..2 * CLIENTS).map(|_| async {
                let mut call = backend.next_request().await;
                respond_without_end(&mut call, &CHAT).await;
                pause(late).await;
                call.finish().await;
            });
            join_all(calls).await;
        }
    });
    let request = |number: usize, route: &str| {
        let question = CHAT.question.replace("QUESTION", &number.to_string());
        let path = format!("{route}{}", CHAT.path);
        let request = match route {
            "" => ClientRequest::chunked(&path, question.as_bytes(), 7),
            _ => ClientRequest::post(&path, question),
        };
        request.header("content-type", "application/json")
    };
    let one = |number| {
        let (proxy, request) = (&proxy, &request);
        async move {
            let route = if number < CLIENTS { "/kept" } else { "" };
            let mut client = client(proxy, version).await;
            let mut streaming = client.open(request(number, route)).await;
            if streaming.status != 200 {
                let reported = streaming.rest().await.expect("a rejection");
                panic!("{number}: {}", String::from_utf8_lossy(&reported));
            }
            streaming.until(CHAT.terminal).await;
            drop(streaming);
            drop(client);
            if route.is_empty() {
                return;
            }
            // Directly after it.
            let again = proxy.send(request(number, route)).await;
            let status = again.header("cache-status").unwrap_or_default();
            assert!(status.contains("hit"), "{number}: {status}");
            assert_eq!(again.text(), CHAT.whole());
        }
    };
    for first in (0..2 * CLIENTS).step_by(AT_ONCE) {
        join_all((first..first + AT_ONCE).map(one)).await;
    }
    answering.await.expect("a response");
    let what = format!("HTTP/{version}, {late:?}");
    let events = proxy.events_when(3 * CLIENTS).await;
    for event in &events {
        assert_success(event, &what);
    }
    assert_attempts(&proxy, "ok", 2 * CLIENTS).await;
    assert_attempts(&proxy, "abandoned", 0).await;
}

#[tokio::test]
async fn a_client_that_closes_after_the_end_had_a_complete_response() {
    for version in [1, 2] {
        for late_ms in [0, 5, 50] {
            run_closing_clients(version, Duration::from_millis(late_ms)).await;
        }
    }
}

/// What a backend does after its terminal event, instead of ending the framing.
#[derive(Clone, Copy, Debug)]
enum Aftermath {
    Holds,
    Closes,
    Resets,
}

#[tokio::test]
async fn failures_of_the_backend_after_the_end_are_no_error() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let mut requested = 0;
    for format in FORMATS {
        for after in [Aftermath::Holds, Aftermath::Closes, Aftermath::Resets] {
            for (version, mode) in [(1, BodyMode::Buffered), (2, BodyMode::PassedThrough)] {
                let what = format!("{}: {after:?}, HTTP/{version}, {mode:?}", format.name);
                let answering = async {
                    let mut call = backend.next_request().await;
                    respond_without_end(&mut call, &format).await;
                    match after {
                        Aftermath::Holds => {
                            wait::within(&what, Duration::from_secs(10), call.closed()).await;
                        }
                        Aftermath::Closes => drop(call),
                        Aftermath::Resets => call.reset(),
                    }
                };
                let sending = async {
                    let mut client = client(&proxy, version).await;
                    let streaming = client.open(format.request("hi", mode)).await;
                    let id = streaming.header("x-request-id").expect("an id").to_owned();
                    let body = streaming.rest().await.expect("a clean end");
                    assert_eq!(String::from_utf8_lossy(&body), format.whole(), "{what}");
                    id
                };
                let (id, ()) = tokio::join!(sending, answering);
                assert_success(&proxy.event(&id).await, &what);
                requested += 1;
            }
        }
    }
    assert_attempts(&proxy, "ok", requested).await;
    assert_metric(proxy.admin(), "weir_failed_requests_total", &[], 0.0).await;
}

/// A failure in a response with status 200 is one in every format.
async fn assert_failure(proxy: &Proxy, id: &str, code: &str, what: &str) {
    let event = proxy.event(id).await;
    assert_eq!(event["error_code"], code, "{what}: {event}");
    assert_eq!(event["event"]["outcome"], "failure", "{what}");
    assert_eq!(event["http"]["response"]["status_code"], 200, "{what}");
}

#[tokio::test]
async fn an_error_in_a_response_body_is_a_failure() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let mut requested = 0;
    for format in FORMATS {
        for (version, mode) in [(1, BodyMode::Buffered), (2, BodyMode::PassedThrough)] {
            let what = format!("{}, HTTP/{version}", format.name);
            let answering = async {
                let mut call = backend.next_request().await;
                call.send_head(format.content_type).await;
                for part in format.begin {
                    call.chunk(part).await;
                }
                call.chunk(format.error).await;
                call.finish().await;
            };
            let sending = async {
                let mut client = client(&proxy, version).await;
                client.send(format.request("hi", mode)).await
            };
            let (response, ()) = tokio::join!(sending, answering);
            let id = response.header("x-request-id").expect("an id");
            assert_failure(&proxy, id, "upstream_error", &what).await;
            requested += 1;
        }
    }
    assert_attempts(&proxy, "error", requested).await;
    let failed = requested as f64;
    assert_metric(proxy.admin(), "weir_failed_requests_total", &[], failed).await;
    let labels = [("error_code", "upstream_error")];
    assert_metric(proxy.admin(), "weir_errors_total", &labels, failed).await;
    let labels = [("outcome", "failure")];
    assert_metric(proxy.admin(), "weir_model_calls_total", &labels, failed).await;
}

#[tokio::test]
async fn an_error_document_is_a_failure_unless_the_status_is_more_specific() {
    const ERRORS: [&str; 4] = [
        r#"{"error":{"message":"no such model","type":"invalid_request_error"}}"#,
        r#"{"type":"error","error":{"type":"api_error","message":"internal"}}"#,
        r#"{"error":{"code":500,"message":"internal","status":"INTERNAL"}}"#,
        r#"{"error":"model runner has unexpectedly stopped"}"#,
    ];
    let backend = Backend::responding(|received| {
        let number = received
            .header("x-error")
            .and_then(|number| number.parse().ok());
        let error = ERRORS[number.unwrap_or(0_usize)];
        let status = received
            .header("x-status")
            .and_then(|status| status.parse().ok());
        BackendResponse::bytes("application/json", error).with_status(status.unwrap_or(200))
    })
    .await;
    let proxy = start(&backend).await;
    for (number, error) in ERRORS.iter().enumerate() {
        for (status, code) in [
            ("200", Some("upstream_error")),
            ("400", None),
            ("503", Some("upstream_status")),
        ] {
            let request = ClientRequest::chat("hi")
                .header("x-error", &number.to_string())
                .header("x-status", status);
            let event = proxy.event_of(&proxy.send(request).await).await;
            let reported = event.get("error_code").and_then(Value::as_str);
            assert_eq!(reported, code, "{error} with {status}");
        }
    }
}

#[tokio::test]
async fn a_stream_without_its_end_is_incomplete() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let mut requested = 0;
    for format in FORMATS
        .iter()
        .filter(|format| format.name != "gemini's array")
    {
        for version in [1, 2] {
            let answering = async {
                let mut call = backend.next_request().await;
                call.send_head(format.content_type).await;
                for part in format.begin {
                    call.chunk(part).await;
                }
                call.finish().await;
            };
            let sending = async {
                let mut client = client(&proxy, version).await;
                client.send(format.request("hi", BodyMode::Buffered)).await
            };
            let (response, ()) = tokio::join!(sending, answering);
            let id = response.header("x-request-id").expect("an id");
            assert_failure(&proxy, id, "upstream_incomplete", format.name).await;
            requested += 1;
        }
    }
    assert_attempts(&proxy, "incomplete", requested).await;
    let failed = requested as f64;
    assert_metric(proxy.admin(), "weir_failed_requests_total", &[], failed).await;
}

#[tokio::test]
async fn a_finish_reason_is_an_end_and_truncation_is_not() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    for format in FORMATS.iter().filter(|format| format.reason.is_some()) {
        for ends in [true, false] {
            let answering = async {
                let mut call = backend.next_request().await;
                call.send_head(format.content_type).await;
                for part in format.open() {
                    call.chunk(part).await;
                }
                if ends {
                    call.finish().await;
                }
            };
            let sending = async {
                let mut client = client(&proxy, 1).await;
                let streaming = client.open(format.request("hi", BodyMode::Buffered)).await;
                let id = streaming.header("x-request-id").expect("an id").to_owned();
                assert_eq!(streaming.rest().await.is_ok(), ends, "{}", format.name);
                id
            };
            let (id, ()) = tokio::join!(sending, answering);
            match ends {
                true => assert_success(&proxy.event(&id).await, format.name),
                false => assert_failure(&proxy, &id, "upstream_reset", format.name).await,
            }
        }
    }
}

#[tokio::test]
async fn the_status_that_was_sent_is_recorded() {
    for version in [1, 2] {
        let backend = Backend::manual().await;
        let proxy = start(&backend).await;
        for (status, mode, code) in [
            (503, BodyMode::Buffered, Some("upstream_status")),
            (500, BodyMode::PassedThrough, Some("upstream_status")),
            (429, BodyMode::Buffered, None),
            (200, BodyMode::PassedThrough, None),
        ] {
            let what = format!("HTTP/{version}, {status}, {mode:?}");
            let mut client = client(&proxy, version).await;
            let (streaming, mut call) =
                tokio::join!(client.open(CHAT.request("hi", mode)), async {
                    let mut call = backend.next_request().await;
                    let head = format!(
                        "HTTP/1.1 {status} Whatever\r\ncontent-type: text/event-stream\r\n\
                     transfer-encoding: chunked\r\n\r\n"
                    );
                    call.write(head).await;
                    call.chunk(CHAT.begin[0]).await;
                    call
                });
            assert_eq!(streaming.status, status, "{what}");
            let id = streaming.header("x-request-id").expect("an id").to_owned();
            drop(streaming);
            drop(client);
            wait::within("the backend is left", wait::PATIENCE, call.closed()).await;
            let event = proxy.event(&id).await;
            assert_eq!(event["http"]["response"]["status_code"], status, "{what}");
            assert_eq!(event["weir"]["client_aborted"], true, "{what}: {event}");
            assert_eq!(
                event.get("error_code").and_then(Value::as_str),
                code,
                "{what}"
            );
            let labels = [("code", &*status.to_string())];
            assert_metric(proxy.admin(), "weir_requests_total", &labels, 1.0).await;
        }
        assert_metric(proxy.admin(), "weir_failed_requests_total", &[], 2.0).await;
        assert_attempts(&proxy, "status_5xx", 2).await;
        // Neither was at fault, and the response is incomplete.
        assert_attempts(&proxy, "abandoned", 2).await;
    }
}

#[tokio::test]
async fn a_disconnect_after_an_error_stays_an_error() {
    let backend = Backend::manual().await;
    let proxy = start(&backend).await;
    let mut client = client(&proxy, 1).await;
    let (mut streaming, mut call) =
        tokio::join!(client.open(CHAT.request("hi", BodyMode::Buffered)), async {
            let mut call = backend.next_request().await;
            call.send_event_stream_head().await;
            call.chunk(CHAT.error).await;
            call
        });
    streaming.until(CHAT.error).await;
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    drop(streaming);
    drop(client);
    wait::within("the backend is left", wait::PATIENCE, call.closed()).await;
    assert_failure(&proxy, &id, "upstream_error", "left").await;
    assert_eq!(proxy.event(&id).await["weir"]["client_aborted"], true);
}
