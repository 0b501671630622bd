//! Real client libraries, which close a stream as soon as they have read its last event.

use std::time::Duration;

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse, ReceivedRequest};
use weir_tests::metrics::assert_metric;
use weir_tests::proxy::Proxy;
use weir_tests::sdks::Sdk;
use weir_tests::setup::Setup;

const CACHED: &str = "- {name: models, path: /v1/*, backend: assistant, \
                      cache: {answers: true, memory: 8MiB, ttl: 1h, scope: route}}";

/// Streams of each client, the same number for each of `ENDS`.
const STREAMS: usize = 100 * ENDS.len();

/// The text of every response.
const WORDS: [&str; 3] = ["well ", "then", "."];

/// When the backend ends the framing of its response, after the terminal event.
const ENDS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(5),
    Duration::from_millis(50),
];

fn named_events(events: &[Value]) -> BackendResponse {
    let pieces = events.iter().map(|event| {
        let name = event["type"].as_str().expect("a type");
        format!("event: {name}\ndata: {event}\n\n").into()
    });
    BackendResponse::chunks("text/event-stream", pieces.collect())
}

fn message() -> BackendResponse {
    let mut events = vec![
        json!({"type": "message_start", "message": {
            "id": "msg_1", "type": "message", "role": "assistant", "model": "glm-4", "content": [],
            "stop_reason": null, "stop_sequence": null,
            "usage": {"input_tokens": 7, "output_tokens": 1}}}),
        json!({"type": "content_block_start", "index": 0,
               "content_block": {"type": "text", "text": ""}}),
    ];
    events.extend(WORDS.iter().map(|word| {
        json!({"type": "content_block_delta", "index": 0,
               "delta": {"type": "text_delta", "text": word}})
    }));
    events.extend([
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence": null},
               "usage": {"output_tokens": 3}}),
        json!({"type": "message_stop"}),
    ]);
    named_events(&events)
}

fn response() -> BackendResponse {
    let item = |status, text: &str| {
        json!({"id": "msg_1", "type": "message", "role": "assistant", "status": status,
               "content": [{"type": "output_text", "text": text, "annotations": []}]})
    };
    let whole = |status, output: Value, usage: Value| {
        json!({"id": "resp_1", "object": "response", "created_at": 1, "model": "glm-4",
               "status": status, "output": output, "usage": usage, "parallel_tool_calls": true,
               "tool_choice": "auto", "tools": [], "error": null, "incomplete_details": null})
    };
    let started_at = whole("in_progress", json!([]), Value::Null);
    let mut events = vec![json!({"type": "response.created", "response": started_at})];
    events.extend(WORDS.iter().map(|word| {
        json!({"type": "response.output_text.delta", "item_id": "msg_1", "output_index": 0,
               "content_index": 0, "delta": word, "logprobs": []})
    }));
    let text = WORDS.concat();
    let usage = json!({"input_tokens": 7, "output_tokens": 3, "total_tokens": 10,
                       "input_tokens_details": {"cached_tokens": 0},
                       "output_tokens_details": {"reasoning_tokens": 0}});
    events.extend([
        json!({"type": "response.output_item.done", "output_index": 0,
               "item": item("completed", &text)}),
        json!({"type": "response.completed",
               "response": whole("completed", json!([item("completed", &text)]), usage)}),
    ]);
    for (number, event) in events.iter_mut().enumerate() {
        event["sequence_number"] = number.into();
    }
    named_events(&events)
}

/// A response whose framing ends at one of `ENDS`, by the number of the prompt.
fn answer(received: &ReceivedRequest) -> BackendResponse {
    let prompt = received.text();
    let (_, number) = prompt.split_once("question ").expect("a prompt");
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    let number: usize = digits.parse().expect("its number");
    let answer = match received.target.as_str() {
        "/v1/messages" => message(),
        "/v1/responses" => response(),
        _ => BackendResponse::chat_stream(&WORDS),
    };
    answer.with_end_delay(ENDS[number % ENDS.len()])
}

fn response_texts(count: usize) -> Vec<String> {
    vec![WORDS.concat(); count]
}

