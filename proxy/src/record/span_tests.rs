use std::collections::BTreeMap;
use std::time::Instant;

use http::HeaderValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::{ScopeSpans, Span};
use prost::Message as _;

use super::*;
use crate::exchange::ClientEnd;
use crate::model::usage::Origin;
use crate::record::fixture::{filled, plain};
use crate::refusal::ErrorCode;
use crate::trace::{FLAG_SAMPLED, Recording};

const DURATION: Duration = Duration::from_millis(1204);

/// The spans as decoded by the OpenTelemetry library.
fn spans(exchange: &Exchange) -> Vec<Span> {
    let paths = [("feishu", "/hooks/*")].map(|(name, path)| (name.into(), path.into()));
    let mut out = Vec::new();
    let count = SpanEncoder::new(paths.into()).append(exchange, DURATION, &mut out);
    let read = ScopeSpans::decode(&*out).expect("a message");
    assert_eq!(read.spans.len(), count);
    read.spans
}

const UNSET: i32 = 0;
const ERROR: i32 = 2;

fn status(span: &Span) -> i32 {
    span.status.as_ref().map_or(UNSET, |status| status.code)
}

/// The filled exchange with two attempts, the second 100 ms after the first.
fn recorded() -> Exchange {
    let mut exchange = filled();
    exchange.trace.flags |= FLAG_SAMPLED;
    exchange.trace.recording = Recording::On;
    exchange.trace.parent_id = Some([7; 8]);
    exchange.trace.tracestate = Some(HeaderValue::from_static("a=1,b=2"));
    let started = exchange.timing.started();
    let mut upstream = UpstreamNote::begin("assistant".into());
    let attempt = |byte, millis| {
        let at = started + Duration::from_millis(millis);
        let endpoint = "http://127.0.0.1:8000".into();
        let mut attempt = Attempt::begin("assistant".into(), endpoint, &exchange.trace, at);
        attempt.span_id = Some([byte; 8]);
        attempt
    };
    upstream
        .begin_attempt(attempt(1, 1))
        .fail(ErrorCode::UpstreamReset);
    upstream
        .begin_attempt(attempt(2, 101))
        .fail(ErrorCode::UpstreamTimeout);
    exchange.upstream = Some(upstream);
    exchange
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    fn text(value: &Any) -> String {
        match value {
            Any::StringValue(text) => text.clone(),
            Any::BoolValue(flag) => flag.to_string(),
            Any::IntValue(number) => number.to_string(),
            Any::DoubleValue(number) => number.to_string(),
            Any::ArrayValue(array) => {
                let values = array.values.iter();
                let texts = values.map(|value| text(value.value.as_ref().expect("a value")));
                format!("{:?}", texts.collect::<Vec<_>>())
            }
            other => panic!("{other:?}"),
        }
    }
    let pairs = span.attributes.iter().map(|pair| {
        let value = pair.value.as_ref().and_then(|any| any.value.as_ref());
        (pair.key.as_str(), text(value.expect("a value")))
    });
    pairs.collect()
}

/// Milliseconds since the request was received.
fn offset(exchange: &Exchange, at_ns: u64) -> u128 {
    (Duration::from_nanos(at_ns) - exchange.received_at).as_millis()
}

#[test]
fn a_request_is_a_server_span_and_one_client_span_per_attempt() {
    let exchange = recorded();
    let spans = spans(&exchange);
    let [server, first, second] = &spans[..] else {
        panic!("{spans:?}");
    };
    for span in &spans {
        assert_eq!(span.trace_id, exchange.trace.trace_id);
        assert_eq!(span.flags & 1, 1);
        assert_eq!(span.trace_state, "a=1,b=2");
    }
    assert_eq!(server.kind, SpanKind::Server as i32);
    assert_eq!(server.name, "POST /hooks/*");
    assert_eq!(server.span_id, exchange.trace.span_id);
    assert_eq!(server.parent_span_id, [7; 8]);
    assert_eq!(server.flags >> 8, 3);
    let times = |span: &Span| {
        let at = |time| offset(&exchange, time);
        (at(span.start_time_unix_nano), at(span.end_time_unix_nano))
    };
    assert_eq!(times(server), (0, 1204));
    assert_eq!(times(first), (1, 101));
    assert_eq!(times(second), (101, 1204));
    for (span, id) in [(first, 1), (second, 2)] {
        assert_eq!(span.kind, SpanKind::Client as i32);
        assert_eq!(span.name, "chat glm-4");
        assert_eq!(span.span_id, [id; 8]);
        assert_eq!(span.parent_span_id, server.span_id);
        assert_eq!(span.flags >> 8, 1);
        assert_eq!(status(span), ERROR);
    }
}

