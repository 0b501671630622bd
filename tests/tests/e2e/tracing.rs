//! Traces: what a real collector receives, and requests without a collector.

use weir_tests::backend::{Backend, ReceivedRequest};
use weir_tests::client::{Client, ClientRequest, chat_request};
use weir_tests::collector::{Collector, Span};
use weir_tests::metrics::Metrics;
use weir_tests::prometheus::Prometheus;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::wait;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const SPANS: &str = "weir_spans_total";

fn exporting_setup(backend: &Backend, to: &str, options: &str) -> Setup {
    Setup::open(backend).top(&format!("traces: {{otlp: '{to}', {options}}}"))
}

fn traceparent(received: &ReceivedRequest) -> Vec<String> {
    let value = received.header("traceparent").expect("a traceparent");
    value.split('-').map(str::to_owned).collect()
}

fn spans_of_kind<'s>(spans: &'s [Span], kind: &str) -> &'s Span {
    let mut found = spans.iter().filter(|span| span.kind == kind);
    let first = found.next().expect("a span");
    assert!(found.next().is_none(), "more than one {kind}: {spans:?}");
    first
}

async fn span_counts(proxy: &Proxy, outcome: &str, least: f64) {
    let what = format!("{least} spans {outcome}");
    let look = |metrics: &Metrics| metrics.sum(SPANS, &[("outcome", outcome)]) >= least;
    proxy.metrics_when(&what, look).await;
}

#[tokio::test]
async fn a_collector_gets_a_server_span_and_a_client_span() {
    let test = "a_collector_gets_a_server_span_and_a_client_span";
    let Some(collector) = Collector::start(test).await else {
        return;
    };
    let backend = Backend::chat().await;
    let proxy = exporting_setup(&backend, &collector.url(), "sample: 0%")
        .start()
        .await;
    let request = ClientRequest::json(
        "/v1/chat/completions?key=sentinel-query",
        &chat_request("sentinel-prompt", true),
    )
    .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))
    .header("tracestate", "foo=1,bar=2")
    .header("baggage", "userId=alice")
    .header("authorization", "Bearer sentinel-token");
    let response = proxy.send(request).await;
    assert_eq!(response.status, 200);
    let spans = collector.wait_for(TRACE, 2).await;
    let server = spans_of_kind(&spans, "SPAN_KIND_SERVER");
    let client = spans_of_kind(&spans, "SPAN_KIND_CLIENT");
    assert_eq!(server.parent, PARENT);
    assert_eq!(client.parent, server.id);
    assert_eq!(server.name, "POST /*");
    assert!(client.name.starts_with("chat "), "{client:?}");
    assert_eq!(server.tracestate.replace(' ', ""), "foo=1,bar=2");
    assert_eq!(client.attributes["http.response.status_code"], "Int(200)");
    assert_eq!(client.attributes["gen_ai.request.stream"], "Bool(true)");
    assert!(client.attributes["gen_ai.usage.output_tokens"].starts_with("Int("));
    let id = format!("Str({})", response.header("x-request-id").expect("an id"));
    assert_eq!(server.attributes["weir.request.id"], id);
    // The backend's spans are children of the client span, and the incoming context is continued.
    let received = backend.requests().pop().expect("a request");
    assert_eq!(traceparent(&received), ["00", TRACE, &client.id, "01"]);
    assert_eq!(received.all("baggage"), ["userId=alice"]);
    let event = proxy.event_of(&response).await;
    assert_eq!(event["span"]["id"], server.id);
    span_counts(&proxy, "exported", 2.0).await;
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("weir_dependency_up", &[("name", "otlp")]), 1.0);
    for sentinel in ["sentinel-query", "sentinel-prompt", "sentinel-token"] {
        assert!(
            !collector.output().contains(sentinel),
            "{sentinel} was leaked"
        );
    }
}

