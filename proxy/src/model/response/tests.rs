use std::time::Duration;

use super::*;
use crate::model::NAME_BYTES_MAX;
use cases::{Case, events};

mod cases;
mod cuts;
mod success;
mod usage_report;

fn reader(format: ResponseFormat, chunks: &[&[u8]]) -> ResponseReader {
    let mut reader = ResponseReader::new(format, None);
    let start = crate::clock::now();
    for chunk in chunks {
        reader.feed(chunk, start);
    }
    reader
}

fn read(format: ResponseFormat, body: &str) -> ResponseFacts {
    reader(format, &[body.as_bytes()]).finish()
}

/// Input, output, read from the cache, written to the cache, reasoning.
fn token_counts(usage: &Usage) -> [Option<u64>; 5] {
    [
        usage.input_tokens,
        usage.output_tokens,
        usage.cache_read_tokens,
        usage.cache_creation_tokens,
        usage.reasoning_tokens,
    ]
}

#[test]
fn responses_of_all_formats_are_read() {
    for case in cases::all() {
        let Case { name, body, .. } = &case;
        let mut reader = ResponseReader::new(case.format, case.operation);
        reader.feed(body.as_bytes(), crate::clock::now());
        assert_eq!(reader.layout(), case.layout, "{name}");
        assert_eq!(reader.ending(), case.ending, "{name}");
        assert_eq!(reader.is_successful(), case.is_successful, "{name}");
        let facts = reader.finish();
        assert_eq!(facts.ending, case.ending, "{name}");
        assert_eq!(facts.model.as_deref(), case.model, "{name}");
        let reasons: Vec<&str> = facts
            .finish_reasons
            .iter()
            .map(|reason| &**reason)
            .collect();
        assert_eq!(reasons, case.reasons, "{name}");
        assert_eq!(token_counts(&facts.usage), case.tokens, "{name}");
        assert_eq!(facts.chunks_with_content, case.contents, "{name}");
    }
}

