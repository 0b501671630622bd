use std::collections::BTreeMap;

use http::HeaderValue;

use super::*;
use crate::exchange::Try;
use crate::record::fixture::{filled, plain};
use crate::refusal::ErrorCode;
use crate::route::trace::{FLAG_SAMPLED, Recording};

const DURATION: Duration = Duration::from_millis(1204);

fn spans(exchange: &Exchange) -> Vec<SpanData> {
    let paths = [("feishu", "/hooks/*")].map(|(name, path)| (name.into(), path.into()));
    Spans::new(paths.into()).of(exchange, DURATION).collect()
}

/// The filled exchange with two tries, the second 100 ms after the first.
fn recorded() -> Exchange {
    let mut exchange = filled();
    exchange.trace.flags |= FLAG_SAMPLED;
    exchange.trace.recording = Recording::On;
    exchange.trace.parent_id = Some([7; 8]);
    exchange.trace.tracestate = Some(HeaderValue::from_static("a=1,b=2"));
    let started = exchange.timing.started();
    let upstream = exchange.upstream.as_mut().expect("a backend");
    upstream.tries = [(1, 1), (2, 101)]
        .map(|(byte, millis)| Try {
            span_id: [byte; 8],
            started: started + Duration::from_millis(millis),
        })
        .to_vec();
    exchange
}

fn attributes(span: &SpanData) -> BTreeMap<&str, String> {
    let pairs = span.attributes.iter();
    pairs
        .map(|pair| (pair.key.as_str(), pair.value.to_string()))
        .collect()
}

fn offset(exchange: &Exchange, time: SystemTime) -> u128 {
    let begun = UNIX_EPOCH + exchange.received_at;
    time.duration_since(begun).expect("later").as_millis()
}

#[test]
fn a_request_is_a_server_span_and_a_client_span_a_try() {
    let exchange = recorded();
    let spans = spans(&exchange);
    let [server, first, second] = &spans[..] else {
        panic!("{spans:?}");
    };
    for span in &spans {
        let context = &span.span_context;
        assert_eq!(
            context.trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert!(context.is_sampled());
        assert_eq!(context.trace_state().header(), "a=1,b=2");
    }
    assert_eq!(server.span_kind, SpanKind::Server);
    assert_eq!(server.name, "POST /hooks/*");
    assert_eq!(
        server.span_context.span_id().to_string(),
        "00f067aa0ba902b7"
    );
    assert_eq!(server.parent_span_id, SpanId::from_bytes([7; 8]));
    assert!(server.parent_span_is_remote);
    let times = |span: &SpanData| {
        let at = |time| offset(&exchange, time);
        (at(span.start_time), at(span.end_time))
    };
    assert_eq!(times(server), (0, 1204));
    assert_eq!(times(first), (1, 101));
    assert_eq!(times(second), (101, 1204));
    for (span, id) in [(first, 1), (second, 2)] {
        assert_eq!(span.span_kind, SpanKind::Client);
        assert_eq!(span.name, "chat glm-4");
        assert_eq!(span.span_context.span_id(), SpanId::from_bytes([id; 8]));
        assert_eq!(span.parent_span_id, server.span_context.span_id());
        assert!(!span.parent_span_is_remote);
        assert_eq!(span.status, Status::error(""));
    }
}

#[test]
fn attributes_have_the_names_of_the_conventions() {
    let spans = spans(&recorded());
    let server = attributes(&spans[0]);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/hooks/*"),
        ("http.response.status_code", "504"),
        ("error.type", "upstream_timeout"),
        ("url.scheme", "http"),
        ("url.path", "/hooks/feishu"),
        ("network.protocol.version", "1.1"),
        ("client.address", "203.0.113.7"),
        ("server.address", "bot.example.com"),
        ("user_agent.original", "Feishu/1.0"),
        ("http.request.body.size", "512"),
        ("http.response.body.size", "318"),
        ("weir.request.id", "01KAN0X3S8Q5V4R8C9J2M7T6ZB"),
        ("weir.client.key", "tenant-17"),
        ("weir.signature.outcome", "valid"),
        ("weir.cache.outcome", "miss"),
        ("weir.timing.backend_ms", "1203.9"),
    ] {
        assert_eq!(server.get(key).map(String::as_str), Some(value), "{key}");
    }
    let first = attributes(&spans[1]);
    assert_eq!(first["error.type"], "upstream_reset");
    assert!(!first.contains_key("http.request.resend_count"));
    assert!(!first.contains_key("gen_ai.usage.input_tokens"));
    let second = attributes(&spans[2]);
    for (key, value) in [
        ("http.request.resend_count", "1"),
        ("http.response.status_code", "504"),
        ("server.address", "127.0.0.1"),
        ("server.port", "8000"),
        ("url.full", "http://127.0.0.1:8000/hooks/feishu"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.request.model", "glm-4"),
        ("gen_ai.response.model", "glm-4"),
        ("gen_ai.response.finish_reasons", "[\"stop\"]"),
        ("gen_ai.response.time_to_first_chunk", "0.6024"),
        ("gen_ai.usage.input_tokens", "128"),
        ("gen_ai.usage.output_tokens", "356"),
        ("weir.backend", "assistant"),
    ] {
        assert_eq!(second.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[test]
fn a_refusal_is_no_error_of_the_server() {
    let mut exchange = plain();
    exchange.status = 401;
    exchange.error_code = Some(ErrorCode::SignatureInvalid);
    let spans = spans(&exchange);
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].name, "GET");
    assert_eq!(spans[0].status, Status::Unset);
    assert_eq!(attributes(&spans[0])["error.type"], "signature_invalid");
    assert_eq!(spans[0].parent_span_id, SpanId::INVALID);
    assert!(!spans[0].parent_span_is_remote);
}

#[test]
fn an_answer_of_400_is_an_error_of_the_client_span_alone() {
    let mut exchange = recorded();
    exchange.status = 404;
    exchange.error_code = None;
    let spans = spans(&exchange);
    assert_eq!(spans[0].status, Status::Unset);
    assert_eq!(spans[2].status, Status::error(""));
    assert_eq!(attributes(&spans[2])["error.type"], "404");
    exchange.status = 200;
    let spans = self::spans(&exchange);
    assert_eq!(spans[2].status, Status::Unset);
    assert!(!attributes(&spans[2]).contains_key("error.type"));
}

#[test]
fn an_unknown_method_has_no_place_in_a_name() {
    let mut exchange = plain();
    exchange.method = "BREW".parse().expect("a method");
    exchange.path = "é".repeat(2000).into();
    let spans = spans(&exchange);
    assert_eq!(spans[0].name, "HTTP");
    let told = attributes(&spans[0]);
    assert_eq!(told["http.request.method"], "_OTHER");
    assert_eq!(told["url.path"].len(), PATH_BYTES_MAX);
}
