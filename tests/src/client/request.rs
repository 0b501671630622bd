//! Builds requests.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Request, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use crate::sign::Headers;

pub(super) type Body = UnsyncBoxBody<Bytes, Infallible>;

/// The default host of requests.
const HOST: &str = "weir.test";

/// The path of chat requests.
pub const CHAT: &str = "/v1/chat/completions";

/// The body of a chat request.
#[must_use]
pub fn chat_request(prompt: &str, stream: bool) -> serde_json::Value {
    let messages = serde_json::json!([{"role": "user", "content": prompt}]);
    if stream {
        serde_json::json!({"model": "glm-4", "messages": messages, "stream": true,
                           "stream_options": {"include_usage": true}})
    } else {
        serde_json::json!({"model": "glm-4", "messages": messages})
    }
}

/// A request to send.
#[derive(Debug)]
pub struct ClientRequest {
    method: String,
    path: String,
    headers: Headers,
    payload: Payload,
}

#[derive(Debug)]
enum Payload {
    None,
    /// With a Content-Length.
    Whole(Bytes),
    /// Without a Content-Length: chunked over HTTP/1.1.
    Chunks(Vec<Bytes>),
    /// As [`Payload::Chunks`], sent by the test.
    StreamingResponse(mpsc::Receiver<Bytes>),
}

impl ClientRequest {
    #[must_use]
    pub fn new(method: &str, path: &str) -> Self {
        ClientRequest {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            payload: Payload::None,
        }
    }

    #[must_use]
    pub fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// With a Content-Length.
    #[must_use]
    pub fn post(path: &str, body: impl Into<Bytes>) -> Self {
        let mut request = Self::new("POST", path);
        request.payload = Payload::Whole(body.into());
        request
    }

    #[must_use]
    pub fn with_method(mut self, method: &str) -> Self {
        self.method = method.to_owned();
        self
    }

    /// A JSON body with its content type.
    #[must_use]
    pub fn json(path: &str, body: &serde_json::Value) -> Self {
        Self::post(path, body.to_string()).header("content-type", "application/json")
    }

    /// A chat request.
    #[must_use]
    pub fn chat(prompt: &str) -> Self {
        Self::json(CHAT, &chat_request(prompt, false))
    }

    /// A chat request for a stream.
    #[must_use]
    pub fn chat_stream(prompt: &str) -> Self {
        Self::json(CHAT, &chat_request(prompt, true))
    }

    /// Without a Content-Length, in chunks of at most `chunk_bytes`.
    #[must_use]
    pub fn chunked(path: &str, body: &[u8], chunk_bytes: usize) -> Self {
        let pieces = body.chunks(chunk_bytes).map(Bytes::copy_from_slice);
        let mut request = Self::new("POST", path);
        request.payload = Payload::Chunks(pieces.collect());
        request
    }

    /// Without a Content-Length; the body is sent through the returned channel, and ends when that is dropped.
    #[must_use]
    pub fn streamed(path: &str) -> (Self, mpsc::Sender<Bytes>) {
        let (sender, receiver) = mpsc::channel(8);
        let mut request = Self::new("POST", path);
        request.payload = Payload::StreamingResponse(receiver);
        (request, sender)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn headers(mut self, headers: Headers) -> Self {
        self.headers.extend(headers);
        self
    }

    pub(super) fn into_request(self, version: Version) -> Request<Body> {
        let mut host = HOST.to_owned();
        let mut builder = Request::builder().method(self.method.as_str());
        for (name, value) in &self.headers {
            if name.eq_ignore_ascii_case("host") {
                host.clone_from(value);
            } else {
                builder = builder.header(name, value);
            }
        }
        builder = if version == Version::HTTP_2 {
            builder.uri(format!("http://{host}{}", self.path))
        } else {
            builder.uri(&self.path).header("host", host)
        };
        let body = match self.payload {
            Payload::None => Empty::new().boxed_unsync(),
            Payload::Whole(bytes) => Full::new(bytes).boxed_unsync(),
            Payload::Chunks(pieces) => {
                let frames = stream::iter(pieces).map(|chunk| Ok(Frame::data(chunk)));
                StreamBody::new(frames).boxed_unsync()
            }
            Payload::StreamingResponse(receiver) => {
                let frames = stream::unfold(receiver, |mut receiver| async {
                    let chunk = receiver.recv().await?;
                    Some((Ok(Frame::data(chunk)), receiver))
                });
                StreamBody::new(frames).boxed_unsync()
            }
        };
        builder
            .version(version)
            .body(body)
            .expect("a valid request")
    }
}
