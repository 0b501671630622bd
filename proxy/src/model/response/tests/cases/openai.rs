//! Responses of OpenAI and Anthropic.

use super::*;

pub(super) fn chats() -> Vec<Case> {
    let chat = r#"{"id":"c1","object":"chat.completion","model":"glm-4","choices":[{"index":0,"message":{"role":"assistant","content":"say \"usage\": {\"prompt_tokens\": 9} \\","tool_calls":[{"function":{"name":"f","arguments":"{\"error\":{\"a\":1}}"}}]},"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":34,"total_tokens":46,"prompt_tokens_details":{"cached_tokens":5},"completion_tokens_details":{"reasoning_tokens":3}}}"#;
    vec![
        Case {
            model: Some("glm-4"),
            reasons: &["stop"],
            tokens: [Some(12), Some(34), Some(5), None, Some(3)],
            ..text(Operation::Chat, "chat", chat)
        },
        Case {
            model: Some("m"),
            reasons: &["stop", "length"],
            tokens: tokens(1, 2),
            ..text(
                Operation::Chat,
                "chat with two choices, usage in the first, after white space",
                "\u{feff}\r\n \n{\"model\" : \"m\",\n \"choices\": [ {\"finish_reason\": \"stop\", \"usage\": {\"prompt_tokens\":1, \"completion_tokens\":2}},\n {\"finish_reason\":\"length\"} ], \"usage\": null, \"error\": null }\n",
            )
        },
    ]
}

pub(super) fn streams() -> Vec<Case> {
    vec![
        Case {
            reasons: &["stop"],
            tokens: tokens(3, 4),
            contents: 4,
            model: Some("glm-4"),
            ..stream(
                Operation::Chat,
                "chat stream",
                format!(
                    ": ping\n\n{}",
                    events(&[
                        r#"{"model":"glm-4","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}],"usage":null}"#,
                        r#"{"model":"glm-4","choices":[{"index":0,"delta":{"reasoning_content":"hm"}}]}"#,
                        r#"{"model":"glm-4","choices":[{"index":0,"delta":{"content":"Hel\u4f60\n"},"finish_reason":null}]}"#,
                        r#"{"model":"glm-4","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"name":"f","arguments":""}}]}}]}"#,
                        r#"{"model":"glm-4","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}}]}"#,
                        r#"{"model":"glm-4","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
                        r#"{"model":"glm-4","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#,
                        r#"{"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":null,"total_tokens":0}}"#,
                        "[DONE]",
                    ])
                ),
            )
        },
        Case {
            reasons: &["stop", "length"],
            tokens: tokens(7, 9),
            contents: 2,
            // Groq's member for the usage, and a wrong `Content-Type`.
            format: ResponseFormat::Json,
            ..stream(
                Operation::Chat,
                "chat stream of two choices, declared as JSON",
                events(&[
                    r#"{"choices":[{"delta":{"content":"a"},"index":0},{"finish_reason":null,"delta":{"content":"b"},"index":1}]}"#,
                    r#"{"choices":[{"delta":{"content":"c"},"finish_reason":"stop","index":0}]}"#,
                    r#"{"choices":[{"delta":{},"finish_reason":"length","index":1}],"x_groq":{"usage":{"prompt_tokens":7,"completion_tokens":9}}}"#,
                    "[DONE]",
                ]),
            )
        },
    ]
}

pub(super) fn unfinished() -> Vec<Case> {
    vec![
        Case {
            reasons: &["stop"],
            contents: 1,
            ending: Ending::Finished,
            is_successful: false,
            ..stream(
                Operation::TextCompletion,
                "completion stream without its last event",
                events(&[
                    r#"{"object":"text_completion","choices":[{"text":"hi","index":0,"finish_reason":"stop"}]}"#,
                ]),
            )
        },
        Case {
            contents: 1,
            is_successful: false,
            ..stream(
                Operation::Chat,
                "chat stream without a finish reason",
                events(&[
                    r#"{"choices":[{"delta":{"content":"a"},"finish_reason":""}]}"#,
                    "[DONE]",
                ]),
            )
        },
        Case {
            reasons: &["stop"],
            contents: 2,
            is_successful: false,
            ..stream(
                Operation::Chat,
                "chat stream with one of two choices finished",
                events(&[
                    r#"{"choices":[{"index":1,"delta":{"content":"a"}}]}"#,
                    r#"{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}"#,
                    "[DONE]",
                ]),
            )
        },
    ]
}