#[test]
fn attributes_follow_the_semantic_conventions() {
    let spans = spans(&recorded());
    let server = attributes(&spans[0]);
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/hooks/*"),
        ("http.response.status_code", "504"),
        ("error.type", "upstream_timeout"),
        ("http.request.body.size", "512"),
        ("http.response.body.size", "318"),
        ("weir.timing.backend_ms", "1203.9"),
        ("url.scheme", "http"),
        ("url.path", "/hooks/feishu"),
        ("network.protocol.version", "1.1"),
        ("client.address", "203.0.113.7"),
        ("server.address", "bot.example.com"),
        ("user_agent.original", "Feishu/1.0"),
        ("weir.request.id", "01KAN0X3S8Q5V4R8C9J2M7T6ZB"),
        ("weir.client.key", "tenant-17"),
        ("weir.signature.outcome", "valid"),
        ("weir.cache.outcome", "miss"),
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
        ("error.type", "upstream_timeout"),
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
        ("gen_ai.usage.cache_read.input_tokens", "64"),
        ("gen_ai.usage.reasoning.output_tokens", "40"),
        ("weir.backend", "assistant"),
    ] {
        assert_eq!(second.get(key).map(String::as_str), Some(value), "{key}");
    }
    for absent in [
        "http.response.status_code",
        "gen_ai.usage.cache_creation.input_tokens",
        "weir.usage.estimated",
    ] {
        assert!(!second.contains_key(absent), "{absent}");
    }
}

#[test]
fn estimates_and_aborted_clients_are_attributes() {
    let mut exchange = recorded();
    exchange.client = ClientEnd::Aborted;
    exchange.model.usage.origin = Origin::Estimated;
    let spans = spans(&exchange);
    assert_eq!(attributes(&spans[0])["weir.client_aborted"], "true");
    assert_eq!(attributes(&spans[2])["weir.usage.estimated"], "true");
}

#[test]
fn a_rejection_is_not_a_server_error() {
    let mut exchange = plain();
    exchange.status = 401;
    exchange.error_code = Some(ErrorCode::SignatureInvalid);
    let spans = spans(&exchange);
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].name, "GET");
    assert_eq!(status(&spans[0]), UNSET);
    assert_eq!(attributes(&spans[0])["error.type"], "signature_invalid");
    assert!(spans[0].parent_span_id.is_empty());
    assert_eq!(spans[0].flags >> 8, 1);
}

#[test]
fn a_client_span_has_the_outcome_of_its_attempt() {
    let mut exchange = recorded();
    exchange.error_code = None;
    let at = |millis| exchange.timing.started() + Duration::from_millis(millis);
    let (asked, head, end) = (at(101), at(150), at(200));
    let mut ended = |status: Option<u16>, note: fn(&mut Attempt, Instant)| {
        exchange.status = status.unwrap_or(499);
        let mut attempt = Attempt::begin(
            "assistant".into(),
            "http://a.test".into(),
            &exchange.trace,
            asked,
        );
        if let Some(status) = status {
            attempt.responded(status, head);
        }
        note(&mut attempt, end);
        let mut upstream = UpstreamNote::begin("assistant".into());
        upstream.begin_attempt(attempt);
        exchange.upstream = Some(upstream);
        let spans = spans(&exchange);
        let recorded = attributes(&spans[1]);
        let text = |key| recorded.get(key).cloned().unwrap_or_default();
        let until = offset(&exchange, spans[1].end_time_unix_nano);
        let codes = (text("http.response.status_code"), text("error.type"));
        assert_eq!(status.is_none(), codes.0.is_empty());
        (codes.1, self::status(&spans[1]), until)
    };
    let whole: fn(&mut Attempt, Instant) = Attempt::succeed;
    assert_eq!(ended(Some(200), whole), (String::new(), UNSET, 200));
    assert_eq!(ended(Some(404), whole), ("404".into(), ERROR, 200));
    let failed = |attempt: &mut Attempt, _| attempt.fail(ErrorCode::UpstreamError);
    assert_eq!(
        ended(Some(200), failed),
        ("upstream_error".into(), ERROR, 1204)
    );
    assert_eq!(ended(None, |_, _| {}), ("abandoned".into(), ERROR, 1204));
}

#[test]
fn an_unknown_method_is_not_in_the_span_name() {
    let mut exchange = plain();
    exchange.method = "BREW".parse().expect("a method");
    exchange.path = "é".repeat(2000).into();
    let spans = spans(&exchange);
    assert_eq!(spans[0].name, "HTTP");
    let recorded = attributes(&spans[0]);
    assert_eq!(recorded["http.request.method"], "_OTHER");
    assert_eq!(recorded["url.path"].len(), PATH_BYTES_MAX);
}
