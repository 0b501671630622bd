//! What a fake backend answers by itself.

use std::io::Result;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::wire::ReceivedRequest;
use crate::wait;

/// One canned answer.
#[derive(Clone, Debug)]
pub struct BackendResponse {
    version: &'static str,
    status: u16,
    headers: Vec<(String, String)>,
    pieces: Vec<Bytes>,
    framing: BodyFraming,
    end: End,
    /// How long after the last piece its framing ends.
    linger: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyFraming {
    Length,
    Chunked,
    /// Ends with the connection.
    UntilClose,
    /// A head only, as to HEAD, or with 204 and 304.
    HeadOnly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// All pieces are sent, then the connection is closed without the body's end.
    Cut,
    /// As [`End::Cut`], with a reset.
    Reset,
    /// Not even a head.
    ResetAtOnce,
}

impl BackendResponse {
    /// No body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        BackendResponse {
            version: "HTTP/1.1",
            status,
            headers: Vec::new(),
            pieces: Vec::new(),
            framing: BodyFraming::Length,
            end: End::Whole,
            linger: Duration::ZERO,
        }
    }

    #[must_use]
    pub fn json(body: &Value) -> Self {
        Self::bytes("application/json", body.to_string())
    }

    #[must_use]
    pub fn bytes(content_type: &str, body: impl Into<Bytes>) -> Self {
        let mut answer = Self::status(200).header("content-type", content_type);
        answer.pieces = vec![body.into()];
        answer
    }

    /// Chunked, one chunk a piece.
    #[must_use]
    pub fn pieces(content_type: &str, pieces: Vec<Bytes>) -> Self {
        let mut answer = Self::status(200)
            .header("content-type", content_type)
            .chunked();
        answer.pieces = pieces;
        answer
    }

    /// Chunked, `count` times the same piece, held in memory once.
    #[must_use]
    pub fn repeated(piece: &[u8], count: usize) -> Self {
        let piece = Bytes::copy_from_slice(piece);
        Self::pieces("application/octet-stream", vec![piece; count])
    }

    /// Server-sent events, one chunk each.
    #[must_use]
    pub fn events(data: &[&str]) -> Self {
        let pieces = data.iter().map(|data| event(data).into()).collect();
        Self::pieces("text/event-stream", pieces)
    }

    /// What was received, as JSON: `method`, `target`, `headers` (a list of pairs), `bytes`,
    /// `sha256`.
    #[must_use]
    pub fn echo(seen: &ReceivedRequest) -> Self {
        Self::json(&json!({
            "method": seen.method,
            "target": seen.target,
            "headers": seen.headers,
            "bytes": seen.body_bytes,
            "sha256": seen.body_sha256,
        }))
    }

    /// A whole chat answer with usage: 7 tokens in, 3 out.
    #[must_use]
    pub fn chat(content: &str) -> Self {
        Self::json(&json!({
            "id": "chatcmpl-1", "object": "chat.completion", "model": "glm-4",
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        }))
    }

    /// A streamed chat answer: one event a word, then the reason, the usage (7 in, as many out as
    /// words), and `[DONE]`.
    #[must_use]
    pub fn chat_stream(words: &[&str]) -> Self {
        let mut data: Vec<String> = words.iter().map(|word| chat_event(word)).collect();
        data.extend(chat_end(words.len()));
        let data: Vec<&str> = data.iter().map(String::as_str).collect();
        Self::events(&data)
    }

    /// As the question asks: a stream or a whole answer.
    #[must_use]
    pub fn chat_for(seen: &ReceivedRequest) -> Self {
        let question: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        if question["stream"] == true {
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

    /// All of the body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.pieces.concat()
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

    /// As a server of HTTP/1.0 answers: the body ends with the connection, whole or not.
    #[must_use]
    pub fn of_http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self.until_close()
    }

    #[must_use]
    pub fn head_only(mut self) -> Self {
        self.framing = BodyFraming::HeadOnly;
        self
    }

    /// Closes after the pieces, without the end of the body.
    #[must_use]
    pub fn cut(mut self) -> Self {
        self.end = End::Cut;
        self
    }

    /// Ends the body so long after its last piece.
    #[must_use]
    pub fn ending_after(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Resets the connection after the pieces, without the end of the body.
    #[must_use]
    pub fn reset(mut self) -> Self {
        self.end = End::Reset;
        self
    }

    /// Resets the connection instead of any answer.
    #[must_use]
    pub fn reset_at_once() -> Self {
        let mut answer = Self::status(200);
        answer.end = End::ResetAtOnce;
        answer
    }

    pub(super) fn ends_with_reset(&self) -> bool {
        matches!(self.end, End::Reset | End::ResetAtOnce)
    }

    /// Whether the connection can carry another request.
    pub(super) async fn send(
        self,
        stream: &mut (impl AsyncWrite + Unpin),
        seen: &ReceivedRequest,
    ) -> Result<bool> {
        if self.end == End::ResetAtOnce {
            return Ok(false);
        }
        stream.write_all(&self.head_bytes()).await?;
        if self.framing != BodyFraming::HeadOnly && seen.method != "HEAD" {
            for piece in &self.pieces {
                match self.framing {
                    BodyFraming::Chunked => stream.write_all(&chunk(piece)).await?,
                    _ => stream.write_all(piece).await?,
                }
            }
            if !self.linger.is_zero() {
                wait::pass(self.linger).await;
            }
            if self.framing == BodyFraming::Chunked && self.end == End::Whole {
                stream.write_all(b"0\r\n\r\n").await?;
            }
        }
        stream.flush().await?;
        Ok(self.end == End::Whole && self.framing != BodyFraming::UntilClose)
    }

    fn head_bytes(&self) -> Vec<u8> {
        let sent: usize = self.pieces.iter().map(Bytes::len).sum();
        // A cut answer promises one byte that never comes.
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

/// The data of one event of a streamed chat answer.
#[must_use]
pub fn chat_event(word: &str) -> String {
    json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "glm-4",
        "choices": [{"index": 0, "delta": {"content": word}, "finish_reason": null}],
    })
    .to_string()
}

/// The data of the last events of a streamed chat answer.
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

pub(super) fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut framed = format!("{:x}\r\n", piece.len()).into_bytes();
    framed.extend_from_slice(piece);
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
