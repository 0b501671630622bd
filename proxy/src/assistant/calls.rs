//! All calls except chat, and what all calls share.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::Options;
use super::random::Random;
use crate::clock;

pub(super) type BoxBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Texts of one embeddings call: the limit of the OpenAI API.
const INPUTS_MAX: usize = 2048;
const DIMENSIONS: usize = 16;
const MODELS: [&str; 2] = ["demo", "demo-embedding"];
const JSON: HeaderValue = HeaderValue::from_static("application/json");

static X_ASSISTANT_REQUESTS: HeaderName = HeaderName::from_static("x-assistant-requests");

/// The state that all connections share.
#[derive(Debug)]
pub(super) struct Assistant {
    pub(super) options: Options,
    random: Random,
    requests: AtomicU64,
}

impl Assistant {
    pub(super) fn new(options: Options) -> Self {
        Assistant {
            random: Random::seeded(options.seed),
            options,
            requests: AtomicU64::new(0),
        }
    }

    pub(super) async fn respond(&self, request: Request<Incoming>) -> Response<BoxBody> {
        let count = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let mut response = self.call(request, count).await;
        response
            .headers_mut()
            .insert(&X_ASSISTANT_REQUESTS, HeaderValue::from(count));
        response
    }

    async fn call(&self, request: Request<Incoming>, count: u64) -> Response<BoxBody> {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if matches!(head.method, Method::GET | Method::HEAD) {
            return match path {
                "/healthz" => text("ok\n"),
                "/v1/models" => models(),
                _ if path.starts_with("/v1/models/") => one_model(path),
                _ if path.starts_with("/static/") => file(path, &head.headers),
                "/v1/chat/completions" | "/v1/embeddings" => post_only(),
                _ => error(StatusCode::NOT_FOUND, "not found"),
            };
        }
        let body = match read(body).await {
            Ok(body) => body,
            Err(response) => return response,
        };
        let latency = self
            .random
            .around(self.options.latency, self.options.jitter);
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if let Some(failure) = self.failure() {
            return failure;
        }
        match path {
            "/v1/chat/completions" | "/v1/embeddings" if head.method != Method::POST => post_only(),
            "/v1/chat/completions" => self.chat(&body, count),
            "/v1/embeddings" => embeddings(&body),
            "/v1/audio/transcriptions" | "/v1/audio/translations" => transcription(&body),
            _ => json_response(
                StatusCode::OK,
                &json!({"method": head.method.as_str(), "path": path, "bytes": body.len()}),
            ),
        }
    }

    /// An error at the configured rate, half of them 503.
    fn failure(&self) -> Option<Response<BoxBody>> {
        let rate = self.options.error_rate;
        let drawn = self.random.ratio();
        if drawn >= rate {
            None
        } else if drawn < rate / 2.0 {
            Some(error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "simulated failure (--error-rate)",
            ))
        } else {
            Some(error(
                StatusCode::SERVICE_UNAVAILABLE,
                "simulated overload (--error-rate)",
            ))
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the body is bounded by Limited; its duration is bounded by the client, a test or weir"
)]
async fn read(body: Incoming) -> Result<Bytes, Response<BoxBody>> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(cause) if cause.is::<http_body_util::LengthLimitError>() => Err(error(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is larger than 32 MiB",
        )),
        Err(_) => Err(error(StatusCode::BAD_REQUEST, "the body is incomplete")),
    }
}

fn models() -> Response<BoxBody> {
    let list = MODELS.map(model);
    json_response(StatusCode::OK, &json!({"object": "list", "data": list}))
}

fn model(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "weir"})
}

fn one_model(path: &str) -> Response<BoxBody> {
    let name = path.strip_prefix("/v1/models/").unwrap_or_default();
    match MODELS.into_iter().find(|known| *known == name) {
        Some(known) => json_response(StatusCode::OK, &model(known)),
        None => error(StatusCode::NOT_FOUND, "no such model"),
    }
}

