use super::*;
use crate::clock;

const ROLE: &str = r#"data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}]}"#;

fn read(operation: Operation, stream: &str) -> ResponseStart {
    let mut whole = StartReader::new(ResponseFormat::Sse, Some(operation));
    whole.feed(stream.as_bytes(), clock::now());
    let mut bytewise = StartReader::new(ResponseFormat::Sse, Some(operation));
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
    // A document that may be an error, and one that cannot.
    for (beginning, bytes) in [
        ("{\"error\":null,\"output\":\"", ERROR_BYTES_MAX),
        ("{\"output\":\"", UNNAMED_BYTES_MAX),
    ] {
        let mut document = beginning.to_owned();
        document.push_str(&"a".repeat(bytes - beginning.len()));
        let (shorter, _) = document.split_at(bytes - 1);
        assert_eq!(read_json(shorter), ResponseStart::Pending, "{bytes}");
        assert_eq!(read_json(&document), ResponseStart::Begun, "{bytes}");
    }
}

fn read_json(document: &str) -> ResponseStart {
    let mut reader = StartReader::new(ResponseFormat::Json, Some(Operation::Responses));
    reader.feed(document.as_bytes(), clock::now());
    reader.found()
}

#[test]
fn errors_in_place_of_a_document_are_found() {
    for (operation, document) in [
        (
            Operation::Chat,
            r#"{"id":"gen-1","error":{"code":502,"message":"x"}}"#,
        ),
        (
            Operation::Chat,
            r#"{"choices":null,"base_resp":{"status_code":1002}}"#,
        ),
        (
            Operation::Messages,
            "\n \n{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
        ),
        (
            Operation::Responses,
            r#"{"id":"resp_1","object":"response","status":"failed","error":{"code":"server_error"}}"#,
        ),
        (
            Operation::GenerateContent,
            "\u{feff}{\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\"}}",
        ),
        (Operation::GenerateContent, r#"[{"error":{"code":503}}]"#),
        (Operation::OllamaChat, "{\"error\":\"out of memory\"}\n"),
    ] {
        assert_eq!(
            read(operation, document),
            ResponseStart::Failed,
            "{document}"
        );
        let (begin, _) = document.split_at(document.len() - 3);
        assert_eq!(read(operation, begin), ResponseStart::Pending, "{begin}");
    }
}

#[test]
fn documents_with_content_end_the_start() {
    for document in [
        r#"{"object":"response","status":"completed","error":null,"output":[]}"#,
        r#"{"choices":[{"index":0,"message":{"content":"an \"error\""},"finish_reason":"stop"}]}"#,
        // Streams of documents begin with the first one.
        r#"[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#,
        r#"{"message":{"content":"a"},"done":false}"#,
    ] {
        assert_eq!(
            read(Operation::Chat, document),
            ResponseStart::Begun,
            "{document}"
        );
    }
    // Neither events nor JSON.
    let mut reader = StartReader::new(ResponseFormat::Json, Some(Operation::Chat));
    reader.feed(b"hello", clock::now());
    assert_eq!(reader.found(), ResponseStart::Begun);
}
