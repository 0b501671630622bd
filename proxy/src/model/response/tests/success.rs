//! Which responses count as successful and may be stored.

use super::*;

fn is_successful(operation: Option<Operation>, body: &str) -> bool {
    let mut reader = ResponseReader::new(ResponseFormat::Json, operation);
    reader.feed(body.as_bytes(), crate::clock::now());
    reader.is_successful()
}

/// A complete response to `operation` with this finish reason.
fn ended(operation: Operation, reason: &str) -> String {
    match operation {
        Operation::GenerateContent => format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"{reason}"}}]}}"#
        ),
        Operation::Messages => format!(
            r#"{{"type":"message","content":[{{"type":"text","text":"a"}}],"stop_reason":"{reason}"}}"#
        ),
        Operation::OllamaChat => {
            format!(r#"{{"message":{{"content":"a"}},"done":true,"done_reason":"{reason}"}}"#)
        }
        _ => {
            format!(r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"{reason}"}}]}}"#)
        }
    }
}

#[test]
fn an_interrupted_response_is_neither_successful_nor_failed() {
    use Operation::{Chat, GenerateContent, Messages, OllamaChat};
    for (operation, interruptions, ends) in [
        (
            Chat,
            "abort Aborted cancelled CANCELED timeout internal_error interrupted network_error",
            "stop length content_filter tool_calls",
        ),
        (
            GenerateContent,
            "OTHER MALFORMED_FUNCTION_CALL",
            "STOP MAX_TOKENS SAFETY",
        ),
        (Messages, "pause_turn", "max_tokens refusal end_turn"),
        (OllamaChat, "load unload", "stop length"),
    ] {
        for (reasons, expected) in [(interruptions, false), (ends, true)] {
            for reason in reasons.split(' ') {
                let mut reader = ResponseReader::new(ResponseFormat::Json, Some(operation));
                reader.feed(ended(operation, reason).as_bytes(), crate::clock::now());
                assert_eq!(reader.ending(), Ending::Terminal, "{operation:?} {reason}");
                assert_eq!(reader.is_successful(), expected, "{operation:?} {reason}");
                assert_eq!(reader.finish().finish_reasons, [Box::<str>::from(reason)]);
            }
        }
    }
    let stream = events(&[
        r#"{"choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#,
        "[DONE]",
    ]);
    assert!(!is_successful(Some(Operation::Chat), &stream));
    assert!(is_successful(
        Some(Operation::Chat),
        &stream.replace("abort", "stop")
    ));
}

#[test]
fn a_response_to_an_unknown_operation_is_successful_unless_it_reports_otherwise() {
    for (body, expected) in [
        (r#"{"answer":"a"}"#, true),
        (
            r#"{"answer":"a","errors":[],"success":true,"ok":true,"errno":0}"#,
            true,
        ),
        (
            r#"{"errors":null,"errcode":0,"error_code":"","code":200}"#,
            true,
        ),
        (r#"{"code":0,"status":"completed"}"#, true),
        (
            r#"{"status":"succeeded","output":{"task_status":"SUCCEEDED"}}"#,
            true,
        ),
        (r#"{"status":"ok","code":"invalid"}"#, true),
        (
            r#"{"data":{"errors":["a"],"success":false,"status":"failed"}}"#,
            true,
        ),
        (r#"{"errors":["a"]}"#, false),
        (r#"{"errors":[{"message":"a"}],"data":null}"#, false),
        (r#"{"errors":{"name":"is missing"}}"#, false),
        (r#"{"errors":"a"}"#, false),
        (r#"{"success":false}"#, false),
        (r#"{"a":1,"ok":false}"#, false),
        (r#"{"errcode":40013,"errmsg":"no"}"#, false),
        (r#"{"error_code":"E1"}"#, false),
        (r#"{"errorCode":17}"#, false),
        (r#"{"errno":-1}"#, false),
        (r#"{"code":400}"#, false),
        (r#"{"code":99991663,"msg":"no"}"#, false),
        (r#"{"status":"error"}"#, false),
        (r#"{"status":"FAIL"}"#, false),
        (r#"{"status":500}"#, false),
        (r#"{"status":"Queued","id":"t"}"#, false),
        (r#"{"task_status":"PROCESSING"}"#, false),
        (
            r#"{"output":{"task_status":"PENDING","task_id":"t"}}"#,
            false,
        ),
        (r#"{"output":{"status":"running"}}"#, false),
        (r#"{"status":"in_progress"}"#, false),
        (r#"{"a":1}{"a":2}"#, false),
        ("{\"a\":1}\n{\"a\":2}\n", false),
    ] {
        for at in 0..=body.len() {
            let (before, after) = body.as_bytes().split_at(at);
            let reader = reader(ResponseFormat::Json, &[before, after]);
            assert_eq!(reader.is_successful(), expected, "{body} cut at {at}");
        }
    }
    // For a known operation these members mean nothing.
    let chat = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"code":500}"#;
    assert!(is_successful(Some(Operation::Chat), chat));
}

#[test]
fn two_json_texts_are_not_a_successful_response() {
    let chat = r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#;
    assert!(is_successful(Some(Operation::Chat), &format!(" {chat}\n")));
    assert!(!is_successful(
        Some(Operation::Chat),
        &format!("{chat}{chat}")
    ));
    assert!(!is_successful(
        Some(Operation::Chat),
        &format!("{chat}\n{chat}\n")
    ));
    let ollama = "{\"response\":\"a\",\"done\":false}\n{\"response\":\"\",\"done\":true}\n";
    assert!(is_successful(Some(Operation::OllamaGenerate), ollama));
}
