//! W3C trace context through the whole proxy: a selection of the cases of the specification (the others are next to the
//! parser).

use weir_tests::backend::{Backend, ReceivedRequest};
use weir_tests::client::ClientRequest;
use weir_tests::setup::Setup;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

struct Parent {
    trace: String,
    span: String,
    flags: String,
}

/// The `traceparent` that the backend received, in its parts.
fn parent(received: &ReceivedRequest) -> Parent {
    let values = received.all("traceparent");
    assert_eq!(values.len(), 1, "{values:?}");
    let parts: Vec<&str> = values[0].split('-').collect();
    assert_eq!(parts.len(), 4, "{values:?}");
    assert_eq!(parts[0], "00");
    let hex = |text: &str| text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
    assert!(parts.iter().all(|part| hex(part)), "{values:?}");
    assert_eq!(
        (parts[1].len(), parts[2].len(), parts[3].len()),
        (32, 16, 2)
    );
    Parent {
        trace: parts[1].to_owned(),
        span: parts[2].to_owned(),
        flags: parts[3].to_owned(),
    }
}

#[tokio::test]
async fn a_valid_traceparent_is_continued_with_a_new_span() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for (given, flags) in [
        (format!("00-{TRACE}-{PARENT}-01"), "01"),
        (format!("00-{TRACE}-{PARENT}-00"), "00"),
        (format!("cc-{TRACE}-{PARENT}-01"), "01"),
        (
            format!("cc-{TRACE}-{PARENT}-01-what-the-future-brings"),
            "01",
        ),
        (format!(" 00-{TRACE}-{PARENT}-01\t"), "01"),
    ] {
        let request = ClientRequest::get("/")
            .header("traceparent", &given)
            .header("tracestate", "foo=1")
            .header("tracestate", "bar=2")
            .header("baggage", "userId=alice");
        let response = proxy.send(request).await;
        let received = backend.requests().pop().expect("a request");
        let sent = parent(&received);
        assert_eq!(sent.trace, TRACE, "{given}");
        assert_ne!(sent.span, PARENT, "{given}");
        assert_eq!(sent.flags, flags, "{given}");
        let state = received.all("tracestate").join(",").replace(' ', "");
        assert_eq!(state, "foo=1,bar=2");
        assert_eq!(received.all("baggage"), ["userId=alice"]);
        let event = proxy.event_of(&response).await;
        assert_eq!(event["trace"]["id"], TRACE);
    }
}

#[tokio::test]
async fn an_invalid_traceparent_starts_a_new_trace() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend).start().await;
    for given in [
        vec![format!("ff-{TRACE}-{PARENT}-01")],
        vec![format!("00-{TRACE}-{PARENT}-01-more")],
        vec![format!("00-{}-{PARENT}-01", TRACE.to_uppercase())],
        vec![format!("00-{}-{PARENT}-01", "0".repeat(32))],
        vec![format!("00-{TRACE}-{}-01", "0".repeat(16))],
        vec![format!("00-{TRACE}-{PARENT}-1")],
        vec![format!("00-{TRACE}-{PARENT}-.1")],
        vec![format!("00-{TRACE}-{PARENT}")],
        vec![format!("00.{TRACE}.{PARENT}.01")],
        vec![String::new()],
        vec![
            format!("00-{TRACE}-{PARENT}-01"),
            format!("00-{}-{PARENT}-01", "1".repeat(32)),
        ],
        vec![],
    ] {
        let mut request = ClientRequest::get("/").header("tracestate", "foo=1");
        for value in &given {
            request = request.header("traceparent", value);
        }
        let response = proxy.send(request).await;
        let received = backend.requests().pop().expect("a request");
        let sent = parent(&received);
        assert_ne!(sent.trace, TRACE, "{given:?}");
        assert_ne!(sent.trace, "0".repeat(32));
        assert_ne!(sent.span, "0".repeat(16));
        assert!(received.all("tracestate").is_empty(), "{given:?}");
        let event = proxy.event_of(&response).await;
        assert_eq!(event["trace"]["id"], sent.trace.as_str());
    }
}
