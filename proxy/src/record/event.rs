//! The structured event of a request, as in `proxy/tests/vectors/event.json`: ECS field names where ECS has
//! one, those of OpenTelemetry for `gen_ai`.
//!
//! It contains the listed fields and nothing else: no header but the user agent, no query string, and of a
//! body only what `events.content` enables. Texts that a client controls are truncated and escaped.

use std::time::Duration;

use super::json::ObjectWriter;
use crate::content::{Content, KEPT_BYTES_MAX, RecordedText};
use crate::ecs;
use crate::exchange::{ClientEnd, Exchange, ModelCall, NO_ROUTE, Stage, Timing, UpstreamNote};
use crate::model::usage::Usage;
use http::{Method, Version};

const DATASET: &str =
    r#""dataset":"weir.access","kind":"event","category":["web"],"type":["access"]"#;

pub(super) const PATH_BYTES_MAX: usize = 1024;
pub(super) const USER_AGENT_BYTES_MAX: usize = 512;
/// The longest name that DNS allows.
const DOMAIN_BYTES_MAX: usize = 255;
/// The maximum length of model names, finish reasons and other short texts from a client or a backend.
pub(super) const NAME_BYTES_MAX: usize = 128;
const FINISH_REASONS_MAX: usize = 16;

/// Formats events; holds what they all share.
#[derive(Debug)]
pub struct Format {
    /// The `service` object, rendered once.
    service: Vec<u8>,
}

impl Format {
    /// Formats the events of a service in `environment`.
    #[must_use]
    pub fn new(environment: &str) -> Self {
        let mut service = Vec::new();
        ObjectWriter::write(&mut service, |service| {
            service.word("name", "weir");
            service.word("version", env!("CARGO_PKG_VERSION"));
            service.text("environment", environment, NAME_BYTES_MAX);
        });
        Format { service }
    }

    /// Appends the event as one JSON object, without a newline. `duration` is that of the whole request.
    pub fn append(&self, exchange: &Exchange, duration: Duration, out: &mut Vec<u8>) {
        ObjectWriter::write(out, |event| {
            event.raw_with("@timestamp", |out| {
                ecs::write_timestamp(exchange.received_at, out);
            });
            event.members(ecs::VERSION_MEMBER);
            event.object("event", |fields| event_fields(fields, exchange, duration));
            event.text("platform", &exchange.platform, NAME_BYTES_MAX);
            event.millis("response_time", duration);
            if let Some(code) = exchange.error_code {
                event.word("error_code", code.as_str());
            }
            let route = exchange.route.as_deref().unwrap_or(NO_ROUTE);
            event.text("route", route, NAME_BYTES_MAX);
            if let Some(upstream) = &exchange.upstream {
                event.text("backend", &upstream.backend, NAME_BYTES_MAX);
            }
            event.object("client", |client| {
                client.address("ip", exchange.client_ip.to_canonical());
                if let Some(name) = &exchange.client_name {
                    client.text("key", name, NAME_BYTES_MAX);
                }
            });
            event.object("http", |http| http_fields(http, exchange));
            event.object("url", |url| {
                url.text("path", without_query(&exchange.path), PATH_BYTES_MAX);
                if let Some(domain) = &exchange.domain {
                    url.text("domain", domain, DOMAIN_BYTES_MAX);
                }
            });
            if let Some(user_agent) = &exchange.user_agent {
                event.object("user_agent", |object| {
                    object.lossy("original", user_agent.as_bytes(), USER_AGENT_BYTES_MAX);
                });
            }
            if exchange.trace.trace_id != [0; 16] {
                event.object("trace", |trace| trace.hex("id", &exchange.trace.trace_id));
                event.object("span", |span| span.hex("id", &exchange.trace.span_id));
            }
            event.raw("service", &self.service);
            let ratio = exchange.event_sampling.ratio(exchange, duration);
            event.object("weir", |weir| weir_fields(weir, exchange, ratio));
            gen_ai(event, &exchange.model);
        });
    }
}