#[tokio::test]
async fn a_passed_through_request_has_spans() {
    let Some(collector) = Collector::start("a_passed_through_request_has_spans").await else {
        return;
    };
    let backend = Backend::echo().await;
    let proxy = exporting_setup(&backend, &collector.url(), "sample: 100%")
        .start()
        .await;
    let response = proxy
        .send(ClientRequest::post("/up", vec![7; 300_000]))
        .await;
    assert_eq!(response.status, 200);
    let event = proxy.event_of(&response).await;
    let trace = event["trace"]["id"].as_str().expect("a trace");
    let spans = collector.wait_for(trace, 2).await;
    let server = spans_of_kind(&spans, "SPAN_KIND_SERVER");
    let client = spans_of_kind(&spans, "SPAN_KIND_CLIENT");
    assert_eq!(server.parent.trim_matches('0'), "");
    assert_eq!(client.parent, server.id);
    let received = backend.requests().pop().expect("a request");
    assert_eq!(traceparent(&received), ["00", trace, &client.id, "03"]);
}

#[tokio::test]
async fn a_rejected_request_has_only_a_server_span() {
    let Some(collector) = Collector::start("a_rejected_request_has_only_a_server_span").await
    else {
        return;
    };
    let backend = Backend::echo().await;
    let proxy = Setup::new(&backend)
        .routes("- {name: only, path: /only, backend: assistant}")
        .top(&format!(
            "traces: {{otlp: '{}', sample: 100%}}",
            collector.url()
        ))
        .start()
        .await;
    let response = proxy.send(ClientRequest::get("/other")).await;
    assert_eq!(response.status, 404);
    let event = proxy.event_of(&response).await;
    let trace = event["trace"]["id"].as_str().expect("a trace");
    let spans = collector.wait_for(trace, 1).await;
    assert_eq!(spans.len(), 1);
    assert_eq!(spans[0].name, "GET");
    assert_ne!(spans[0].status, "STATUS_CODE_ERROR");
    assert_eq!(spans[0].attributes["error.type"], "Str(no_route)");
}

#[tokio::test]
async fn exemplars_link_durations_to_traces() {
    let test = "exemplars_link_durations_to_traces";
    let backend = Backend::echo().await;
    let proxy = exporting_setup(&backend, "http://127.0.0.1:9", "sample: 0%")
        .start()
        .await;
    let Some(prometheus) = Prometheus::scraping(test, &[proxy.admin()]).await else {
        return;
    };
    proxy.send(ClientRequest::get("/untraced")).await;
    let request = ClientRequest::get("/").header("traceparent", &format!("00-{TRACE}-{PARENT}-01"));
    let event = proxy.event_of(&proxy.send(request).await).await;
    let query = "weir_request_duration_seconds_bucket";
    let started = tokio::time::Instant::now();
    // Prometheus requests OpenMetrics by itself; its data shows that it accepted the exemplars.
    let exemplar = loop {
        if let Some(exemplar) = prometheus.exemplars(query).await.pop() {
            break exemplar;
        }
        assert!(
            started.elapsed() < wait::PATIENCE,
            "{}",
            prometheus.stderr()
        );
        wait::tick().await;
    };
    assert_eq!(exemplar["labels"]["trace_id"], TRACE);
    assert_eq!(exemplar["labels"]["span_id"], event["span"]["id"]);
    let value = exemplar["value"].as_str().expect("a value");
    let value: f64 = value.parse().expect("a number");
    let reported = event["response_time"].as_f64().expect("a number");
    assert!(
        (value * 1000.0 - reported).abs() < 0.001,
        "{value} and {reported}"
    );
}

/// The flags that the backend received for this many requests.
async fn flags(proxy: &Proxy, backend: &Backend, requests: usize, given: Option<&str>) -> Vec<u8> {
    let mut client = Client::h1(proxy.address()).await;
    let before = backend.requests().len();
    for _ in 0..requests {
        let mut request = ClientRequest::get("/");
        if let Some(flags) = given {
            request = request.header("traceparent", &format!("00-{TRACE}-{PARENT}-{flags}"));
        }
        assert_eq!(client.send(request).await.status, 200);
    }
    let received = backend.requests().split_off(before);
    let flags = received.iter().map(|received| {
        let parts = traceparent(received);
        u8::from_str_radix(&parts[3], 16).expect("flags")
    });
    flags.collect()
}

