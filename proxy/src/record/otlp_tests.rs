use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::ScopeSpans;
use prost::Message as _;

use super::*;
use crate::metrics::Metrics;
use crate::record::fixture::filled;
use crate::record::span;

fn attributes(variable: Option<&str>) -> Vec<(String, String)> {
    let resource = resource("production", variable.map(str::to_owned));
    let body = request(&resource, &[]);
    let read = ExportTraceServiceRequest::decode(&*body).expect("a message");
    let resource = read.resource_spans[0].resource.clone().expect("a resource");
    let pairs = resource.attributes.into_iter().map(|pair| {
        let Some(Any::StringValue(text)) = pair.value.and_then(|value| value.value) else {
            panic!("no text");
        };
        (pair.key, text)
    });
    pairs.collect()
}

#[test]
fn a_request_decodes_with_the_protobuf_library() {
    let exchange = filled();
    let mut spans = Vec::new();
    for _ in 0..3 {
        span::append(&exchange, Duration::ZERO, &mut spans);
    }
    let expected = ScopeSpans::decode(&*spans).expect("spans").spans;
    let body = request(&resource("production", None), &spans);
    let read = ExportTraceServiceRequest::decode(&*body).expect("a message");
    let scope_spans = &read.resource_spans[0].scope_spans[0];
    assert_eq!(scope_spans.spans, expected);
    let scope = scope_spans.scope.as_ref().expect("a scope");
    assert_eq!(
        (&*scope.name, &*scope.version),
        ("weir", env!("CARGO_PKG_VERSION"))
    );
    // The library skips unknown fields: equal lengths mean that there are none.
    assert_eq!(read.encoded_len(), body.len());
}

#[test]
fn a_resource_names_the_service() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let own = [
        pair("service.name", "weir"),
        pair("service.version", env!("CARGO_PKG_VERSION")),
        pair("deployment.environment.name", "production"),
    ];
    assert_eq!(attributes(None), own);
    assert_eq!(attributes(Some("")), own);
    assert_eq!(
        attributes(Some("k8s.pod.name=weir-0, service.name=edge%20weir,=x,y")),
        [
            own[1].clone(),
            own[2].clone(),
            pair("k8s.pod.name", "weir-0"),
            pair("service.name", "edge weir"),
        ]
    );
}

#[test]
fn numbers_and_texts_of_every_length_are_encoded() {
    for length in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
        let text = "x".repeat(length);
        let mut out = Vec::new();
        ProtoMessage::new(&mut out).attribute(1, &text, AttributeValue::Integer(u64::MAX >> 1));
        ProtoMessage::new(&mut out).attribute(1, "n", AttributeValue::Number(-1.5));
        ProtoMessage::new(&mut out).attribute(1, "f", AttributeValue::Flag(true));
        ProtoMessage::new(&mut out).attribute(1, "t", AttributeValue::Texts(&[&text, ""]));
        let read = opentelemetry_proto::tonic::resource::v1::Resource::decode(&*out);
        let read = read.expect("a message").attributes;
        assert_eq!(read[0].key, text);
        let values: Vec<_> = read
            .into_iter()
            .map(|pair| pair.value.and_then(|value| value.value).expect("a value"))
            .collect();
        assert_eq!(values[0], Any::IntValue(i64::MAX));
        assert_eq!(values[1], Any::DoubleValue(-1.5));
        assert_eq!(values[2], Any::BoolValue(true));
        let Any::ArrayValue(array) = &values[3] else {
            panic!("{:?}", values[3]);
        };
        let first = array.values[0].value.clone();
        assert_eq!(first, Some(Any::StringValue(text)));
        assert_eq!(array.values.len(), 2);
    }
}

#[test]
fn spans_waiting_at_the_stop_are_counted() {
    let metrics = Metrics::new().expect("metrics");
    let counts = SpanCounts::register(&metrics).expect("counts");
    let config = Config {
        url: "http://127.0.0.1:9/v1/traces".to_owned(),
        headers: Vec::new(),
    };
    let exporter = Exporter::start(&config, "test", counts.clone(), Worker::unexposed("otlp"))
        .expect("a thread");
    for _ in 0..WAITING_MAX {
        exporter.take(b"", 2);
    }
    exporter.stop(clock::now() + Duration::from_secs(20));
    exporter.take(b"", 1);
    let lost = counts.failed.get() + counts.dropped.get();
    assert_eq!(lost, 2 * WAITING_MAX as u64 + 1);
    assert_eq!(counts.up.get(), 0);
}