#[test]
fn first_and_last_content_of_a_stream_are_timed() {
    let start = crate::clock::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut reader = ResponseReader::new(ResponseFormat::Sse, None);
    let chunk = |delta: &str, reason: &str| {
        format!(
            "data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}],\"usage\":null}}\n\n"
        )
    };
    for (ms, text) in [
        (1, ": ping\n\n".to_owned()),
        (2, chunk(r#"{"role":"assistant","content":""}"#, "null")),
        (10, chunk(r#"{"reasoning_content":"hm"}"#, "null")),
        (20, chunk(r#"{"content":"Hel"}"#, "null")),
        (30, chunk(r#"{"content": "lo"}"#, "null")),
        (40, chunk("{}", "\"stop\"")),
        (50, "data: [DONE]\n\n".to_owned()),
    ] {
        reader.feed(text.as_bytes(), at(ms));
    }
    let facts = reader.finish();
    let times = (facts.first_content_at, facts.last_content_at);
    assert_eq!(times, (Some(at(10)), Some(at(30))));
    assert_eq!(facts.chunks_with_content, 3);

    // A response that is not a stream has no first content.
    let whole = read(
        ResponseFormat::Json,
        r#"{"choices":[{"message":{"content":"hi"}}]}"#,
    );
    assert_eq!(
        (whole.first_content_at, whole.chunks_with_content),
        (None, 0)
    );
}

#[test]
fn only_events_with_content_are_counted() {
    for (event, contents) in [
        (r#"{"choices":[{"delta":{"content":"a"}}]}"#, 1),
        (r#"{"choices":[{"delta":{"content" : "\""}}]}"#, 1),
        (
            r#"{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"text":"a"}]}]}}]}"#,
            1,
        ),
        (r#"{"choices":[{"text":"a"}]}"#, 1),
        (r#"{"choices":[{"delta":{"refusal":"no"}}]}"#, 1),
        (r#"{"choices":[{"delta":{"audio":{"transcript":"a"}}}]}"#, 1),
        (
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}]}"#,
            1,
        ),
        (
            r#"{"choices":[{"delta":{"content":null,"tool_calls":[ ]}}]}"#,
            0,
        ),
        (
            r#"{"choices":[{"delta":{"content":""},"logprobs":{"content":["a"]}}]}"#,
            0,
        ),
        (
            r#"{"choices":[{"delta":{"role":"content"},"finish_reason":null}]}"#,
            0,
        ),
        // The whole message is repeated besides the delta.
        (
            r#"{"choices":[{"message":{"content":"ab"},"delta":{"content":""}}]}"#,
            0,
        ),
        (
            r#"{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"x"}}"#,
            0,
        ),
        (r#"{"delta":"Hi","type":"response.output_text.delta"}"#, 1),
        (
            r#"{"text":"Hi there","type":"response.output_text.done"}"#,
            0,
        ),
        (r#"{"type":"response.audio.delta","delta":"UklGR"}"#, 1),
        (r#"{"note":"\"content\":\"a\""}"#, 0),
        ("[DONE]", 0),
        ("\"content\":", 0),
        ("", 0),
    ] {
        let facts = read(ResponseFormat::Sse, &events(&[event]));
        assert_eq!(facts.chunks_with_content, contents, "{event}");
    }
}

#[test]
fn generated_text_is_counted_once() {
    let text = |text: &str| {
        let mut count = TokenEstimator::default();
        count.add(text.as_bytes());
        count.tokens()
    };
    let generated = "To be, or not to be: 生存还是毁灭";
    let quoted = serde_json::to_string(generated).unwrap();
    for body in [
        format!(
            r#"{{"model":"gpt","choices":[{{"message":{{"role":"assistant","content":{quoted}}},"finish_reason":"stop"}}]}}"#
        ),
        format!(r#"{{"type":"message","content":[{{"type":"text","text":{quoted}}}]}}"#),
        format!(
            r#"{{"output":[{{"type":"message","content":[{{"text":{quoted}}}]}}],"status":"completed"}}"#
        ),
        format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":{quoted}}}]}}}}]}}"#),
        format!(r#"{{"message":{{"content":[{{"text":{quoted}}}]}},"finish_reason":"COMPLETE"}}"#),
        format!("{{\"response\":{quoted},\"done\":false}}\n{{\"response\":\"\",\"done\":true}}\n"),
        events(&[
            &format!(r#"{{"type":"response.output_text.delta","delta":{quoted}}}"#),
            &format!(r#"{{"type":"response.output_text.done","text":{quoted}}}"#),
            &format!(r#"{{"type":"response.audio.delta","delta":{quoted}}}"#),
            &format!(
                r#"{{"type":"response.completed","response":{{"output":[{{"content":[{{"text":{quoted}}}]}}]}}}}"#
            ),
        ]),
        events(&[&format!(
            r#"{{"choices":[{{"message":{{"content":{quoted}}},"delta":{{"content":{quoted}}}}}]}}"#
        )]),
    ] {
        assert_eq!(
            read(ResponseFormat::Json, &body).text.tokens(),
            text(generated),
            "{body}"
        );
    }
    // A call is counted whether its arguments are a string or an object.
    for call in [
        r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"f","arguments":"{\"city\":\"Paris\"}"}}]}}]}"#,
        r#"{"message":{"tool_calls":[{"function":{"name":"f","arguments":{"city":"Paris"}}}]},"done":true}"#,
        r#"{"content":[{"type":"tool_use","name":"f","input":{"city":"Paris"}}],"type":"message"}"#,
        r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"city":"Paris"}}}]}}]}"#,
        r#"{"output":[{"type":"function_call","name":"f","arguments":"{\"city\":\"Paris\"}"}]}"#,
    ] {
        let tokens = read(ResponseFormat::Json, call).text.tokens();
        assert!((10..30).contains(&tokens), "{tokens} of {call}");
    }
}

#[test]
fn a_streamed_call_is_counted_like_a_complete_one() {
    let whole = r#"{"choices":[{"message":{"tool_calls":[{"function":{"name":"get_tide","arguments":"{\"port\":\"Brest\"}"}}]}}]}"#;
    let expected = read(ResponseFormat::Json, whole).text;
    for stream in [
        events(&[
            r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"get_tide","input":{}}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"port\""}}"#,
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":":\"Brest\"}"}}"#,
            r#"{"type":"content_block_start","index":2,"content_block":{"type":"web_search_tool_result","tool_use_id":"t","content":[{"title":"Tides"}]}}"#,
        ]),
        events(&[
            r#"{"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","name":"get_tide","arguments":""}}"#,
            r#"{"type":"response.function_call_arguments.delta","delta":"{\"port\":\"Brest\"}"}"#,
            r#"{"type":"response.function_call_arguments.done","arguments":"{\"port\":\"Brest\"}"}"#,
            r#"{"type":"response.output_item.done","item":{"type":"function_call","name":"get_tide","arguments":"{\"port\":\"Brest\"}"}}"#,
        ]),
    ] {
        assert_eq!(
            read(ResponseFormat::Sse, &stream).text,
            expected,
            "{stream}"
        );
    }
}

