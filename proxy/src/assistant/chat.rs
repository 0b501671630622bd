//! The chat call: one JSON response, or the same text as a stream of events.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::calls::{Assistant, BoxBody, created, error, hash, json_response, malformed, tokens_of};

/// The text of a response after the hash of its request, repeated.
const WORDS: [&str; 16] = [
    " is",
    " what",
    " you",
    " asked,",
    " and",
    " this",
    " is",
    " how",
    " the",
    " water",
    " runs",
    " over",
    " the",
    " weir:",
    " steadily",
    " and",
];

#[derive(Deserialize)]
struct ChatCall<'a> {
    model: Option<String>,
    #[serde(borrow)]
    messages: &'a RawValue,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// A completion, before it is written as JSON or as a stream.
struct Completion {
    id: String,
    created: u64,
    model: String,
    /// The first token.
    hash: String,
    tokens: u32,
    finish_reason: &'static str,
    prompt_tokens: usize,
}

impl Assistant {
    pub(super) fn chat(&self, body: &[u8], count: u64) -> Response<BoxBody> {
        let call: ChatCall<'_> = match serde_json::from_slice(body) {
            Ok(call) => call,
            Err(cause) => return malformed(&cause),
        };
        let messages = call.messages.get();
        if !messages.starts_with('[') || messages[1..].trim_start().starts_with(']') {
            return error(
                StatusCode::BAD_REQUEST,
                "messages must be a list with at least one message",
            );
        }
        let requested = call.max_completion_tokens.or(call.max_tokens);
        let tokens = requested.map_or(self.options.tokens, |max| max.min(self.options.tokens));
        let hash = hash(messages.as_bytes());
        let completion = Completion {
            id: format!("chatcmpl-{hash}-{count}"),
            created: created(),
            model: call.model.unwrap_or_else(|| "demo".to_owned()),
            hash,
            tokens,
            finish_reason: if tokens < self.options.tokens {
                "length"
            } else {
                "stop"
            },
            prompt_tokens: tokens_of(messages.len()),
        };
        if call.stream.unwrap_or_default() {
            let options = call.stream_options;
            let include_usage = options.and_then(|options| options.include_usage);
            let usage = if include_usage.unwrap_or_default() {
                StreamUsage::Sent
            } else {
                StreamUsage::Omitted
            };
            streamed(completion, usage, self.options.token_interval)
        } else {
            json_response(StatusCode::OK, &completion.to_json())
        }
    }
}

impl Completion {
    fn token(&self, index: u32) -> &str {
        match index.checked_sub(1) {
            None => &self.hash,
            Some(index) => WORDS[index as usize % WORDS.len()],
        }
    }

    fn usage(&self) -> serde_json::Value {
        let completion_tokens = self.tokens as usize;
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion_tokens,
            "total_tokens": self.prompt_tokens + completion_tokens,
        })
    }

    fn to_json(&self) -> serde_json::Value {
        let content: String = (0..self.tokens).map(|index| self.token(index)).collect();
        json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": content},
                "finish_reason": self.finish_reason,
            }],
            "usage": self.usage(),
        })
    }
}

/// Whether a stream ends with a usage event, which the request enables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamUsage {
    Sent,
    Omitted,
}

/// The next event of a stream.
#[derive(Clone, Copy)]
enum StreamStep {
    Role,
    Token(u32),
    Finish,
    Usage,
    Done,
}

struct StreamWriter {
    completion: Completion,
    usage: StreamUsage,
    token_interval: Duration,
    /// The start of every event of this stream.
    prefix: String,
}

fn streamed(
    completion: Completion,
    usage: StreamUsage,
    token_interval: Duration,
) -> Response<BoxBody> {
    let prefix = format!(
        "data: {{\"id\":\"{}\",\"object\":\"chat.completion.chunk\",\"created\":{},\"model\":{},",
        completion.id,
        completion.created,
        json!(completion.model),
    );
    let writer = StreamWriter {
        completion,
        usage,
        token_interval,
        prefix,
    };
    let events = stream::unfold(Some((writer, StreamStep::Role)), |state| async move {
        let (writer, step) = state?;
        if let StreamStep::Token(1..) = step
            && !writer.token_interval.is_zero()
        {
            tokio::time::sleep(writer.token_interval).await;
        }
        let (event, next) = writer.write(step);
        let frame = Frame::data(Bytes::from(event));
        Some((Ok(frame), next.map(|step| (writer, step))))
    });
    let mut response = Response::new(StreamBody::new(events).boxed_unsync());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

impl StreamWriter {
    fn write(&self, step: StreamStep) -> (String, Option<StreamStep>) {
        match step {
            StreamStep::Role => (
                self.chunk("{\"role\":\"assistant\",\"content\":\"\"}", None),
                Some(self.after(0)),
            ),
            StreamStep::Token(index) => {
                // Tokens are hex digits and plain words: nothing needs escaping.
                let delta = format!("{{\"content\":\"{}\"}}", self.completion.token(index));
                (self.chunk(&delta, None), Some(self.after(index + 1)))
            }
            StreamStep::Finish => {
                let next = match self.usage {
                    StreamUsage::Sent => StreamStep::Usage,
                    StreamUsage::Omitted => StreamStep::Done,
                };
                (
                    self.chunk("{}", Some(self.completion.finish_reason)),
                    Some(next),
                )
            }
            StreamStep::Usage => {
                let event = format!(
                    "{}\"choices\":[],\"usage\":{}}}\n\n",
                    self.prefix,
                    self.completion.usage()
                );
                (event, Some(StreamStep::Done))
            }
            StreamStep::Done => ("data: [DONE]\n\n".to_owned(), None),
        }
    }

    fn after(&self, tokens_sent: u32) -> StreamStep {
        if tokens_sent < self.completion.tokens {
            StreamStep::Token(tokens_sent)
        } else {
            StreamStep::Finish
        }
    }

    fn chunk(&self, delta: &str, finish_reason: Option<&str>) -> String {
        // If the stream ends with the usage, all events before have the usage `null`.
        let usage = match self.usage {
            StreamUsage::Sent => ",\"usage\":null",
            StreamUsage::Omitted => "",
        };
        let reason = json!(finish_reason);
        format!(
            "{}\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]{usage}}}\n\n",
            self.prefix
        )
    }
}
