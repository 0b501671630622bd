//! Responses with status 200 that fail before any content, in every format.

use weir_tests::backend::{BackendResponse, ReceivedRequest};

/// A response with status 200 that starts, and fails before any content.
pub(super) struct FailingStart {
    pub(super) path: &'static str,
    pub(super) question: &'static str,
    start: &'static [&'static str],
    error: &'static str,
    /// A whole response with the content `fine`.
    pub(super) whole: &'static [&'static str],
}

pub(super) const FAILING_STARTS: [FailingStart; 11] = [
    FailingStart {
        path: "/v1/chat/completions",
        question: r#"{"model":"m-1","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
        start: &[
            "data: {\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n",
        ],
        error: "data: {\"error\":{\"message\":\"the model is gone\",\"code\":500}}\n\n",
        whole: &[
            "data: {\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"fine\"}}]}\n\n",
            "data: {\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n",
        ],
    },
    // The error is the first event.
    FailingStart {
        path: "/v1/chat/completions",
        question: r#"{"model":"m-1","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
        start: &[],
        error: "data: {\"error\":{\"message\":\"overloaded\",\"type\":\"server_error\"}}\n\n",
        whole: &[
            "data: {\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"fine\"},\"finish_reason\":\"stop\"}]}\n\n",
            "data: [DONE]\n\n",
        ],
    },
    FailingStart {
        path: "/v1/messages",
        question: r#"{"model":"m-1","stream":true,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
        start: &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m-1\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
            "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        ],
        error: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"try later\"}}\n\n",
        whole: &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m-1\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"fine\"}}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ],
    },
    FailingStart {
        path: "/v1/responses",
        question: r#"{"model":"m-1","stream":true,"store":false,"input":"hi"}"#,
        start: &[
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m-1\",\"status\":\"in_progress\",\"output\":[]}}\n\n",
        ],
        error: "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"no\"}}}\n\n",
        whole: &[
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m-1\",\"status\":\"in_progress\",\"output\":[]}}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"fine\"}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"m-1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n",
        ],
    },
    FailingStart {
        path: "/v1beta/models/m-1:streamGenerateContent?alt=sse",
        question: r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
        start: &[],
        error: "data: {\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\n\n",
        whole: &[
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"fi\"}],\"role\":\"model\"}}],\"modelVersion\":\"m-1\"}\n\n",
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"ne\"}],\"role\":\"model\"},\"finishReason\":\"STOP\"}],\"modelVersion\":\"m-1\"}\n\n",
        ],
    },
    // Without a stream, an error takes the place of the whole document.
    FailingStart {
        path: "/v1/chat/completions",
        question: r#"{"model":"m-1","messages":[{"role":"user","content":"hi"}]}"#,
        start: &[],
        error: r#"{"id":"gen-1","error":{"message":"Provider returned error","code":502}}"#,
        whole: &[
            r#"{"object":"chat.completion","model":"m-1","choices":[{"index":0,"message":{"role":"assistant","content":"fine"},"finish_reason":"stop"}]}"#,
        ],
    },
    FailingStart {
        path: "/v1/messages",
        question: r#"{"model":"m-1","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
        start: &[],
        error: r#"{"type":"error","error":{"type":"overloaded_error","message":"try later"}}"#,
        whole: &[
            r#"{"type":"message","model":"m-1","role":"assistant","content":[{"type":"text","text":"fine"}],"stop_reason":"end_turn","usage":{"input_tokens":9,"output_tokens":1}}"#,
        ],
    },
    FailingStart {
        path: "/v1/responses",
        question: r#"{"model":"m-1","store":false,"input":"hi"}"#,
        start: &[],
        error: r#"{"id":"resp_1","object":"response","model":"m-1","status":"failed","error":{"code":"server_error","message":"no"},"output":[]}"#,
        whole: &[
            r#"{"id":"resp_1","object":"response","model":"m-1","status":"completed","error":null,"output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"fine"}]}],"usage":{"input_tokens":3,"output_tokens":2}}"#,
        ],
    },
    FailingStart {
        path: "/v1beta/models/m-1:generateContent",
        question: r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
        start: &[],
        error: r#"{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}"#,
        whole: &[
            r#"{"candidates":[{"content":{"parts":[{"text":"fine"}],"role":"model"},"finishReason":"STOP"}],"modelVersion":"m-1"}"#,
        ],
    },
    // A stream of documents in an array.
    FailingStart {
        path: "/v1beta/models/m-1:streamGenerateContent",
        question: r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
        start: &[],
        error: r#"[{"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}]"#,
        whole: &[
            r#"[{"candidates":[{"content":{"parts":[{"text":"fi"}],"role":"model"}}],"modelVersion":"m-1"},"#,
            r#"{"candidates":[{"content":{"parts":[{"text":"ne"}],"role":"model"},"finishReason":"STOP"}],"modelVersion":"m-1"}]"#,
        ],
    },
    // Lines of documents.
    FailingStart {
        path: "/api/chat",
        question: r#"{"model":"m-1","messages":[{"role":"user","content":"hi"}]}"#,
        start: &[],
        error: "{\"error\":\"out of memory\"}\n",
        whole: &[
            "{\"model\":\"m-1\",\"message\":{\"role\":\"assistant\",\"content\":\"fine\"},\"done\":false}\n",
            "{\"model\":\"m-1\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"eval_count\":1}\n",
        ],
    },
];

impl FailingStart {
    /// The case that a request names.
    pub(super) fn of(request: &ReceivedRequest) -> &'static Self {
        let number = request
            .header("x-case")
            .and_then(|number| number.parse().ok());
        &FAILING_STARTS[number.unwrap_or(0_usize)]
    }

    pub(super) fn failed(&self) -> BackendResponse {
        let mut parts = self.start.to_vec();
        parts.push(self.error);
        chunked(&parts)
    }

    pub(super) fn succeeded(&self) -> BackendResponse {
        chunked(self.whole)
    }
}

fn chunked(parts: &[&'static str]) -> BackendResponse {
    let content_type = match parts[0].starts_with(['{', '[']) {
        true => "application/json",
        false => "text/event-stream",
    };
    let chunks = parts.iter().map(|part| part.as_bytes().into());
    BackendResponse::chunks(content_type, chunks.collect())
}