/// The synthetic text of a recording: its length and its hash.
fn transcription(body: &[u8]) -> Response<BoxBody> {
    let text = format!("You said {} bytes ({}).", body.len(), hash(body));
    json_response(StatusCode::OK, &json!({"text": text}))
}

#[derive(Deserialize)]
struct EmbeddingsCall {
    model: Option<String>,
    input: Value,
}

fn embeddings(body: &[u8]) -> Response<BoxBody> {
    let call: EmbeddingsCall = match serde_json::from_slice(body) {
        Ok(call) => call,
        Err(cause) => return malformed(&cause),
    };
    let inputs: Vec<Value> = match call.input {
        // A list of numbers is one tokenized text.
        Value::Array(list) if !list.is_empty() && !list[0].is_number() => list,
        input @ (Value::String(_) | Value::Array(_)) => vec![input],
        _ => return error(StatusCode::BAD_REQUEST, "input must be a text or a list"),
    };
    if inputs.len() > INPUTS_MAX {
        return error(StatusCode::BAD_REQUEST, "input has more than 2048 texts");
    }
    let mut tokens = 0;
    let mut data = Vec::with_capacity(inputs.len());
    for (index, input) in inputs.iter().enumerate() {
        let text = input.to_string();
        tokens += tokens_of(text.len());
        let vector: Vec<f64> = Sha256::digest(&text)[..DIMENSIONS]
            .iter()
            .map(|byte| f64::from(*byte) / 128.0 - 1.0)
            .collect();
        data.push(json!({"object": "embedding", "index": index, "embedding": vector}));
    }
    json_response(
        StatusCode::OK,
        &json!({
            "object": "list",
            "data": data,
            "model": call.model.as_deref().unwrap_or(MODELS[1]),
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }),
    )
}

/// A small file that may be cached for a minute and revalidated by its `ETag`.
fn file(path: &str, headers: &HeaderMap) -> Response<BoxBody> {
    let content = format!("This is {path} of the demo assistant.\n");
    let tag = format!("\"{}\"", hash(content.as_bytes()));
    let is_unmodified = headers
        .get(IF_NONE_MATCH)
        .is_some_and(|value| value.as_bytes() == tag.as_bytes() || value == "*");
    let mut response = if is_unmodified {
        let mut response = Response::new(whole(Bytes::new()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        text(content)
    };
    let headers = response.headers_mut();
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=60"),
    );
    if let Ok(tag) = HeaderValue::try_from(tag) {
        headers.insert(ETAG, tag);
    }
    response
}

fn post_only() -> Response<BoxBody> {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "this call requires POST");
    response
        .headers_mut()
        .insert(ALLOW, HeaderValue::from_static("POST"));
    response
}

/// The first 16 hex digits of SHA-256: the fingerprint of a request in its response.
pub(super) fn hash(text: &[u8]) -> String {
    base16ct::lower::encode_string(&Sha256::digest(text)[..8])
}

/// About the number of tokens of a text.
pub(super) fn tokens_of(text_bytes: usize) -> usize {
    text_bytes.div_ceil(4).max(1)
}

/// Whole seconds since the Unix epoch.
pub(super) fn created() -> u64 {
    clock::unix_now().as_secs()
}

pub(super) fn malformed(cause: &serde_json::Error) -> Response<BoxBody> {
    error(StatusCode::BAD_REQUEST, &format!("invalid body: {cause}"))
}

/// An error in the format of the OpenAI API.
pub(super) fn error(status: StatusCode, message: &str) -> Response<BoxBody> {
    let kind = if status.is_server_error() {
        "server_error"
    } else {
        "invalid_request_error"
    };
    let error = json!({"error": {"message": message, "type": kind, "param": null, "code": null}});
    json_response(status, &error)
}

pub(super) fn json_response(status: StatusCode, value: &Value) -> Response<BoxBody> {
    let mut response = Response::new(whole(value.to_string().into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, JSON);
    response
}

fn text(content: impl Into<Bytes>) -> Response<BoxBody> {
    let mut response = Response::new(whole(content.into()));
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    response
}

fn whole(content: Bytes) -> BoxBody {
    Full::new(content).boxed_unsync()
}
