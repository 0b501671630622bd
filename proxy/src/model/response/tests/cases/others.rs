//! Responses of Gemini, Ollama and Cohere, and of no known format.

use super::*;

pub(super) fn gemini() -> Vec<Case> {
    let first = r#"{"candidates":[{"content":{"parts":[{"text":"a"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":5,"totalTokenCount":5},"modelVersion":"g"}"#;
    let last = r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"f","args":{"error":"x"}}}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":5,"candidatesTokenCount":12,"thoughtsTokenCount":69,"cachedContentTokenCount":4,"toolUsePromptTokenCount":2,"totalTokenCount":88},"modelVersion":"g"}"#;
    let whole = |name| Case {
        model: Some("g"),
        reasons: &["STOP"],
        tokens: [Some(7), Some(81), Some(4), None, Some(69)],
        ..text(Operation::GenerateContent, name, last)
    };
    vec![
        whole("contents"),
        Case {
            contents: 2,
            body: events(&[first, last]),
            layout: ResponseLayout::Events,
            ..whole("contents as events")
        },
        Case {
            contents: 2,
            body: format!("[{first}\n,\r\n{last}\n]\n"),
            layout: ResponseLayout::Array,
            ..whole("contents as an array")
        },
        Case {
            contents: 2,
            body: format!("[{first}\n,\r\n{last}\n"),
            layout: ResponseLayout::Array,
            ending: Ending::Finished,
            is_successful: false,
            ..whole("contents as an array that is not closed")
        },
        Case {
            contents: 3,
            body: events(&[last, last, last]),
            layout: ResponseLayout::Events,
            ending: Ending::Finished,
            ..whole("contents as events that each have a finish reason")
        },
    ]
}

pub(super) fn gemini_of_several() -> Vec<Case> {
    vec![
        Case {
            reasons: &["STOP"],
            ending: Ending::Open,
            contents: 2,
            is_successful: false,
            ..stream(
                Operation::GenerateContent,
                "contents with one unfinished",
                events(&[
                    r#"{"candidates":[{"index":0,"content":{"parts":[{"text":"a"}]}},{"index":1,"content":{"parts":[{"text":"b"}]}}]}"#,
                    r#"{"candidates":[{"index":0,"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
                ]),
            )
        },
        Case {
            reasons: &["STOP", "MAX_TOKENS"],
            contents: 3,
            ..stream(
                Operation::Chat,
                "contents that finish one after another",
                events(&[
                    r#"{"candidates":[{"index":0,"content":{"parts":[{"text":"a"}]}},{"index":1,"content":{"parts":[{"text":"b"}]}}]}"#,
                    r#"{"candidates":[{"index":0,"content":{"parts":[{"text":"a"}]},"finishReason":"STOP"}]}"#,
                    r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"b"}]},"finishReason":"MAX_TOKENS"}]}"#,
                ]),
            )
        },
        Case {
            tokens: [Some(31), None, None, None, None],
            ..text(
                Operation::CountTokens,
                "token counting",
                r#"{"totalTokens":31}"#,
            )
        },
        text(
            Operation::EmbedContent,
            "embedding",
            r#"{"embedding":{"values":[0.5,1]}}"#,
        ),
        Case {
            is_successful: false,
            ..stream(
                Operation::GenerateContent,
                "blocked contents",
                events(&[r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#]),
            )
        },
    ]
}

pub(super) fn ollama() -> Vec<Case> {
    vec![
        Case {
            model: Some("llama3"),
            reasons: &["stop"],
            tokens: tokens(17, 50),
            contents: 2,
            layout: ResponseLayout::Lines,
            ..text(
                Operation::OllamaChat,
                "Ollama's chat stream",
                &lines(&[
                    r#"{"model":"llama3","message":{"role":"assistant","content":"Why"},"done":false}"#,
                    r#"{"model":"llama3","message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":[1,"b"]}}}]},"done":false}"#,
                    r#"{"model":"llama3","message":{"content":""},"done_reason":"stop","done":true,"prompt_eval_count":17,"eval_count":50}"#,
                ]),
            )
        },
        Case {
            model: Some("l"),
            tokens: tokens(1, 2),
            ..text(
                Operation::OllamaGenerate,
                "Ollama's completion",
                r#"{"model":"l","response":"hi","done":true,"context":[1,2],"prompt_eval_count":1,"eval_count":2}"#,
            )
        },
        Case {
            contents: 1,
            layout: ResponseLayout::Lines,
            ending: Ending::Open,
            is_successful: false,
            ..text(
                Operation::OllamaGenerate,
                "Ollama's completion stream, cut",
                "{\"response\":\"hi\",\"done\":false}\n{\"respon",
            )
        },
        Case {
            tokens: [Some(3), None, None, None, None],
            ..text(
                Operation::OllamaEmbed,
                "Ollama's embeddings",
                r#"{"embeddings":[[0.1,0.2]],"prompt_eval_count":3}"#,
            )
        },
    ]
}

