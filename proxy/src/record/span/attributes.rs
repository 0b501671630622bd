//! The attributes of spans.

use std::time::Duration;

use super::super::event::{NAME_BYTES_MAX, PATH_BYTES_MAX, method_name, version_name};
use super::super::otlp::wire::{AttributeValue, ProtoMessage};
use crate::exchange::{Attempt, ClientEnd, Exchange, Stage};
use crate::model::usage::Usage;

/// The field of a `Span`.
const ATTRIBUTES: u32 = 9;
const FINISH_REASONS_MAX: usize = 16;

pub(super) fn request(all: &mut Attributes<'_, '_>, exchange: &Exchange) {
    all.add(
        "http.request.method",
        AttributeValue::Text(method_name(&exchange.method)),
    );
    all.add(
        "network.protocol.version",
        AttributeValue::Text(version_name(exchange.version)),
    );
    all.add(
        "http.response.status_code",
        AttributeValue::Integer(exchange.status.into()),
    );
    all.add(
        "http.request.body.size",
        AttributeValue::Integer(exchange.request_body_bytes),
    );
    all.add(
        "http.response.body.size",
        AttributeValue::Integer(exchange.response_body_bytes),
    );
    if let Some(code) = exchange.error_code {
        all.add("error.type", AttributeValue::Text(code.as_str()));
    } else if exchange.failed() {
        all.add(
            "error.type",
            AttributeValue::Text(&exchange.status.to_string()),
        );
    }
}

/// The decisions of weir's stages, named as in the event.
pub(super) fn own(all: &mut Attributes<'_, '_>, exchange: &Exchange) {
    all.add(
        "weir.request.id",
        AttributeValue::Text(exchange.id.as_str()),
    );
    all.text("weir.platform", &exchange.platform, NAME_BYTES_MAX);
    if let Some(route) = &exchange.route {
        all.text("weir.route", route, NAME_BYTES_MAX);
    }
    if let Some(name) = &exchange.client_name {
        all.text("weir.client.key", name, NAME_BYTES_MAX);
    }
    if let Some(signature) = &exchange.signature {
        all.add(
            "weir.signature.scheme",
            AttributeValue::Text(signature.scheme),
        );
        all.add(
            "weir.signature.outcome",
            AttributeValue::Text(signature.outcome.as_str()),
        );
    }
    if let Some(limit) = &exchange.limit {
        all.text("weir.rate_limit.policy", &limit.policy, NAME_BYTES_MAX);
        all.add(
            "weir.rate_limit.outcome",
            AttributeValue::Text(limit.outcome.as_str()),
        );
    }
    if let Some(cache) = &exchange.cache {
        all.add(
            "weir.cache.outcome",
            AttributeValue::Text(cache.outcome.as_str()),
        );
        all.add("weir.cache.tier", AttributeValue::Text(cache.tier.as_str()));
    }
    if exchange.client == ClientEnd::Aborted {
        all.add("weir.client_aborted", AttributeValue::Flag(true));
    }
    for stage in Stage::ALL {
        if let Some(spent) = exchange.timing.spent(stage) {
            all.add(timing_key(stage), millis(spent));
        }
    }
    all.add(
        "weir.timing.overhead_ms",
        millis(exchange.timing.overhead()),
    );
}

const fn timing_key(stage: Stage) -> &'static str {
    match stage {
        Stage::Route => "weir.timing.route_ms",
        Stage::Body => "weir.timing.body_ms",
        Stage::Signature => "weir.timing.signature_ms",
        Stage::Limit => "weir.timing.limit_ms",
        Stage::Cache => "weir.timing.cache_ms",
        Stage::Backend => "weir.timing.backend_ms",
        Stage::Answer => "weir.timing.answer_ms",
    }
}

