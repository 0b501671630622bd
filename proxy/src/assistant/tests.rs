//! The assistant on a real socket, called by hyper's client.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;
use crate::model::response::{ResponseFormat, ResponseReader};
use crate::model::usage::Origin;

mod behaviour;

struct Running {
    address: SocketAddr,
    client: Client<HttpConnector, Full<Bytes>>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("ASCII"))
    }
}

fn without_delay() -> Options {
    Options {
        latency: Duration::ZERO,
        jitter: Duration::ZERO,
        token_interval: Duration::ZERO,
        tokens: 5,
        ..Options::default()
    }
}

#[derive(Clone, Copy)]
enum Protocol {
    Http1,
    Http2,
}

async fn start(options: Options, protocol: Protocol) -> Running {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel();
    let task = tokio::spawn(serve(options, listener, async {
        let _ = stopped.await;
    }));
    let client = Client::builder(TokioExecutor::new())
        .http2_only(matches!(protocol, Protocol::Http2))
        .build_http();
    Running {
        address,
        client,
        stop: Some(stop),
        task,
    }
}

impl Running {
    async fn begin(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Response<Incoming> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        self.client.request(request).await.expect("a response")
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        whole(self.begin(method, path, headers, body).await).await
    }

    async fn chat(&self, body: Value) -> Reply {
        self.send(Method::POST, "/v1/chat/completions", &[], body.to_string())
            .await
    }
}

#[expect(clippy::disallowed_methods, reason = "bounded by Limited")]
async fn whole(response: Response<Incoming>) -> Reply {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, 1 << 20).collect().await;
    Reply {
        status: head.status,
        headers: head.headers,
        body: body.expect("a whole body").to_bytes(),
    }
}

fn chat_request(text: &str) -> Value {
    json!({"model": "glm-4", "messages": [{"role": "user", "content": text}]})
}

/// The text of a streamed response, and its last event before `[DONE]`.
fn streamed(reply: &Reply) -> (String, Value) {
    let text = std::str::from_utf8(&reply.body).expect("UTF-8");
    let mut events: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(events.pop(), Some("data: [DONE]"));
    let events: Vec<Value> = events
        .iter()
        .map(|event| {
            serde_json::from_str(event.strip_prefix("data: ").expect("data")).expect("JSON")
        })
        .collect();
    let content = events
        .iter()
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str());
    (content.collect(), events.last().cloned().expect("an event"))
}

#[tokio::test]
async fn a_request_has_the_same_text_in_json_and_as_a_stream() {
    for protocol in [Protocol::Http1, Protocol::Http2] {
        let running = start(without_delay(), protocol).await;
        let one = running.chat(chat_request("why")).await.json();
        let content = one["choices"][0]["message"]["content"]
            .as_str()
            .expect("content");
        assert_eq!(content.split(' ').count(), 5, "{content}");
        let messages = r#"[{"content":"why","role":"user"}]"#;
        assert!(
            content.starts_with(&calls::hash(messages.as_bytes())),
            "{content}"
        );
        assert_eq!(
            (&one["model"], &one["usage"]["completion_tokens"]),
            (&json!("glm-4"), &json!(5))
        );

        let other = running.chat(chat_request("how")).await.json();
        assert_ne!(other["choices"][0]["message"]["content"], content);

        let mut request = chat_request("why");
        request["stream"] = json!(true);
        let plain = running.chat(request.clone()).await;
        assert_eq!(plain.header("content-type"), "text/event-stream");
        let (text, last) = streamed(&plain);
        assert_eq!(
            (text.as_str(), &last["choices"][0]["finish_reason"]),
            (content, &json!("stop"))
        );
        assert!(last.get("usage").is_none());

        request["stream_options"] = json!({"include_usage": true});
        let (text, last) = streamed(&running.chat(request).await);
        assert_eq!(
            (text.as_str(), &last["usage"], &last["choices"]),
            (content, &one["usage"], &json!([]))
        );
    }
}

#[tokio::test]
async fn responses_are_read_by_the_response_reader() {
    let running = start(without_delay(), Protocol::Http1).await;
    let mut request = chat_request("why");
    let whole = running.chat(request.clone()).await;
    request["stream"] = json!(true);
    request["stream_options"] = json!({"include_usage": true});
    let stream = running.chat(request).await;
    for (format, reply, contents) in [
        (ResponseFormat::Json, whole, 0),
        (ResponseFormat::Sse, stream, 5),
    ] {
        let mut reader = ResponseReader::new(format, None);
        reader.feed(&reply.body, crate::clock::now());
        let usage = reader.finish();
        assert_eq!(
            (
                usage.model.as_deref(),
                usage.usage.output_tokens,
                usage.usage.origin
            ),
            (Some("glm-4"), Some(5), Origin::Reported)
        );
        assert_eq!(
            (&*usage.finish_reasons, usage.chunks_with_content),
            (&["stop".into()][..], contents)
        );
    }
}