/// All streams have status 200 and are stored, however late the backend ends them and whatever the client does after the
/// terminal event.
async fn assert_stored(sdk: Sdk) {
    let backend = Backend::responding(answer).await;
    let proxy = Setup::new(&backend).routes(CACHED).start().await;
    for round in ["asked", "known"] {
        let Some(texts) = sdk.send(proxy.address(), STREAMS).await else {
            return;
        };
        assert_eq!(texts, response_texts(STREAMS), "{round}");
    }
    assert_eq!(backend.requests().len(), STREAMS);
    assert_successes(&proxy.events_when(2 * STREAMS).await);
    for outcome in ["miss", "hit"] {
        let labels = [("route", "models"), ("outcome", outcome)];
        let count = STREAMS as f64;
        assert_metric(proxy.admin(), "weir_cache_lookups_total", &labels, count).await;
    }
    assert_no_failures(&proxy).await;
}

fn assert_successes(events: &[Value]) {
    for event in events {
        assert_eq!(event["http"]["response"]["status_code"], 200, "{event}");
        assert!(event.get("error_code").is_none(), "{event}");
        // Cache hits cost no tokens.
        if event["weir"]["cache"]["outcome"] == "miss" {
            let tokens = &event["gen_ai"]["usage"]["output_tokens"];
            assert_eq!(*tokens, 3, "{event}");
        }
    }
}

async fn assert_no_failures(proxy: &Proxy) {
    let metrics = proxy.metrics().await;
    assert_eq!(metrics.sum("weir_failed_requests_total", &[]), 0.0);
    assert_eq!(metrics.sum("weir_errors_total", &[]), 0.0);
    let attempts = metrics.sum("weir_upstream_attempts_total", &[]);
    let well = metrics.sum("weir_upstream_attempts_total", &[("outcome", "ok")]);
    assert_eq!((attempts, well), (STREAMS as f64, STREAMS as f64));
}

#[tokio::test]
async fn openai_streams_are_stored() {
    assert_stored(Sdk::OpenAi).await;
}

#[tokio::test]
async fn concurrent_openai_streams_are_stored() {
    assert_stored(Sdk::OpenAiAsync).await;
}

#[tokio::test]
async fn openai_responses_with_store_false_are_stored() {
    assert_stored(Sdk::OpenAiResponses).await;
}

#[tokio::test]
async fn openai_streams_of_node_are_stored() {
    assert_stored(Sdk::OpenAiNode).await;
}

#[tokio::test]
async fn anthropic_streams_are_stored() {
    assert_stored(Sdk::Anthropic).await;
}

/// OpenAI's library for Node cancels the body of a 503 before it retries.
#[tokio::test]
async fn a_failure_with_an_unread_body_stays_a_failure() {
    const QUESTIONS: usize = 5;
    for end in ENDS {
        let requested = std::sync::atomic::AtomicUsize::new(0);
        let backend = Backend::responding(move |received| {
            match requested.fetch_add(1, std::sync::atomic::Ordering::SeqCst) % 2 {
                0 => BackendResponse::chunks("application/json", vec!["{\"error\":".into()])
                    .with_status(503)
                    .header("retry-after-ms", "1")
                    .with_end_delay(end),
                _ => answer(received),
            }
        })
        .await;
        // The SDK retries, not weir.
        let proxy = Setup::new(&backend)
            .backend_options(&["retry: {attempts: 1}"])
            .routes(CACHED)
            .start()
            .await;
        let texts = Sdk::OpenAiNode.send_with_retries(proxy.address(), QUESTIONS, 1);
        let Some(texts) = texts.await else {
            return;
        };
        assert_eq!(texts, response_texts(QUESTIONS));
        let events = proxy.events_when(2 * QUESTIONS).await;
        let with = |status: u16, code: Value| {
            let events = events.iter().filter(|event| {
                event["http"]["response"]["status_code"] == status && event["error_code"] == code
            });
            events.count()
        };
        assert_eq!(
            with(503, "upstream_status".into()),
            QUESTIONS,
            "{end:?}: {events:?}"
        );
        assert_eq!(with(200, Value::Null), QUESTIONS, "{end:?}: {events:?}");
        let metrics = proxy.metrics().await;
        let failed = metrics.sum("weir_failed_requests_total", &[]);
        assert_eq!(failed, QUESTIONS as f64);
    }
}