pub(super) fn cohere() -> Vec<Case> {
    vec![
        Case {
            reasons: &["COMPLETE"],
            tokens: [Some(1_478), Some(3), Some(112), None, None],
            ..text(
                Operation::CohereChat,
                "Cohere's chat",
                r#"{"finish_reason":"COMPLETE","message":{"content":[{"text":"5","type":"text"}]},"usage":{"billed_units":{"input_tokens":70,"output_tokens":1},"cached_tokens":112,"tokens":{"input_tokens":1478,"output_tokens":3}}}"#,
            )
        },
        Case {
            reasons: &["TOOL_CALL"],
            tokens: tokens(62, 28),
            contents: 4,
            ..stream(
                Operation::CohereChat,
                "Cohere's chat stream",
                named(&[
                    r#"{"type":"message-start","delta":{"message":{"role":"assistant","content":[],"tool_plan":""}}}"#,
                    r#"{"type":"tool-plan-delta","delta":{"message":{"tool_plan":"I"}}}"#,
                    r#"{"type":"content-delta","index":0,"delta":{"message":{"content":{"text":"5"}}}}"#,
                    r#"{"type":"tool-call-start","delta":{"message":{"tool_calls":{"function":{"name":"f","arguments":""}}}}}"#,
                    r#"{"type":"tool-call-delta","delta":{"message":{"tool_calls":{"function":{"arguments":"{}"}}}}}"#,
                    r#"{"type":"message-end","delta":{"finish_reason":"TOOL_CALL","usage":{"billed_units":{"input_tokens":62,"output_tokens":28}}}}"#,
                ]),
            )
        },
        Case {
            reasons: &["COMPLETE"],
            tokens: tokens(9, 4),
            contents: 1,
            layout: ResponseLayout::Lines,
            ..text(
                Operation::CohereChat,
                "Cohere's first chat stream",
                &lines(&[
                    r#"{"is_finished":false,"event_type":"text-generation","text":"a"}"#,
                    r#"{"is_finished":true,"event_type":"stream-end","finish_reason":"COMPLETE","response":{"text":"a","meta":{"tokens":{"input_tokens":9,"output_tokens":4}}}}"#,
                ]),
            )
        },
    ]
}

/// A stream of an unknown format.
fn foreign(operation: Operation, name: &'static str, body: &str) -> Case {
    Case {
        ending: Ending::Unknown,
        is_successful: false,
        ..stream(operation, name, body.to_owned())
    }
}

pub(super) fn without_text() -> Vec<Case> {
    vec![
        text(
            Operation::Rerank,
            "reranking billed by search units",
            r#"{"results":[{"index":0,"relevance_score":0.7}],"meta":{"billed_units":{"search_units":1}}}"#,
        ),
        Case {
            tokens: [Some(17), None, None, None, None],
            ..text(
                Operation::Rerank,
                "reranking billed by tokens",
                r#"{"results":[{"index":0}],"usage":{"total_tokens":17}}"#,
            )
        },
        Case {
            tokens: [Some(9), None, None, None, None],
            ..text(
                Operation::Predict,
                "predicted embeddings",
                r#"{"predictions":[{"embeddings":{"values":[0.1],"statistics":{"token_count":4,"truncated":false}}},{"embeddings":{"values":[0.2],"statistics":{"token_count":5.0}}}]}"#,
            )
        },
        Case {
            operation: None,
            ..text(
                Operation::Chat,
                "a response that is not of a model",
                r#"{"greeting":"hello","error":""}"#,
            )
        },
        Case {
            operation: None,
            is_successful: false,
            ..text(Operation::Chat, "an empty object", "{}")
        },
        Case {
            is_successful: false,
            ..text(
                Operation::Chat,
                "a response of another format",
                r#"{"greeting":"hello"}"#,
            )
        },
        Case {
            layout: ResponseLayout::Other,
            ending: Ending::Unknown,
            is_successful: false,
            ..text(Operation::Chat, "a page", "<!doctype html><html>{}</html>")
        },
        Case {
            layout: ResponseLayout::Undetermined,
            ending: Ending::Unknown,
            is_successful: false,
            ..text(Operation::Chat, "nothing", " \n")
        },
        Case {
            ending: Ending::Unknown,
            is_successful: false,
            ..stream(
                Operation::Chat,
                "comments",
                ": keep-alive\n\n: keep-alive\n\n".to_owned(),
            )
        },
    ]
}

pub(super) fn of_no_format() -> Vec<Case> {
    vec![
        Case {
            contents: 2,
            ..foreign(
                Operation::OllamaChat,
                "events of another format",
                "event: message\ndata: {\"text\":\"a\",\"status\":\"failed\"}\n\n\
                 event: ping\ndata: {\"at\":7}\n\n\
                 event: message_stop\ndata: {\"type\":\"message\",\"text\":\"b\"}\n\n",
            )
        },
        foreign(
            Operation::Images,
            "an error event of image generation",
            "event: error\ndata: {\"at\":7}\n\n",
        ),
        foreign(
            Operation::OllamaChat,
            "events with a done marker",
            "data: {\"step\":0,\"done\":false}\n\ndata: {\"done\":true}\n\n",
        ),
        Case {
            is_successful: false,
            ..text(
                Operation::Responses,
                "an unrelated status",
                r#"{"id":5,"status":"failed","messages":["a"]}"#,
            )
        },
        Case {
            is_successful: false,
            ..text(
                Operation::Embeddings,
                "an array of vectors",
                "[[0.1],[0.3]]",
            )
        },
    ]
}