/// The endpoint of an attempt: `server.address`, `server.port`, and the full URL without its query. The address of a
/// Unix socket is its path, and its URLs have the host `localhost`.
pub(super) fn endpoint(all: &mut Attributes<'_, '_>, attempt: &Attempt, exchange: &Exchange) {
    // `scheme://host:port` or `unix:/path`, as the configuration was checked.
    let endpoint = &attempt.endpoint;
    let path = cut(&exchange.path, PATH_BYTES_MAX);
    let mut add_url = |scheme: &str, authority: &str| {
        let url = format!("{scheme}://{authority}{path}");
        all.add("url.full", AttributeValue::Text(&url));
    };
    let Some((scheme, authority)) = endpoint.split_once("://") else {
        if let Some(socket) = endpoint.strip_prefix("unix:") {
            add_url("http", "localhost");
            all.add("server.address", AttributeValue::Text(socket));
        }
        return;
    };
    let scheme = if scheme == "https" { "https" } else { "http" };
    add_url(scheme, authority);
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    };
    let default_port = if scheme == "https" { 443 } else { 80 };
    let host = host.trim_matches(['[', ']']);
    all.add("server.address", AttributeValue::Text(host));
    all.add(
        "server.port",
        AttributeValue::Integer(port.unwrap_or(default_port)),
    );
}

/// OpenTelemetry attributes of a model call; nothing for other requests.
pub(super) fn model(all: &mut Attributes<'_, '_>, exchange: &Exchange) {
    let model = &exchange.model;
    let Some(operation) = model.operation else {
        return;
    };
    let short = |text| AttributeValue::Text(cut(text, NAME_BYTES_MAX));
    all.add(
        "gen_ai.operation.name",
        AttributeValue::Text(operation.name()),
    );
    // The provider of the model is unknown; for the OpenAI format, the conventions require `openai`.
    all.add("gen_ai.provider.name", AttributeValue::Text("openai"));
    all.maybe(
        "gen_ai.request.model",
        model.request_model.as_deref().map(short),
    );
    all.add(
        "gen_ai.request.stream",
        AttributeValue::Flag(model.request_stream),
    );
    all.maybe(
        "gen_ai.response.model",
        model.response_model.as_deref().map(short),
    );
    if !model.finish_reasons.is_empty() {
        let reasons = model.finish_reasons.iter().take(FINISH_REASONS_MAX);
        let reasons: Vec<&str> = reasons.map(|reason| cut(reason, NAME_BYTES_MAX)).collect();
        all.add(
            "gen_ai.response.finish_reasons",
            AttributeValue::Texts(&reasons),
        );
    }
    let first = model.time_to_first_chunk;
    let first = first.map(|time| AttributeValue::Number(time.as_secs_f64()));
    all.maybe("gen_ai.response.time_to_first_chunk", first);
    tokens(all, &model.usage);
}

fn tokens(all: &mut Attributes<'_, '_>, usage: &Usage) {
    for (key, tokens) in [
        ("gen_ai.usage.input_tokens", usage.input_tokens),
        ("gen_ai.usage.output_tokens", usage.output_tokens),
        (
            "gen_ai.usage.cache_read.input_tokens",
            usage.cache_read_tokens,
        ),
        (
            "gen_ai.usage.cache_creation.input_tokens",
            usage.cache_creation_tokens,
        ),
        (
            "gen_ai.usage.reasoning.output_tokens",
            usage.reasoning_tokens,
        ),
    ] {
        all.maybe(key, tokens.map(AttributeValue::Integer));
    }
    if usage.is_estimated() {
        all.add("weir.usage.estimated", AttributeValue::Flag(true));
    }
}

pub(super) struct Attributes<'s, 'm>(pub(super) &'s mut ProtoMessage<'m>);

impl Attributes<'_, '_> {
    pub(super) fn add(&mut self, key: &'static str, value: AttributeValue<'_>) {
        self.0.attribute(ATTRIBUTES, key, value);
    }

    pub(super) fn maybe(&mut self, key: &'static str, value: Option<AttributeValue<'_>>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }

    pub(super) fn text(&mut self, key: &'static str, text: &str, bytes_max: usize) {
        self.add(key, AttributeValue::Text(cut(text, bytes_max)));
    }
}

/// An address as text, without an allocation.
pub(super) struct ShortText {
    bytes: [u8; 46],
    length: usize,
}

impl ShortText {
    pub(super) const EMPTY: ShortText = ShortText {
        bytes: [0; 46],
        length: 0,
    };

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl std::fmt::Write for ShortText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        let room = self
            .bytes
            .get_mut(self.length..end)
            .ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

fn millis(duration: Duration) -> AttributeValue<'static> {
    AttributeValue::Number(duration.as_nanos() as f64 / 1e6)
}

/// Truncates a text to at most `bytes_max` at a character boundary.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}