#[test]
fn empty_and_unrelated_errors_are_ignored() {
    let finish = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;
    for event in [
        r#"{"error":null,"choices":[]}"#,
        r#"{"error":{},"choices":[]}"#,
        r#"{"error":"","choices":[]}"#,
        r#"{"error":false,"choices":[]}"#,
        r#"{"error":{"code":0,"message":"","details":null},"choices":[]}"#,
        r#"{"base_resp":{"status_code":0,"status_msg":""},"choices":[]}"#,
        r#"{"choices":[{"delta":{"content":"{\"error\":{\"message\":\"no\"}}"}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"function":{"arguments":"{\"error\":1}"}}]}}]}"#,
        r#"{"choices":[],"metadata":{"error":"x"},"tools":[{"type":"error"}]}"#,
        r#"{"choices":[],"usage":{"error":"x"},"status":"failed over"}"#,
    ] {
        let body = events(&[event, finish, "[DONE]"]);
        let reader = reader(ResponseFormat::Sse, &[body.as_bytes()]);
        assert_eq!(reader.ending(), Ending::Terminal, "{event}");
        assert!(reader.is_successful(), "{event}");
    }
}

#[test]
fn the_ending_is_known_as_soon_as_its_event_arrives() {
    let mut reader = ResponseReader::new(ResponseFormat::Sse, None);
    let mut ending = |data: &str| {
        reader.feed(data.as_bytes(), crate::clock::now());
        reader.ending()
    };
    assert_eq!(ending(": hello\n\n"), Ending::Unknown);
    assert_eq!(
        ending("data: {\"choices\":[{\"delta\":{}}]}\n\n"),
        Ending::Open
    );
    assert_eq!(
        ending("data: {\"choices\":[{\"finish_reason\":\"stop\"}]}"),
        Ending::Finished
    );
    assert_eq!(ending("\n\ndata: [DON"), Ending::Finished);
    // A client that reads lines leaves before the empty one.
    assert_eq!(ending("E]"), Ending::Terminal);
    assert_eq!(ending("\n\n"), Ending::Terminal);
    assert_eq!(ending("data: {\"error\":\"late\"}\n\n"), Ending::Failed);
}

#[test]
fn names_from_a_response_are_truncated() {
    let long = "é".repeat(5_000);
    let choices = vec![format!(r#"{{"finish_reason":"{long}"}}"#); 100].join(",");
    let body = format!(r#"{{"model":"{long}","choices":[{choices}]}}"#);
    for facts in [
        read(ResponseFormat::Json, &body),
        read(ResponseFormat::Sse, &events(&[&body])),
    ] {
        assert_eq!(facts.model.as_deref().map(str::len), Some(NAME_BYTES_MAX));
        assert_eq!(facts.finish_reasons.len(), FINISH_REASONS_MAX);
        let mut reasons = facts.finish_reasons.iter();
        assert!(reasons.all(|reason| reason.len() == NAME_BYTES_MAX));
    }
}

#[test]
fn the_content_type_determines_the_format() {
    for (text, expected) in [
        ("text/event-stream", Some(ResponseFormat::Sse)),
        (
            "Text/Event-Stream; charset=utf-8",
            Some(ResponseFormat::Sse),
        ),
        ("application/json", Some(ResponseFormat::Json)),
        (
            "application/json ;charset=utf-8",
            Some(ResponseFormat::Json),
        ),
        ("application/x-ndjson", Some(ResponseFormat::Json)),
        ("application/problem+json", Some(ResponseFormat::Json)),
        ("application/octet-stream", Some(ResponseFormat::Json)),
        ("text/plain; charset=utf-8", Some(ResponseFormat::Json)),
        ("text/json", Some(ResponseFormat::Json)),
        ("application/x-json", Some(ResponseFormat::Json)),
        ("application/x-jsonlines", Some(ResponseFormat::Json)),
        ("application/json-seq", Some(ResponseFormat::Json)),
        ("text/html", None),
        ("audio/mpeg", None),
        ("image/png", None),
        ("", None),
    ] {
        let content_type = HeaderValue::from_static(text);
        assert_eq!(ResponseFormat::of(&content_type), expected, "{text}");
        assert_eq!(
            ResponseFormat::of_response(Some(&content_type)),
            expected,
            "{text}"
        );
    }
    assert_eq!(
        ResponseFormat::of_response(None),
        Some(ResponseFormat::Json)
    );
}
