//! Streams of every format, in their parts.

use weir_tests::client::ClientRequest;

use crate::request_path::body_modes::BodyMode;

/// The stream of a provider.
#[derive(Clone, Copy)]
pub(super) struct Format {
    pub(super) name: &'static str,
    pub(super) path: &'static str,
    pub(super) question: &'static str,
    pub(super) content_type: &'static str,
    /// The first parts, with some text.
    pub(super) begin: &'static [&'static str],
    /// The finish reason, where it precedes the terminal event.
    pub(super) reason: Option<&'static str>,
    /// The terminal event.
    pub(super) terminal: &'static str,
    /// The event that reports a failure instead.
    pub(super) error: &'static str,
}

const SSE: &str = "text/event-stream";

pub(super) const CHAT: Format = Format {
    name: "chat",
    path: "/v1/chat/completions",
    question: r#"{"model":"m-1","stream":true,"messages":[{"role":"user","content":"QUESTION"}]}"#,
    content_type: SSE,
    begin: &[
        "data: {\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"well\"}}]}\n\n",
    ],
    reason: Some(
        "data: {\"object\":\"chat.completion.chunk\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    ),
    terminal: "data: [DONE]\n\n",
    error: "data: {\"error\":{\"message\":\"the model is gone\",\"code\":500}}\n\n",
};

pub(super) const FORMATS: [Format; 8] = [
    CHAT,
    Format {
        name: "completions",
        path: "/v1/completions",
        question: r#"{"model":"m-1","stream":true,"prompt":"QUESTION"}"#,
        begin: &[
            "data: {\"object\":\"text_completion\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"text\":\"well\",\"finish_reason\":null}]}\r\n\r\n",
        ],
        reason: Some(
            "data: {\"object\":\"text_completion\",\"model\":\"m-1\",\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":\"length\"}]}\r\n\r\n",
        ),
        terminal: "data: [DONE]\r\n\r\n",
        error: "data: {\"error\":{\"message\":\"out of memory\",\"type\":\"server_error\"}}\r\n\r\n",
        ..CHAT
    },
    Format {
        name: "messages",
        path: "/v1/messages",
        begin: &[
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m-1\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"well\"}}\n\n",
        ],
        reason: Some(
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":4}}\n\n",
        ),
        terminal: "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        error: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"try later\"}}\n\n",
        ..CHAT
    },
    Format {
        name: "responses",
        path: "/v1/responses",
        question: r#"{"model":"m-1","stream":true,"store":false,"input":"QUESTION"}"#,
        begin: &[
            "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"m-1\",\"status\":\"in_progress\",\"output\":[]}}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"well\"}\n\n",
        ],
        reason: None,
        terminal: "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"m-1\",\"status\":\"completed\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"well\"}]}],\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}}\n\n",
        error: "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"error\":{\"code\":\"server_error\",\"message\":\"no\"}}}\n\n",
        ..CHAT
    },
    Format {
        name: "gemini",
        path: "/v1beta/models/m-1:streamGenerateContent?alt=sse",
        question: r#"{"contents":[{"parts":[{"text":"QUESTION"}]}]}"#,
        begin: &[
            "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"well\"}],\"role\":\"model\"}}],\"modelVersion\":\"m-1\"}\r\n\r\n",
        ],
        reason: None,
        terminal: "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"then\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"totalTokenCount\":5}}\r\n\r\n",
        error: "data: {\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}\r\n\r\n",
        ..CHAT
    },
    Format {
        name: "gemini's array",
        path: "/v1beta/models/m-1:streamGenerateContent",
        question: r#"{"contents":[{"parts":[{"text":"QUESTION"}]}]}"#,
        content_type: "application/json",
        begin: &[
            "[{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"well\"}]}}],\"modelVersion\":\"m-1\"}",
        ],
        reason: None,
        terminal: "\n,\r\n{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"then\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":3,\"candidatesTokenCount\":2,\"totalTokenCount\":5}}\n]\n",
        error: ",\n{\"error\":{\"code\":503,\"message\":\"overloaded\",\"status\":\"UNAVAILABLE\"}}]\n",
    },
    Format {
        name: "ollama",
        path: "/api/chat",
        content_type: "application/x-ndjson",
        begin: &[
            "{\"model\":\"m-1\",\"message\":{\"role\":\"assistant\",\"content\":\"well\"},\"done\":false}\n",
        ],
        reason: None,
        terminal: "{\"model\":\"m-1\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":2}\n",
        error: "{\"error\":\"the runner has stopped\"}\n",
        ..CHAT
    },
    Format {
        name: "cohere",
        path: "/v2/chat",
        begin: &[
            "event: message-start\ndata: {\"type\":\"message-start\",\"delta\":{\"message\":{\"role\":\"assistant\"}}}\n\n",
            "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":\"well\"}}}}\n\n",
        ],
        reason: None,
        terminal: "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"COMPLETE\",\"usage\":{\"tokens\":{\"input_tokens\":3,\"output_tokens\":2}}}}\n\n",
        error: "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\"}}\n\n",
        ..CHAT
    },
];

impl Format {
    /// Its request; the response does not depend on the prompt.
    pub(super) fn request(&self, prompt: &str, mode: BodyMode) -> ClientRequest {
        let body = self.question.replace("QUESTION", prompt);
        let request = match mode {
            BodyMode::Buffered => ClientRequest::post(self.path, body),
            BodyMode::PassedThrough => ClientRequest::chunked(self.path, body.as_bytes(), 7),
        };
        request.header("content-type", "application/json")
    }

    /// Everything before the terminal event.
    pub(super) fn open(&self) -> Vec<&'static str> {
        let parts = self.begin.iter().copied();
        parts.chain(self.reason).collect()
    }

    /// The whole stream.
    pub(super) fn whole(&self) -> String {
        self.open().concat() + self.terminal
    }
}