/// The method of a request in events and metrics: a standard method (RFC 9110, RFC 5789) or `_OTHER`, as in
/// OpenTelemetry's `http.request.method`.
#[must_use]
pub fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        Method::CONNECT => "CONNECT",
        Method::TRACE => "TRACE",
        _ => "_OTHER",
    }
}

fn event_fields(fields: &mut ObjectWriter<'_>, exchange: &Exchange, duration: Duration) {
    let outcome = if exchange.error_code.is_some() || exchange.status >= 400 {
        "failure"
    } else {
        "success"
    };
    fields.word("id", exchange.id.as_str());
    fields.members(DATASET);
    fields.word("outcome", outcome);
    fields.integer(
        "duration",
        u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX),
    );
}

fn http_fields(http: &mut ObjectWriter<'_>, exchange: &Exchange) {
    http.word("version", version_name(exchange.version));
    http.object("request", |request| {
        request.word("id", exchange.id.as_str());
        request.word("method", method_name(&exchange.method));
        request.object("body", |body| {
            body.integer("bytes", exchange.request_body_bytes);
        });
    });
    http.object("response", |response| {
        response.integer("status_code", exchange.status.into());
        response.object("body", |body| {
            body.integer("bytes", exchange.response_body_bytes);
        });
    });
}

pub(super) fn version_name(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 => "0.9",
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        Version::HTTP_3 => "3",
        _ => "1.1",
    }
}

/// Ensures that no query is recorded, although the canonical path has none.
fn without_query(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

fn weir_fields(weir: &mut ObjectWriter<'_>, exchange: &Exchange, ratio: Option<f64>) {
    if let Some(signature) = &exchange.signature {
        weir.object("signature", |object| {
            object.word("scheme", signature.scheme);
            object.word("outcome", signature.outcome.as_str());
            if let Some(key) = signature.key {
                object.integer("key", key as u64);
            }
        });
    }
    if let Some(limit) = &exchange.limit {
        weir.object("rate_limit", |object| {
            object.word("outcome", limit.outcome.as_str());
            object.text("policy", &limit.policy, NAME_BYTES_MAX);
            object.integer("remaining", limit.remaining);
        });
    }
    if let Some(cache) = &exchange.cache {
        weir.object("cache", |object| {
            object.word("outcome", cache.outcome.as_str());
            object.word("tier", cache.tier.as_str());
            object.integer("age_s", cache.age_s);
            if let Some(key) = &cache.key {
                object.hex("key", key.id());
            }
            if let Some(reason) = cache.bypass {
                object.word("bypass", reason.as_str());
            }
        });
    }
    if let Some(upstream) = &exchange.upstream {
        weir.object("upstream", |object| upstream_fields(object, upstream));
    }
    weir.object("timing", |object| timing_fields(object, &exchange.timing));
    if let Some(content) = &exchange.content {
        weir.object("content", |object| content_fields(object, content));
    }
    if exchange.client == ClientEnd::Aborted {
        weir.boolean("client_aborted", true);
    }
    if exchange.model.usage.is_estimated() {
        weir.object("usage", |usage| usage.boolean("estimated", true));
    }
    if let Some(ratio) = ratio {
        weir.raw("sampling_ratio", ratio.to_string().as_bytes());
    }
}

fn content_fields(object: &mut ObjectWriter<'_>, content: &Content) {
    for (kept, text_key, hash_key) in [
        (&content.input, "input", "input_sha256"),
        (&content.output, "output", "output_sha256"),
    ] {
        match kept {
            Some(RecordedText::Redacted(text)) => object.text(text_key, text, KEPT_BYTES_MAX),
            Some(RecordedText::Hash(hash)) => {
                object.word(hash_key, &base16ct::lower::encode_string(hash));
            }
            None => {}
        }
    }
}

fn upstream_fields(object: &mut ObjectWriter<'_>, upstream: &UpstreamNote) {
    let last = upstream.last();
    if let Some(attempt) = last {
        object.text("endpoint", &attempt.endpoint, DOMAIN_BYTES_MAX);
    }
    object.integer("attempts", upstream.attempts().len() as u64);
    if upstream.attempts().len() > 1 {
        object.raw_with("tried", |out| tried(upstream, out));
    }
    if let Some(connect) = last.and_then(|attempt| attempt.connect) {
        object.millis("connect_ms", connect);
    }
    if let Some(first_byte) = last.and_then(|attempt| attempt.first_byte) {
        object.millis("first_byte_ms", first_byte);
    }
}

/// Each attempt in its order, with what it came to.
fn tried(upstream: &UpstreamNote, out: &mut Vec<u8>) {
    out.push(b'[');
    for (position, attempt) in upstream.attempts().iter().enumerate() {
        if position > 0 {
            out.push(b',');
        }
        ObjectWriter::write(out, |object| {
            object.text("backend", &attempt.backend, NAME_BYTES_MAX);
            object.text("endpoint", &attempt.endpoint, DOMAIN_BYTES_MAX);
            object.word("outcome", attempt.outcome().as_str());
            if let Some(status) = attempt.status {
                object.integer("status_code", status.into());
            }
        });
    }
    out.push(b']');
}

fn timing_fields(object: &mut ObjectWriter<'_>, timing: &Timing) {
    for stage in Stage::ALL {
        if let Some(spent) = timing.spent(stage) {
            object.millis(timing_key(stage), spent);
        }
    }
    object.millis("overhead_ms", timing.overhead());
}

const fn timing_key(stage: Stage) -> &'static str {
    match stage {
        Stage::Route => "route_ms",
        Stage::Body => "body_ms",
        Stage::Signature => "signature_ms",
        Stage::Limit => "limit_ms",
        Stage::Cache => "cache_ms",
        Stage::Backend => "backend_ms",
        Stage::Answer => "answer_ms",
    }
}

