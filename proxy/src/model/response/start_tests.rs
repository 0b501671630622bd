use super::*;
use crate::clock;

const ROLE: &str = r#"data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}"#;

fn read(operation: Operation, stream: &str) -> ResponseStart {
    read_as(ResponseFormat::Sse, operation, stream)
}

fn read_as(format: ResponseFormat, operation: Operation, stream: &str) -> ResponseStart {
    let mut whole = StartReader::new(format, Some(operation));
    whole.feed(stream.as_bytes(), clock::now());
    let mut bytewise = StartReader::new(format, Some(operation));
    for byte in stream.as_bytes() {
        bytewise.feed(&[*byte], clock::now());
    }
    assert_eq!(whole.found(), bytewise.found(), "{stream}");
    whole.found()
}

#[test]
fn start_up_events_of_every_format_are_pending() {
    let azure = r#"data: {"object":"chat.completion.chunk","choices":[],"prompt_filter_results":[{"prompt_index":0}]}"#;
    let created = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"object\":\"response\",\"status\":\"in_progress\",\"error\":null,\"output\":[]}}";
    let progress = "event: response.in_progress\r\ndata: {\"type\":\"response.in_progress\"}\r";
    let anthropic = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"role\":\"assistant\",\"content\":[]}}";
    for (operation, events) in [
        (Operation::Chat, vec![ROLE, azure]),
        (Operation::Responses, vec![created, progress]),
        (
            Operation::Messages,
            vec![anthropic, "event: ping\ndata: {\"type\": \"ping\"}"],
        ),
        (
            Operation::CohereChat,
            vec![
                "event: message-start\ndata: {\"type\":\"message-start\"}",
                "data: {\"event_type\":\"stream-start\"}",
            ],
        ),
    ] {
        let stream: String = events.iter().map(|event| format!("{event}\n\n")).collect();
        assert_eq!(read(operation, &stream), ResponseStart::Pending, "{stream}");
        let failed = format!(
            "{stream}event: error\ndata: {{\"type\":\"error\",\"error\":{{\"message\":\"x\"}}}}\n\n"
        );
        assert_eq!(read(operation, &failed), ResponseStart::Failed, "{failed}");
    }
    assert_eq!(
        read(Operation::Chat, "\u{feff}id: 1\nretry: 5\n\n\n"),
        ResponseStart::Pending
    );
}

#[test]
fn content_comments_and_unknown_events_end_the_start() {
    for stream in [
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}}]}\n\n",
        "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\"}\n\n",
        "data: [DONE]\n\n",
        "data: {\"unknown\":1}\n\n",
        "event: unknown\n\n",
        ": OPENROUTER PROCESSING\n\n",
        ": a comment that has not",
        "{\"choices\":[]}\n",
    ] {
        assert_eq!(
            read(Operation::Chat, stream),
            ResponseStart::Begun,
            "{stream}"
        );
    }
}

#[test]
fn errors_of_every_format_are_found() {
    for (operation, stream) in [
        (
            Operation::Chat,
            "data: {\"error\":{\"message\":\"overloaded\"}}\n\n",
        ),
        (
            Operation::Responses,
            "data: {\"type\":\"response.failed\",\"response\":{\"object\":\"response\",\"status\":\"failed\"}}\n\n",
        ),
        (
            Operation::GenerateContent,
            "data: {\"error\":{\"code\":503}}\n\n",
        ),
        (
            Operation::Chat,
            "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"error\"}]}\n\n",
        ),
        (
            Operation::Chat,
            "data: {\"choices\":[],\"base_resp\":{\"status_code\":1002}}\n\n",
        ),
    ] {
        assert_eq!(read(operation, stream), ResponseStart::Failed, "{stream}");
    }
    // Content came first.
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"x\"}}\n\n";
    assert_eq!(read(Operation::Chat, stream), ResponseStart::Begun);
}

