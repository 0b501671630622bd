//! Recorded content of prompts and responses, and sampling of events.

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse};
use weir_tests::client::{Client, ClientRequest, chat_request};
use weir_tests::metrics::Metrics;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::sha256_hex;

const QUESTION: &str = "my phone is 13812345678, my key sk-abcdefghijklmnop1234";
const REDACTED: &str = "my phone is [phone], my key [key]";

/// A backend that responds with the number of the caller, in chunks when streaming.
async fn backend_with_numbers() -> Backend {
    Backend::responding(|received| {
        if received.target.ends_with("/completions") {
            return BackendResponse::chat("call 13912345678");
        }
        BackendResponse::chat_stream(&["call 139", "12345678"])
    })
    .await
}

/// Paths with complete and with streamed responses.
const PATHS: [&str; 2] = ["/v1/chat/completions", "/v1/messages"];

fn setup_recording(backend: &Backend, mode: &str) -> Setup {
    Setup::buffered(backend).events(&format!("content: {mode}"))
}

async fn event(proxy: &Proxy, request: ClientRequest) -> Value {
    let response = proxy.send(request).await;
    assert_eq!(response.status, 200, "{}", response.text());
    proxy.event_of(&response).await
}

#[tokio::test]
async fn redacted_texts_contain_no_personal_numbers() {
    let backend = backend_with_numbers().await;
    let proxy = setup_recording(&backend, "redacted").start().await;
    for path in PATHS {
        let is_stream = path != PATHS[0];
        let request = || ClientRequest::json(path, &chat_request(QUESTION, is_stream));
        // A request to the backend, then a cache hit.
        for outcome in ["miss", "hit"] {
            let event = event(&proxy, request()).await;
            assert_eq!(event["weir"]["cache"]["outcome"], outcome);
            let expected = json!({"input": REDACTED, "output": "call [phone]"});
            assert_eq!(event["weir"]["content"], expected, "{path} {outcome}");
        }
    }
    let file = std::fs::read_to_string(proxy.event_file()).expect("events");
    for secret in ["13812345678", "13912345678", "sk-abc"] {
        assert!(!file.contains(secret), "{secret}");
    }
    // A message of a chat platform: text in JSON in a string.
    let message =
        json!({"event": {"message": {"content": "{\"text\":\"\\u0031\\u0033812345678\"}"}}});
    let event = event(&proxy, ClientRequest::json("/hook", &message)).await;
    assert_eq!(event["weir"]["content"]["input"], "[phone]");
}

#[tokio::test]
async fn hashes_match_the_texts() {
    let backend = backend_with_numbers().await;
    let proxy = setup_recording(&backend, "hash").start().await;
    let request = ClientRequest::json(PATHS[1], &chat_request(QUESTION, true));
    let event = event(&proxy, request).await;
    let content = &event["weir"]["content"];
    assert_eq!(content["input_sha256"], sha256_hex(QUESTION.as_bytes()));
    assert_eq!(content["output_sha256"], sha256_hex(b"call 13912345678"));
    // Shorter parts of a number are met by chance in ids and times.
    for text in ["13812345678", "13912345678", "sk-abc"] {
        assert!(!event.to_string().contains(text), "{text} in {event}");
    }
}

#[tokio::test]
async fn content_is_recorded_only_if_configured() {
    let backend = backend_with_numbers().await;
    let proxy = Setup::buffered(&backend).start().await;
    let request = ClientRequest::json("/v1/chat/completions", &chat_request(QUESTION, false));
    let event = event(&proxy, request).await;
    assert_eq!(event["weir"]["content"], Value::Null);
    assert_eq!(event["weir"]["sampling_ratio"], Value::Null);
}

#[tokio::test]
async fn successes_are_sampled_and_failures_always_recorded() {
    let backend = Backend::responding(|received| match received.target.as_str() {
        "/error" => BackendResponse::status(500),
        _ => BackendResponse::chat("well"),
    })
    .await;
    let proxy = Setup::open(&backend).events("sample: 25%").start().await;
    let mut client = Client::h1(proxy.address()).await;
    for _ in 0..400 {
        assert_eq!(client.send(ClientRequest::get("/well")).await.status, 200);
    }
    for _ in 0..20 {
        assert_eq!(client.send(ClientRequest::get("/error")).await.status, 500);
    }
    let of = |metrics: &Metrics, outcome: &str| {
        metrics.sum("weir_events_total", &[("outcome", outcome)])
    };
    let all = |metrics: &Metrics| of(metrics, "recorded") + of(metrics, "sampled_out") >= 420.0;
    let metrics = proxy.metrics_when("420 events", all).await;
    // Metrics also count requests without an event.
    assert_eq!(metrics.sum("weir_requests_total", &[]), 420.0);
    let recorded = of(&metrics, "recorded");
    let events = proxy.events_when(recorded as usize).await;
    let failed = |event: &&Value| event["http"]["response"]["status_code"] == 500;
    assert_eq!(events.iter().filter(failed).count(), 20);
    let well: Vec<_> = events.iter().filter(|event| !failed(event)).collect();
    assert!((60..=140).contains(&well.len()), "{}", well.len());
    assert!(
        well.iter()
            .all(|event| event["weir"]["sampling_ratio"] == 0.25)
    );
    assert!(
        events
            .iter()
            .filter(failed)
            .all(|event| event["weir"]["sampling_ratio"].is_null())
    );
}
