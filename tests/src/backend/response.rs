//! Prepared responses of a fake backend.

use std::io::Result;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::wire::ReceivedRequest;
use crate::wait;

/// A prepared response.
#[derive(Clone, Debug)]
pub struct BackendResponse {
    version: &'static str,
    status: u16,
    headers: Vec<(String, String)>,
    chunks: Vec<Bytes>,
    framing: BodyFraming,
    end: End,
    /// The delay between the last chunk and the end of the body.
    end_delay: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyFraming {
    Length,
    Chunked,
    /// The body ends with the connection.
    UntilClose,
    /// Without a body: for HEAD, 204 and 304.
    HeadOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// Sends all chunks, and closes the connection without the end of the body.
    Truncated,
    /// As [`End::Truncated`], with a reset.
    Reset,
    /// Resets the connection without a head.
    ResetImmediately,
}

impl BackendResponse {
    /// No body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        BackendResponse {
            version: "HTTP/1.1",
            status,
            headers: Vec::new(),
            chunks: Vec::new(),
            framing: BodyFraming::Length,
            end: End::Whole,
            end_delay: Duration::ZERO,
        }
    }

    #[must_use]
    pub fn json(body: &Value) -> Self {
        Self::bytes("application/json", body.to_string())
    }

    #[must_use]
    pub fn bytes(content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut response = Self::status(200).header("content-type", content_type);
        response.chunks = vec![body.into()];
        response
    }

    /// Chunked, with these chunks.
    #[must_use]
    pub fn chunks(content_type: &str, chunks: Vec<Bytes>) -> Self {
        let mut response = Self::status(200)
            .header("content-type", content_type)
            .chunked();
        response.chunks = chunks;
        response
    }

    /// Chunked, `count` times the same chunk, stored once.
    #[must_use]
    pub fn repeated(chunk: &[u8], count: usize) -> Self {
        let chunk = Bytes::copy_from_slice(chunk);
        Self::chunks("application/octet-stream", vec![chunk; count])
    }

    /// Server-sent events, one chunk each.
    #[must_use]
    pub fn events(data: &[&str]) -> Self {
        let chunks = data.iter().map(|data| event(data).into()).collect();
        Self::chunks("text/event-stream", chunks)
    }

    /// The received request as JSON: `method`, `target`, `headers` (a list of pairs), `bytes`,
    /// `sha256`.
    #[must_use]
    pub fn echo(request: &ReceivedRequest) -> Self {
        Self::json(&json!({
            "method": request.method,
            "target": request.target,
            "headers": request.headers,
            "bytes": request.body_bytes,
            "sha256": request.body_sha256,
        }))
    }

    /// A complete chat response with usage: 7 input and 3 output tokens.
    #[must_use]
    pub fn chat(content: &str) -> Self {
        Self::json(&json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "glm-4",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }))
    }

    /// A streamed chat response: an event for each word, the finish reason, the usage (7 input tokens, an output token for
    /// each word), and `[DONE]`.
    #[must_use]
    pub fn chat_stream(words: &[&str]) -> Self {
        let mut data: Vec<String> = words.iter().map(|word| chat_event(word)).collect();
        data.extend(chat_end(words.len()));
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        Self::events(&data)
    }

    /// A stream or a complete response, as requested.
    #[must_use]
    pub fn chat_for(request: &ReceivedRequest) -> Self {
        let prompt: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        if prompt["stream"] == true {
            Self::chat_stream(&["well ", "then", "."])
        } else {
            Self::chat("well then.")
        }
    }

    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.chunks.concat()
    }

    #[must_use]
    pub fn with_length(mut self) -> Self {
        self.framing = BodyFraming::Length;
        self
    }

    #[must_use]
    pub fn chunked(mut self) -> Self {
        self.framing = BodyFraming::Chunked;
        self
    }

    #[must_use]
    pub fn until_close(mut self) -> Self {
        self.framing = BodyFraming::UntilClose;
        self
    }

    /// As a response of HTTP/1.0: the body ends with the connection, complete or not.
    #[must_use]
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self.until_close()
    }

    #[must_use]
    pub fn head_only(mut self) -> Self {
        self.framing = BodyFraming::HeadOnly;
        self
    }

    /// Closes the connection after the chunks, without the end of the body.
    #[must_use]
    pub fn truncated(mut self) -> Self {
        self.end = End::Truncated;
        self
    }

    /// Ends the body with this delay after the last chunk.
    #[must_use]
    pub fn with_end_delay(mut self, end_delay: Duration) -> Self {
        self.end_delay = end_delay;
        self
    }

    /// Resets the connection after the chunks, without the end of the body.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.end = End::Reset;
        self
    }

    /// Resets the connection instead of responding.
    #[must_use]
    pub fn reset_immediately() -> Self {
        let mut response = Self::status(200);
        response.end = End::ResetImmediately;
        response
    }

    /// Head and body, for a response with a length.
    pub(super) fn bytes_at_once(&self) -> Vec<u8> {
        let mut bytes = self.head_bytes();
        bytes.extend(self.body());
        bytes
    }

    pub(super) fn ends_with_reset(&self) -> bool {
        matches!(self.end, End::Reset | End::ResetImmediately)
    }

    /// Sends the response; returns whether the connection can be reused.
    pub(super) async fn send(
        self,
        stream: &mut (impl AsyncWrite + Unpin),
        request: &ReceivedRequest,
    ) -> Result<bool> {
        if self.end == End::ResetImmediately {
            return Ok(false);
        }
        stream.write_all(&self.head_bytes()).await?;
        if self.framing != BodyFraming::HeadOnly && request.method != "HEAD" {
            for chunk in &self.chunks {
                match self.framing {
                    BodyFraming::Chunked => stream.write_all(&framed_chunk(chunk)).await?,
                    _ => stream.write_all(chunk).await?,
                }
            }
            if !self.end_delay.is_zero() {
                wait::sleep(self.end_delay).await;
            }
            if self.framing == BodyFraming::Chunked && self.end == End::Whole {
                stream.write_all(b"0\r\n\r\n").await?;
            }
        }
        stream.flush().await?;
        Ok(self.end == End::Whole && self.framing != BodyFraming::UntilClose)
    }

    fn head_bytes(&self) -> Vec<u8> {
        let sent: usize = self.chunks.iter().map(Bytes::len).sum();
        // A truncated response announces one byte that is not sent.
        let promised = sent + usize::from(self.end != End::Whole);
        let mut headers = self.headers.clone();
        match self.framing {
            BodyFraming::Length => headers.push(("content-length".into(), promised.to_string())),
            BodyFraming::Chunked => headers.push(("transfer-encoding".into(), "chunked".into())),
            BodyFraming::UntilClose => headers.push(("connection".into(), "close".into())),
            BodyFraming::HeadOnly => {}
        }
        let mut head = head(self.status, &headers);
        head.splice(..self.version.len(), self.version.bytes());
        head
    }
}

/// One server-sent event.
#[must_use]
pub(super) fn event(data: &str) -> String {
    format!("data: {data}\n\n")
}

/// The data of an event of a streamed chat response.
#[must_use]
pub fn chat_event(word: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "glm-4",
        "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": null}],
    })
    .to_string()
}

/// The data of the last events of a streamed chat response.
#[must_use]
pub(super) fn chat_end(tokens: usize) -> Vec<String> {
    let reason = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "glm-4",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    });
    let usage = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "glm-4", "choices": [],
        "usage": {"prompt_tokens": 7, "completion_tokens": tokens, "total_tokens": 7 + tokens},
    });
    vec![reason.to_string(), usage.to_string(), "[DONE]".to_owned()]
}

pub(super) fn framed_chunk(chunk: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", chunk.len()).into_bytes();
    framed.extend_from_slice(chunk);
    framed.extend_from_slice(b"\r\n");
    framed
}

pub(super) fn head(status: u16, headers: &[(String, String)]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Whatever\r\n");
    for (name, value) in headers {
        head.push_str(name);
        head.push_str(": ");
        head.push_str(value);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    head.into_bytes()
}
