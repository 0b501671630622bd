//! Responses that report a failure.

use super::*;

fn failed(name: &'static str, body: &str) -> Case {
    Case {
        ending: Ending::Failed,
        is_successful: false,
        ..text(Operation::Chat, name, body)
    }
}

fn broken(name: &'static str, body: String) -> Case {
    Case {
        contents: 1,
        ending: Ending::Failed,
        is_successful: false,
        ..stream(Operation::Chat, name, body)
    }
}

const CHUNK: &str = r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#;

pub(super) fn texts() -> Vec<Case> {
    vec![
        failed("an error", r#"{"error":{"message":"no","code":null}}"#),
        failed("an error as a text", r#"{"error":"model not found"}"#),
        failed(
            "an error type",
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
        ),
        failed("an error object", r#"{"object":"error","message":"no"}"#),
        failed(
            "an error status",
            r#"{"base_resp":{"status_code":1004,"status_msg":"no"}}"#,
        ),
        failed(
            "a failed response",
            r#"{"object":"response","status":"failed","error":{"code":"x"}}"#,
        ),
        Case {
            reasons: &["error"],
            ..failed(
                "a failed choice",
                r#"{"choices":[{"finish_reason":"error","message":{}}]}"#,
            )
        },
        failed(
            "an error in a choice",
            r#"{"choices":[{"error":{"code":502},"finish_reason":null}]}"#,
        ),
    ]
}

pub(super) fn streams() -> Vec<Case> {
    vec![
        Case {
            contents: 0,
            layout: ResponseLayout::Text,
            ..broken(
                "an error instead of a stream",
                r#"{"error":{"message":"no"}}"#.to_owned(),
            )
        },
        broken(
            "an error in a stream",
            events(&[CHUNK, r#"{"error":{"message":"no"}}"#, "[DONE]"]),
        ),
        broken(
            "an error event",
            format!("{}event: error\ndata: no\n\n", events(&[CHUNK])),
        ),
        broken(
            "an error event without data",
            format!("{}event: error\n\n", events(&[CHUNK])),
        ),
        Case {
            contents: 0,
            ..broken(
                "a failed response stream",
                events(&[r#"{"type":"response.failed","response":{"status":"failed"}}"#]),
            )
        },
        Case {
            ending: Ending::Open,
            contents: 2,
            tokens: tokens(3, 2),
            ..broken(
                "a stream that breaks off after a malformed event",
                format!(
                    "{}data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":3,\"completion_tokens\":2}}}}",
                    events(&[
                        CHUNK,
                        r#"{"choices":[{"delta":{"content":"b"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9}"#,
                        CHUNK
                    ]),
                ),
            )
        },
    ]
}
