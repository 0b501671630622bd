//! Which answers are good enough to be given to somebody else.

use super::*;

fn is_good(operation: Option<Operation>, body: &str) -> bool {
    let mut reader = AnswerReader::new(Kind::Json, operation);
    reader.feed(body.as_bytes(), crate::clock::now());
    reader.is_good()
}

#[test]
fn what_was_interrupted_is_not_good_and_no_failure() {
    let chat = |reason| {
        (
            Operation::Chat,
            reason,
            format!(
                r#"{{"choices":[{{"message":{{"content":"a"}},"finish_reason":"{reason}"}}]}}"#
            ),
        )
    };
    let gemini = |reason| {
        (
            Operation::GenerateContent,
            reason,
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"{reason}"}}]}}"#
            ),
        )
    };
    let messages = |reason| {
        (
            Operation::Messages,
            reason,
            format!(
                r#"{{"type":"message","content":[{{"type":"text","text":"a"}}],"stop_reason":"{reason}"}}"#
            ),
        )
    };
    let ollama = |reason| {
        (
            Operation::OllamaChat,
            reason,
            format!(r#"{{"message":{{"content":"a"}},"done":true,"done_reason":"{reason}"}}"#),
        )
    };
    for (good, cases) in [
        (
            false,
            vec![
                chat("abort"),
                chat("Aborted"),
                chat("cancelled"),
                chat("CANCELED"),
                chat("timeout"),
                chat("internal_error"),
                chat("interrupted"),
                chat("network_error"),
                gemini("OTHER"),
                gemini("MALFORMED_FUNCTION_CALL"),
                messages("pause_turn"),
                ollama("load"),
                ollama("unload"),
            ],
        ),
        (
            true,
            vec![
                chat("stop"),
                chat("length"),
                chat("content_filter"),
                chat("tool_calls"),
                gemini("STOP"),
                gemini("MAX_TOKENS"),
                gemini("SAFETY"),
                messages("max_tokens"),
                messages("refusal"),
                messages("end_turn"),
                ollama("stop"),
                ollama("length"),
            ],
        ),
    ] {
        for (operation, reason, body) in cases {
            let mut reader = AnswerReader::new(Kind::Json, Some(operation));
            reader.feed(body.as_bytes(), crate::clock::now());
            assert_eq!(reader.ending(), Ending::Terminal, "{operation:?} {reason}");
            assert_eq!(reader.is_good(), good, "{operation:?} {reason}");
            assert_eq!(reader.finish().finish_reasons, [reason.into()]);
        }
    }
    let stream = events(&[
        r#"{"choices":[{"delta":{"content":"a"}}]}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"abort"}]}"#,
        "[DONE]",
    ]);
    assert!(!is_good(Some(Operation::Chat), &stream));
    assert!(is_good(
        Some(Operation::Chat),
        &stream.replace("abort", "stop")
    ));
}