#[tokio::test]
async fn max_tokens_limits_a_response() {
    let running = start(without_delay(), Protocol::Http1).await;
    for (max, tokens, reason) in [
        (2, 2, "length"),
        (0, 0, "length"),
        (5, 5, "stop"),
        (900, 5, "stop"),
    ] {
        let mut request = chat_request("why");
        request["max_tokens"] = json!(max);
        let whole = running.chat(request.clone()).await.json();
        assert_eq!(
            (
                &whole["usage"]["completion_tokens"],
                &whole["choices"][0]["finish_reason"]
            ),
            (&json!(tokens), &json!(reason))
        );
        request["stream"] = json!(true);
        let (text, last) = streamed(&running.chat(request).await);
        assert_eq!(
            (text.as_str(), &last["choices"][0]["finish_reason"]),
            (
                whole["choices"][0]["message"]["content"]
                    .as_str()
                    .expect("text"),
                &json!(reason)
            )
        );
    }
}

#[tokio::test]
async fn invalid_calls_get_errors_in_openai_format() {
    let running = start(without_delay(), Protocol::Http1).await;
    let chat = "/v1/chat/completions";
    let large = vec![b' '; 32 * 1024 * 1024 + 1];
    for (method, path, body, status) in [
        (Method::POST, chat, b"".to_vec(), 400),
        (Method::POST, chat, b"{".to_vec(), 400),
        (Method::POST, chat, b"[]".to_vec(), 400),
        (Method::POST, chat, b"{\"messages\":\"why\"}".to_vec(), 400),
        (Method::POST, chat, b"{\"messages\":[ ]}".to_vec(), 400),
        (Method::POST, chat, b"\xff\xfe".to_vec(), 400),
        (
            Method::POST,
            "/v1/embeddings",
            b"{\"input\":7}".to_vec(),
            400,
        ),
        (Method::POST, chat, large, 413),
        (Method::GET, chat, Vec::new(), 405),
        (Method::PUT, chat, Vec::new(), 405),
        (Method::GET, "/nothing", Vec::new(), 404),
    ] {
        let reply = running.send(method.clone(), path, &[], body).await;
        assert_eq!(reply.status, status, "{method} {path}");
        let error = &reply.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{method} {path}");
        assert!(error["message"].is_string(), "{method} {path}");
    }
}

#[tokio::test]
async fn other_calls_succeed_and_every_request_is_counted() {
    let running = start(without_delay(), Protocol::Http1).await;
    let health = running.send(Method::GET, "/healthz", &[], "").await;
    assert_eq!(
        (health.status, health.header("x-assistant-requests")),
        (StatusCode::OK, "1")
    );

    let models = running.send(Method::GET, "/v1/models", &[], "").await;
    assert_eq!(
        (
            &models.json()["object"],
            models.header("x-assistant-requests")
        ),
        (&json!("list"), "2")
    );

    let body = json!({"model": "e", "input": ["a", "b"]}).to_string();
    let reply = running
        .send(Method::POST, "/v1/embeddings", &[], body)
        .await
        .json();
    let vectors = reply["data"].as_array().expect("a list");
    assert_eq!((vectors.len(), &reply["model"]), (2, &json!("e")));
    assert_ne!(vectors[0]["embedding"], vectors[1]["embedding"]);

    let echo = running
        .send(Method::POST, "/hooks/x?y=1", &[], "12345")
        .await;
    assert_eq!(
        echo.json(),
        json!({"method": "POST", "path": "/hooks/x", "bytes": 5})
    );
    assert_eq!(echo.header("x-assistant-requests"), "4");
}

#[tokio::test]
async fn a_file_can_be_cached_and_revalidated() {
    let running = start(without_delay(), Protocol::Http1).await;
    let first = running.send(Method::GET, "/static/a.txt", &[], "").await;
    let tag = first.header("etag").to_owned();
    assert_eq!(first.header("cache-control"), "public, max-age=60");
    let again = running
        .send(Method::GET, "/static/a.txt", &[("if-none-match", &tag)], "")
        .await;
    assert_eq!(
        (again.status, again.body.len(), again.header("etag")),
        (StatusCode::NOT_MODIFIED, 0, &*tag)
    );
    let other = running
        .send(Method::GET, "/static/b.txt", &[("if-none-match", &tag)], "")
        .await;
    assert_eq!(other.status, StatusCode::OK);
    let head = running.send(Method::HEAD, "/static/a.txt", &[], "").await;
    assert_eq!((head.body.len(), head.header("etag")), (0, &*tag));
    assert_eq!(head.header("content-length"), first.body.len().to_string());
}