pub(super) fn embeddings() -> Vec<Case> {
    vec![
        Case {
            model: Some("e"),
            tokens: [Some(5), None, None, None, None],
            ..text(
                Operation::Embeddings,
                "embeddings",
                r#"{"model":"e","object":"list","data":[{"embedding":[0.1,-2e3,"]"],"index":0}],"usage":{"total_tokens":5}}"#,
            )
        },
        Case {
            tokens: [Some(1), None, None, None, None],
            is_successful: false,
            ..text(
                Operation::Embeddings,
                "empty embeddings",
                r#"{"object":"list","data":[],"usage":{"prompt_tokens":1,"total_tokens":1}}"#,
            )
        },
        Case {
            // xAI includes reasoning only in the total.
            tokens: [Some(12), Some(240), Some(2), None, Some(228)],
            reasons: &["stop"],
            ..text(
                Operation::Chat,
                "chat with reasoning outside its completion",
                r#"{"choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":12,"total_tokens":252,"prompt_tokens_details":{"cached_tokens":2},"completion_tokens_details":{"reasoning_tokens":228}}}"#,
            )
        },
    ]
}

pub(super) fn responses() -> Vec<Case> {
    let long = "be brief. ".repeat(8_000);
    let completed = format!(
        r#"{{"type":"response.completed","response":{{"instructions":"{long}","status":"completed","model":"r","error":null,"output":[{{"content":[{{"text":"hi"}}]}}],"usage":{{"input_tokens":13000,"input_tokens_details":{{"cached_tokens":12,"cache_write_tokens":8}},"output_tokens":8,"output_tokens_details":{{"reasoning_tokens":6}}}}}}}}"#
    );
    vec![
        Case {
            model: Some("r"),
            reasons: &["completed"],
            tokens: [Some(7), Some(8), Some(3), None, Some(2)],
            ..text(
                Operation::Responses,
                "response",
                r#"{"object":"response","status":"completed","error":null,"model":"r","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":7,"input_tokens_details":{"cached_tokens":3},"output_tokens":8,"output_tokens_details":{"reasoning_tokens":2}},"metadata":{"error":"none"}}"#,
            )
        },
        Case {
            is_successful: false,
            ..text(
                Operation::Responses,
                "queued response",
                r#"{"object":"response","status":"queued","output":[]}"#,
            )
        },
        Case {
            model: Some("r"),
            reasons: &["completed"],
            tokens: [Some(13_000), Some(8), Some(12), Some(8), Some(6)],
            contents: 1,
            ..stream(
                Operation::Responses,
                "response stream with a large last event",
                named(&[
                    r#"{"type":"response.created","response":{"status":"in_progress","model":"r","usage":null}}"#,
                    r#"{"type":"response.output_text.delta","delta":"hi","obfuscation":"xx"}"#,
                    r#"{"type":"response.output_text.done","text":"hi"}"#,
                    &completed,
                ]),
            )
        },
        Case {
            reasons: &["incomplete"],
            tokens: tokens(2, 6),
            contents: 1,
            ..stream(
                Operation::Responses,
                "incomplete response stream, type last",
                events(&[
                    r#"{"delta":"hi","type":"response.output_text.delta"}"#,
                    r#"{"response":{"usage":{"input_tokens":2,"output_tokens":6}},"type":"response.incomplete"}"#,
                ]),
            )
        },
    ]
}

pub(super) fn anthropic() -> Vec<Case> {
    vec![
        Case {
            model: Some("claude"),
            reasons: &["tool_use"],
            tokens: [Some(8_855), Some(2), Some(8_800), Some(51), None],
            ..text(
                Operation::Messages,
                "message",
                r#"{"type":"message","model":"claude","content":[{"type":"text","text":"a"},{"type":"tool_use","name":"f","input":{"error":"x"}}],"stop_reason":"tool_use","usage":{"input_tokens":4,"cache_read_input_tokens":8800,"cache_creation_input_tokens":51,"output_tokens":2}}"#,
            )
        },
        Case {
            tokens: tokens(1, 1),
            is_successful: false,
            ..text(
                Operation::Messages,
                "message without a stop reason",
                r#"{"type":"message","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}"#,
            )
        },
        Case {
            model: Some("claude"),
            reasons: &["end_turn"],
            tokens: [Some(125), Some(15), Some(100), Some(0), None],
            contents: 2,
            ..stream(
                Operation::Messages,
                "message stream",
                named(&[
                    r#"{"type":"message_start","message":{"type":"message","model":"claude","content":[],"stop_reason":null,"usage":{"input_tokens":25,"cache_read_input_tokens":100,"cache_creation_input_tokens":0,"output_tokens":1}}}"#,
                    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
                    r#"{"type":"ping"}"#,
                    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
                    r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#,
                    r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"{\"type\":\"error\"}"}}"#,
                    r#"{"type":"content_block_stop","index":0}"#,
                    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"input_tokens":0,"output_tokens":15}}"#,
                    r#"{"type":"message_stop"}"#,
                ]),
            )
        },
        Case {
            tokens: tokens(31, 0),
            reasons: &["end_turn"],
            ending: Ending::Finished,
            is_successful: false,
            ..stream(
                Operation::Messages,
                "message stream without its last event",
                named(&[
                    r#"{"type":"message_start","message":{"usage":{"input_tokens":31,"output_tokens":0}}}"#,
                    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
                ]),
            )
        },
    ]
}