#[test]
fn an_error_without_its_blank_line_is_found_at_the_end() {
    for (stream, expected) in [
        (
            "data: {\"error\":{\"message\":\"x\"}}",
            ResponseStart::Failed,
        ),
        (
            "data: {\"error\":{\"message\":\"x\"}}\r",
            ResponseStart::Failed,
        ),
        (
            "data: {\"error\":{\"message\":\"x\"}}\n",
            ResponseStart::Failed,
        ),
        ("data: {\"choices\":[]}\n\n", ResponseStart::Pending),
        ("", ResponseStart::Pending),
    ] {
        let mut reader = StartReader::new(ResponseFormat::Sse, Some(Operation::Chat));
        reader.feed(stream.as_bytes(), clock::now());
        assert_eq!(reader.found(), ResponseStart::Pending, "{stream:?}");
        reader.finish(clock::now());
        assert_eq!(reader.found(), expected, "{stream:?}");
    }
}

#[test]
fn a_start_is_bounded() {
    let event = format!("{ROLE}\n\n");
    let events = |count| read(Operation::Chat, &event.repeat(count));
    assert_eq!(events(EVENTS_MAX - 1), ResponseStart::Pending);
    assert_eq!(events(EVENTS_MAX), ResponseStart::Begun);
    let mut reader = StartReader::new(ResponseFormat::Sse, Some(Operation::Chat));
    reader.feed(
        format!("data: {}", "a".repeat(BYTES_MAX)).as_bytes(),
        clock::now(),
    );
    assert_eq!(reader.found(), ResponseStart::Begun);
}

/// JSON with the operation that it responds to, and what its start is.
const JSON_STARTS: [(Operation, &str, ResponseStart); 17] = {
    use Operation::{Chat, GenerateContent, Messages, OllamaChat, Responses};
    use ResponseStart::{Begun, Failed, Pending};
    [
        (Chat, r#"{"error":{"message":"overloaded"}}"#, Failed),
        (Chat, "\u{feff} \n[{\"error\":{\"code\":503}}]", Failed),
        (
            Messages,
            r#"{"type":"error","error":{"type":"overloaded_error"}}"#,
            Failed,
        ),
        (
            GenerateContent,
            r#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#,
            Failed,
        ),
        (Chat, "{\"error\":\"no model\"}\n", Failed),
        (
            Chat,
            r#"{"error":null,"choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}"#,
            Begun,
        ),
        (
            Chat,
            r#"{"choices":[{"index":0,"message":{"content":"an \"error\" is"},"finish_reason":"stop"}]}"#,
            Begun,
        ),
        (
            Chat,
            r#"{"id":"gen-1","error":{"code":502,"message":"x"}}"#,
            Failed,
        ),
        (
            Chat,
            r#"{"choices":null,"base_resp":{"status_code":1002}}"#,
            Failed,
        ),
        (
            Responses,
            r#"{"object":"response","status":"failed","error":{"code":"server_error"}}"#,
            Failed,
        ),
        (OllamaChat, "{\"error\":\"out of memory\"}\n", Failed),
        (
            Responses,
            r#"{"object":"response","status":"completed","error":null,"output":[]}"#,
            Begun,
        ),
        (
            GenerateContent,
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]}}]}\n",
            Begun,
        ),
        (Chat, "hello\n", Begun),
        (Chat, "{\"message\":{\"content\":\"a\"}}\n", Begun),
        (Chat, r#"{"error":{"message":"ov"#, Pending),
        (Chat, "{\"id\":\"", Pending),
    ]
};

#[test]
fn json_is_read_only_if_it_may_be_an_error() {
    let long = format!("{{\"choices\":\"{}", "a".repeat(JSON_PREFIX_BYTES));
    let code = format!("{{\"code\":0,\"choices\":\"{}", "a".repeat(JSON_BYTES_MAX));
    let large = [&*long, &*code].map(|text| (Operation::Chat, text, ResponseStart::Begun));
    for (operation, text, expected) in JSON_STARTS.into_iter().chain(large) {
        for format in [ResponseFormat::Json, ResponseFormat::Sse] {
            assert_eq!(read_as(format, operation, text), expected, "{text}");
        }
    }
    let events = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    assert_eq!(
        read_as(ResponseFormat::Json, Operation::Chat, events),
        ResponseStart::Failed
    );
}
