//! Token counts that weir estimates, and marks, when the backend does not report them.

use serde_json::{Value, json};
use weir_tests::backend::{Backend, BackendResponse, ReceivedRequest, chat_event};
use weir_tests::client::{CHAT, Client, ClientRequest};
use weir_tests::metrics::assert_metric;
use weir_tests::setup::{BUFFERED, OPEN, Setup};

/// A sentence of about 18 tokens in most vocabularies.
const SENTENCE: &str =
    "The lock keeper opens the upper gate at seven, and closes it when the barge has passed.";

fn stop() -> String {
    json!({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}).to_string()
}

/// Streams a sentence word by word, without usage.
fn stream_without_usage(_: &ReceivedRequest) -> BackendResponse {
    let words = SENTENCE.split_inclusive(' ').map(chat_event);
    let events: Vec<String> = words.chain([stop(), "[DONE]".to_owned()]).collect();
    let events: Vec<&str> = events.iter().map(String::as_str).collect();
    BackendResponse::events(&events)
}

fn question(text: &str) -> ClientRequest {
    let messages =
        json!([{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]);
    ClientRequest::json(
        CHAT,
        &json!({"model": "glm-4", "stream": true, "messages": messages}),
    )
}

fn tokens(event: &Value) -> (Option<u64>, Option<u64>) {
    let usage = &event["gen_ai"]["usage"];
    (
        usage["input_tokens"].as_u64(),
        usage["output_tokens"].as_u64(),
    )
}

fn is_estimated(event: &Value) -> bool {
    event["weir"]["usage"]["estimated"] == true
}

#[tokio::test]
async fn tokens_of_a_stream_without_usage_are_estimated_and_marked() {
    let backend = Backend::responding(stream_without_usage).await;
    let proxy = Setup::new(&backend).routes(OPEN).start().await;
    let long = SENTENCE.repeat(1_000);
    let mut counted = [0, 0];
    for (text, input) in [("hi", 10..=16), (&long, 15_000..=25_000)] {
        let response = proxy.send(question(text)).await;
        let event = proxy.event_of(&response).await;
        assert!(is_estimated(&event), "{event:#}");
        let (Some(read), Some(written)) = tokens(&event) else {
            panic!("no figures: {event:#}");
        };
        assert!(input.contains(&read), "{read}");
        assert!((15..=25).contains(&written), "{written}");
        counted[0] += read;
        counted[1] += written;
    }
    for (direction, tokens) in [("input", counted[0]), ("output", counted[1])] {
        let labels = [("model", "glm-4"), ("direction", direction)];
        let name = "weir_estimated_tokens_total";
        assert_metric(proxy.admin(), name, &labels, tokens as f64).await;
        let labels = [("direction", direction)];
        assert_eq!(proxy.metrics().await.sum("weir_tokens_total", &labels), 0.0);
    }
}

#[tokio::test]
async fn reported_usage_is_not_estimated_and_non_text_has_no_estimate() {
    let choice = json!([{"index": 0, "finish_reason": "stop", "message": {"content": SENTENCE}}]);
    let none = (None, None);
    for (path, status, backend_response, expected) in [
        (
            CHAT,
            200,
            json!({"choices": choice, "usage": {"completion_tokens": 3}}),
            (None, Some(3)),
        ),
        (
            CHAT,
            200,
            json!({"choices": choice, "usage": {"prompt_tokens": 4}}),
            (Some(4), None),
        ),
        (CHAT, 200, json!({"error": {"message": SENTENCE}}), none),
        (CHAT, 500, json!({"choices": choice}), none),
        (CHAT, 200, json!({"choices": []}), none),
        (
            "/v1/images/generations",
            200,
            json!({"data": [{"b64_json": "AAAA"}]}),
            none,
        ),
        (
            "/v1/audio/transcriptions",
            200,
            json!({"text": SENTENCE}),
            none,
        ),
        ("/v1/models", 200, json!({"text": SENTENCE}), none),
    ] {
        let described = format!("{path} {status} {backend_response}");
        let backend = Backend::responding(move |_| {
            BackendResponse::json(&backend_response).with_status(status)
        })
        .await;
        let proxy = Setup::new(&backend).routes(OPEN).start().await;
        let request = ClientRequest::json(path, &json!({"model": "m", "prompt": SENTENCE}));
        let event = proxy.event_of(&proxy.send(request).await).await;
        assert_eq!(tokens(&event), expected, "{described}");
        assert!(!is_estimated(&event), "{described}");
    }
}

#[tokio::test]
async fn each_kind_of_response_is_estimated_from_its_content() {
    let call = json!([{"index": 0, "finish_reason": "tool_calls", "message": {"tool_calls": [
        {"id": "1", "type": "function", "function": {"name": "get_tide", "arguments": "{\"port\":\"Brest\"}"}}]}}]);
    let embedded = json!({"data": [{"index": 0, "embedding": [0.1, 0.2]}]});
    let ranked = json!({"results": [{"index": 0, "relevance_score": 0.9}]});
    for (path, backend_response, output) in [
        (
            CHAT,
            json!({"choices": [{"finish_reason": "stop", "message": {"content": SENTENCE}}]}),
            Some(15..=25),
        ),
        (CHAT, json!({"choices": call}), Some(14..=26)),
        (
            "/v1/messages",
            json!({"type": "message", "stop_reason": "end_turn",
            "content": [{"type": "text", "text": SENTENCE}]}),
            Some(15..=25),
        ),
        (
            "/api/chat",
            json!({"done": true, "message": {"content": SENTENCE}}),
            Some(15..=25),
        ),
        ("/v1/embeddings", embedded, None),
        ("/v1/rerank", ranked, None),
    ] {
        let described = format!("{path} {backend_response}");
        let backend = Backend::responding(move |_| BackendResponse::json(&backend_response)).await;
        let proxy = Setup::new(&backend).routes(OPEN).start().await;
        let body = json!({"model": "m", "stream": false, "input": SENTENCE, "query": "tide",
                          "documents": [SENTENCE], "messages": [{"role": "user", "content": SENTENCE}]});
        let event = proxy
            .event_of(&proxy.send(ClientRequest::json(path, &body)).await)
            .await;
        let (read, written) = tokens(&event);
        assert!(read.is_some_and(|read| read > 15), "{described}: {event:#}");
        match output {
            Some(range) => assert!(
                written.is_some_and(|written| range.contains(&written)),
                "{described}: {written:?}"
            ),
            None => assert_eq!(written, None, "{described}"),
        }
        assert!(is_estimated(&event), "{described}");
    }
}

#[tokio::test]
async fn a_truncated_stream_is_estimated_and_a_cache_hit_is_not() {
    let cut = Backend::responding(|received| stream_without_usage(received).truncated()).await;
    let proxy = Setup::new(&cut).routes(OPEN).start().await;
    let mut client = Client::h1(proxy.address()).await;
    let streaming = client.open(question("hi")).await;
    let id = streaming.header("x-request-id").expect("an id").to_owned();
    let _ = streaming.rest().await;
    let event = proxy.event(&id).await;
    assert!(is_estimated(&event), "{event:#}");
    assert!(
        tokens(&event)
            .1
            .is_some_and(|written| (15..=25).contains(&written))
    );

    let backend = Backend::responding(stream_without_usage).await;
    let proxy = Setup::new(&backend).routes(BUFFERED).start().await;
    let miss = proxy.event_of(&proxy.send(question("hi")).await).await;
    let hit = proxy.event_of(&proxy.send(question("hi")).await).await;
    assert!(is_estimated(&miss), "{miss:#}");
    assert_eq!(hit["weir"]["cache"]["outcome"], "hit");
    assert!(
        !is_estimated(&hit) && tokens(&hit) == (None, None),
        "{hit:#}"
    );
}