/// OpenTelemetry attributes of a model call; nothing for other requests.
fn gen_ai(event: &mut ObjectWriter<'_>, model: &ModelCall) {
    let has_response = model.response_model.is_some()
        || !model.finish_reasons.is_empty()
        || model.time_to_first_chunk.is_some();
    let has_usage = !model.usage.is_empty();
    let has_request = model.operation.is_some() || model.request_model.is_some();
    if !has_request && !has_response && !has_usage {
        return;
    }
    event.object("gen_ai", |object| {
        if let Some(operation) = model.operation {
            object.object("operation", |object| object.word("name", operation.name()));
        }
        if has_request {
            object.object("request", |request| {
                if let Some(name) = &model.request_model {
                    request.text("model", name, NAME_BYTES_MAX);
                }
                request.boolean("stream", model.request_stream);
            });
        }
        if has_response {
            object.object("response", |response| response_fields(response, model));
        }
        if has_usage {
            object.object("usage", |object| usage_fields(object, &model.usage));
        }
    });
}

fn usage_fields(object: &mut ObjectWriter<'_>, usage: &Usage) {
    if let Some(tokens) = usage.input_tokens {
        object.integer("input_tokens", tokens);
    }
    if let Some(tokens) = usage.output_tokens {
        object.integer("output_tokens", tokens);
    }
    for (group, key, tokens) in [
        ("cache_read", "input_tokens", usage.cache_read_tokens),
        (
            "cache_creation",
            "input_tokens",
            usage.cache_creation_tokens,
        ),
        ("reasoning", "output_tokens", usage.reasoning_tokens),
    ] {
        if let Some(tokens) = tokens {
            object.object(group, |object| object.integer(key, tokens));
        }
    }
}

fn response_fields(response: &mut ObjectWriter<'_>, model: &ModelCall) {
    if let Some(name) = &model.response_model {
        response.text("model", name, NAME_BYTES_MAX);
    }
    if !model.finish_reasons.is_empty() {
        let reasons = model.finish_reasons.iter().take(FINISH_REASONS_MAX);
        response.texts(
            "finish_reasons",
            reasons.map(|reason| &**reason),
            NAME_BYTES_MAX,
        );
    }
    if let Some(time) = model.time_to_first_chunk {
        response.millis("time_to_first_chunk_ms", time);
    }
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
