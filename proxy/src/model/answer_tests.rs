use std::time::Duration;

use super::*;
use crate::model::NAME_BYTES_MAX;

fn read(kind: Kind, chunks: &[&[u8]]) -> Said {
    let mut reader = AnswerReader::new(kind, None);
    let start = crate::clock::now();
    for chunk in chunks {
        reader.feed(chunk, start);
    }
    reader.finish()
}

/// Model, finish reasons, tokens of the question and of the answer.
fn said(usage: &Said) -> (Option<&str>, Vec<&str>, Option<u64>, Option<u64>) {
    let reasons = usage.finish_reasons.iter().map(|reason| &**reason);
    (
        usage.model.as_deref(),
        reasons.collect(),
        usage.usage.input_tokens,
        usage.usage.output_tokens,
    )
}

const CHAT: &str = r#"{"id":"c1","object":"chat.completion","model":"glm-4","choices":[{"index":0,"message":{"role":"assistant","content":"say \"usage\": {\"prompt_tokens\": 9} \\"},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46,"completion_tokens_details":{"reasoning_tokens":3}}}"#;

#[test]
fn json_answers_of_all_formats_are_read() {
    for (body, expected) in [
        (CHAT, (Some("glm-4"), vec!["stop"], Some(12), Some(34))),
        (
            r#"{"model":"e","data":[{"embedding":[0.1,-2e3]}],"usage":{"prompt_tokens":5,"total_tokens":5}}"#,
            (Some("e"), vec![], Some(5), None),
        ),
        (
            r#"{"object":"response","model":"r","output":[{"content":[{"text":"hi"}]}],"usage":{"input_tokens":7,"output_tokens":8}}"#,
            (Some("r"), vec![], Some(7), Some(8)),
        ),
        (
            r#"{"type":"message","model":"claude","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#,
            (Some("claude"), vec!["end_turn"], Some(1), Some(2)),
        ),
        (
            r#"{"model":"m","choices":[{"finish_reason":"stop"},{"finish_reason":null},{"finish_reason":"length"}],"usage":null}"#,
            (Some("m"), vec!["stop", "length"], None, None),
        ),
        (
            r#"{"model":"a\u00e9\n","choices":null}"#,
            (Some("aé\n"), vec![], None, None),
        ),
        // A field of another type costs that field, not the others.
        (
            r#"{"model":7,"choices":[{"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}"#,
            (None, vec!["stop"], Some(1), None),
        ),
        (
            r#"{"model":"m","usage":{"prompt_tokens":-1}}"#,
            (Some("m"), vec![], None, None),
        ),
        (
            r#"{"model":"m","model":"n"}"#,
            (Some("m"), vec![], None, None),
        ),
        (
            r#"{"error":{"message":"no","code":"x"}}"#,
            (None, vec![], None, None),
        ),
        ("", (None, vec![], None, None)),
        ("[]", (None, vec![], None, None)),
        ("null", (None, vec![], None, None)),
        ("<html>", (None, vec![], None, None)),
        ("\"\\", (None, vec![], None, None)),
    ] {
        assert_eq!(
            said(&read(Kind::Json, &[body.as_bytes()])),
            expected,
            "{body}"
        );
        let single: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        assert_eq!(
            said(&read(Kind::Json, &single)),
            expected,
            "{body} byte by byte"
        );
    }
}

#[test]
fn a_large_body_is_read_at_its_two_ends() {
    let middle = |length: usize| "0.125,".repeat(length / 6);
    for length in [
        60_000,
        64 * 1024,
        80_000,
        97_000,
        98_304,
        120_000,
        3_000_000,
    ] {
        let body = format!(
            r#"{{"object":"list","data":[{{"embedding":[{}1]}}],"model":"large","usage":{{"prompt_tokens":77,"total_tokens":77}}}}"#,
            middle(length)
        );
        for size in [1_400, 16_384, 70_000, body.len()] {
            let chunks: Vec<&[u8]> = body.as_bytes().chunks(size).collect();
            let usage = read(Kind::Json, &chunks);
            assert_eq!(
                said(&usage),
                (Some("large"), vec![], Some(77), None),
                "{length} by {size}"
            );
        }
    }
    let chat = format!(
        r#"{{"model":"m","choices":[{{"message":{{"content":"{}"}},"finish_reason":"length"}}],"usage":{{"prompt_tokens":1,"completion_tokens":2}}}}"#,
        r#"\"usage\":{\"prompt_tokens\":9}, "#.repeat(20_000)
    );
    let usage = read(
        Kind::Json,
        &chat.as_bytes().chunks(8_192).collect::<Vec<_>>(),
    );
    assert_eq!(said(&usage), (Some("m"), vec!["length"], Some(1), Some(2)));
}