#[tokio::test]
async fn new_traces_are_sampled_at_the_configured_ratio() {
    let backend = Backend::echo().await;
    // Nothing listens there: the decision does not depend on it.
    let proxy = exporting_setup(&backend, "http://127.0.0.1:9", "sample: 50%")
        .start()
        .await;
    let started_at = flags(&proxy, &backend, 400, None).await;
    let sampled = started_at.iter().filter(|flags| **flags & 1 == 1).count();
    assert!((140..=260).contains(&sampled), "{sampled} of 400");
    // The decision of the caller is respected, either way.
    assert_eq!(flags(&proxy, &backend, 20, Some("00")).await, [0; 20]);
    assert_eq!(flags(&proxy, &backend, 20, Some("01")).await, [1; 20]);
    let expected = (sampled as f64 + 20.0) * 2.0;
    // Each sampled request produced two spans, the others none.
    let look = |metrics: &Metrics| {
        let span_counts = metrics.sum(SPANS, &[]);
        assert!(span_counts <= expected, "{span_counts} of {expected}");
        span_counts == expected
    };
    proxy.metrics_when("two spans a request", look).await;
}

#[tokio::test]
async fn an_untrusted_trace_context_is_not_continued() {
    let backend = Backend::echo().await;
    let proxy = Setup::open(&backend)
        .top("traces: {trust_incoming: false}")
        .start()
        .await;
    let request = ClientRequest::get("/")
        .header("traceparent", &format!("00-{TRACE}-{PARENT}-01"))
        .header("tracestate", "foo=1")
        .header("baggage", "userId=alice");
    proxy.send(request).await;
    let received = backend.requests().pop().expect("a request");
    let sent = traceparent(&received);
    assert_ne!(sent[1], TRACE);
    assert_eq!(sent[3], "02");
    assert!(received.all("tracestate").is_empty() && received.all("baggage").is_empty());
}

#[tokio::test]
async fn a_hanging_or_missing_collector_affects_no_requests() {
    let backend = Backend::echo().await;
    let hanging = Backend::raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    for to in [hanging.url(), "http://127.0.0.1:9".to_owned()] {
        let proxy = exporting_setup(&backend, &to, "sample: 100%")
            .top("shutdown: {drain: 2s}")
            .start()
            .await;
        let mut client = Client::h1(proxy.address()).await;
        for _ in 0..3000 {
            assert_eq!(client.send(ClientRequest::get("/")).await.status, 200);
        }
        // 6,000 spans, of which at most 2,048 are queued: the others are counted as dropped, whatever the reason.
        let look = |metrics: &Metrics| {
            metrics.sum(SPANS, &[("outcome", "dropped")]) >= 1.0
                && metrics.sum(SPANS, &[]) >= 6000.0 - 2048.0
                && metrics.sum("weir_dependency_up", &[("name", "otlp")]) == 0.0
        };
        proxy.metrics_when("spans that were dropped", look).await;
        proxy.sigterm();
        let exit = proxy.wait_exit(wait::PATIENCE).await;
        assert!(exit.success());
    }
}

#[tokio::test]
async fn pending_spans_are_sent_at_shutdown() {
    let Some(collector) = Collector::start("pending_spans_are_sent_at_shutdown").await else {
        return;
    };
    let backend = Backend::echo().await;
    let proxy = exporting_setup(&backend, &collector.url(), "sample: 100%")
        .start()
        .await;
    let request = ClientRequest::get("/").header("traceparent", &format!("00-{TRACE}-{PARENT}-01"));
    assert_eq!(proxy.send(request).await.status, 200);
    proxy.sigterm();
    assert!(proxy.wait_exit(wait::PATIENCE).await.success());
    collector.wait_for(TRACE, 2).await;
}