#[test]
fn what_is_kept_of_a_body_is_bounded() {
    let mut ends = json::Ends::default();
    for size in [1usize, 5_000, 40_000, 1, 300_000, 16_384, 16_385, 77] {
        for _ in 0..20 {
            ends.keep(&vec![b'7'; size]);
            assert!(
                ends.held_bytes() <= (64 + 2 * 32) * 1024,
                "{}",
                ends.held_bytes()
            );
        }
    }
}

#[test]
fn a_chat_stream_is_read_and_timed() {
    let start = crate::clock::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut reader = AnswerReader::new(Kind::Sse, None);
    let chunk = |delta: &str, reason: &str| {
        format!(
            "data: {{\"id\":\"c\",\"model\": \"glm-4\",\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}],\"usage\":null}}\n\n"
        )
    };
    for (ms, text) in [
        (1, ": ping\n\n".to_owned()),
        (2, chunk(r#"{"role":"assistant","content":""}"#, "null")),
        (10, chunk(r#"{"reasoning_content":"hm"}"#, "null")),
        (20, chunk(r#"{"content":"Hel"}"#, "null")),
        (30, chunk(r#"{"content": "lo"}"#, "null")),
        (40, chunk("{}", "\"stop\"")),
        (50, "data: {\"model\":\"glm-4\",\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\n\n".to_owned()),
        (60, "data: [DONE]\n\n".to_owned()),
    ] {
        reader.feed(text.as_bytes(), at(ms));
    }
    let usage = reader.finish();
    assert_eq!(
        said(&usage),
        (Some("glm-4"), vec!["stop"], Some(3), Some(4))
    );
    assert_eq!(
        (usage.first_content_at, usage.last_content_at),
        (Some(at(10)), Some(at(30)))
    );
    assert_eq!(
        (
            usage.chunks_with_content,
            usage.usage.origin == Origin::Estimated
        ),
        (3, false)
    );
}

#[test]
fn content_is_told_from_what_is_none() {
    for (event, contents) in [
        (r#"{"choices":[{"delta":{"content":"a"}}]}"#, 1),
        (r#"{"choices":[{"delta":{"content" : "\""}}]}"#, 1),
        (r#"{"choices":[{"text":"a"}]}"#, 1),
        (
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":""}}]}}]}"#,
            1,
        ),
        (
            r#"{"choices":[{"delta":{"content":null,"tool_calls":[ ]}}]}"#,
            0,
        ),
        (
            r#"{"choices":[{"delta":{"content":""},"logprobs":{"content":[]}}]}"#,
            0,
        ),
        (
            r#"{"choices":[{"delta":{"role":"content"},"finish_reason":null}]}"#,
            0,
        ),
        (
            r#"{"type":"content_block_start","content_block":{"type":"text","text":""}}"#,
            0,
        ),
        (
            r#"{"type":"content_block_delta","delta":{"type":"text_delta","text":"Hi"}}"#,
            1,
        ),
        (
            r#"{"type":"content_block_delta","delta":{"type":"input_json_delta","partial_json":"{"}}"#,
            1,
        ),
        (r#"{"type":"response.output_text.delta","delta":"Hi"}"#, 1),
        (r#"{"delta":"Hi","type":"response.output_text.delta"}"#, 1),
        (
            r#"{"type":"response.output_text.done","text":"Hi there"}"#,
            0,
        ),
        (
            r#"{"text":"Hi there","type":"response.output_text.done"}"#,
            0,
        ),
        (r#"{"note":"\"content\":\"a\""}"#, 0),
        ("[DONE]", 0),
        ("\"content\":", 0),
        ("{\"content\":\"", 1),
        ("", 0),
    ] {
        let stream = format!("data: {event}\n\n");
        let usage = read(Kind::Sse, &[stream.as_bytes()]);
        assert_eq!(usage.chunks_with_content, contents, "{event}");
    }
}

#[test]
fn other_formats_and_cut_streams_give_what_was_seen() {
    let anthropic = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"claude\",\"stop_reason\":null,\"usage\":{\"input_tokens\":25,\"output_tokens\":1}}}\n\n\
        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":15}}\n\n";
    assert_eq!(
        said(&read(Kind::Sse, &[anthropic.as_bytes()])),
        (Some("claude"), vec!["end_turn"], Some(25), Some(15))
    );

    let responses = "data: {\"type\":\"response.completed\",\"response\":{\"model\":\"r\",\"usage\":{\"input_tokens\":2,\"output_tokens\":6}}}\n\n";
    assert_eq!(
        said(&read(Kind::Sse, &[responses.as_bytes()])),
        (Some("r"), vec![], Some(2), Some(6))
    );

    let cut = "data: {\"model\":\"m\",\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: {\"choi";
    let usage = read(Kind::Sse, &[cut.as_bytes()]);
    assert_eq!(said(&usage), (Some("m"), vec![], None, Some(2)));
    assert!(usage.usage.origin == Origin::Estimated);

    // The last usage so far, and the one whose event was never ended.
    let running = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}";
    let usage = read(Kind::Sse, &[running.as_bytes()]);
    assert_eq!(
        (
            usage.usage.input_tokens,
            usage.usage.output_tokens,
            usage.usage.origin == Origin::Estimated
        ),
        (Some(3), Some(2), false)
    );

    assert_eq!(read(Kind::Sse, &[]), Said::default());
}

#[test]
fn names_from_an_answer_are_bounded() {
    let long = "é".repeat(5_000);
    let choices = vec![format!(r#"{{"finish_reason":"{long}"}}"#); 40].join(",");
    let body = format!(r#"{{"model":"{long}","choices":[{choices}]}}"#);
    let stream = format!("data: {{\"model\":\"{long}\"}}\n\n");
    for usage in [
        read(Kind::Json, &[body.as_bytes()]),
        read(Kind::Sse, &[stream.as_bytes()]),
    ] {
        assert_eq!(usage.model.as_deref().map(str::len), Some(NAME_BYTES_MAX));
        assert!(usage.finish_reasons.len() <= FINISH_REASONS_MAX);
        assert!(
            usage
                .finish_reasons
                .iter()
                .all(|reason| reason.len() <= NAME_BYTES_MAX)
        );
    }
}

#[test]
fn text_that_is_anything_at_all_is_read_without_harm() {
    let seeds = [
        CHAT,
        "data: {\"usage\":{\"prompt_tokens\":1}}\n\n",
        "\"model\":\"\\",
        "\"usage\":{{{{",
    ];
    for seed in seeds {
        for at in 0..seed.len() {
            for byte in [b'"', b'\\', b'{', b'\n', 0xff] {
                let mut body = seed.as_bytes().to_vec();
                body[at] = byte;
                let _ = read(Kind::Json, &[&body, &body[..at]]);
                let _ = read(Kind::Sse, &[&body, &body[..at]]);
            }
        }
    }
    let deep = "{\"usage\":".repeat(20_000);
    let _ = read(Kind::Json, &[deep.as_bytes()]);
}

#[test]
fn kinds_are_told_by_the_content_type() {
    for (text, expected) in [
        ("text/event-stream", Some(Kind::Sse)),
        ("Text/Event-Stream; charset=utf-8", Some(Kind::Sse)),
        ("application/json", Some(Kind::Json)),
        ("application/json ;charset=utf-8", Some(Kind::Json)),
        ("application/problem+json", None),
        ("text/html", None),
        ("", None),
    ] {
        assert_eq!(
            Kind::of(&HeaderValue::from_static(text)),
            expected,
            "{text}"
        );
    }
}
