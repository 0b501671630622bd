//! The spans of a recorded request: a server span, and below it a client span for each try with a
//! backend. Names and attributes are OpenTelemetry's for HTTP (semantic conventions 1.42) and for
//! generative AI (their own repository, 0.1); what only weir knows stands under `weir.`.
//!
//! The server span lasts as long as the request. A client span begins when an endpoint is asked and
//! ends with the next try, or with the request: so the last one has the whole of a stream.
//! As in events, no header but the user agent, no query and no body stands in a span.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Array, InstrumentationScope, Key, KeyValue, StringValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::event::{
    NAME_BYTES_MAX, PATH_BYTES_MAX, USER_AGENT_BYTES_MAX, method_name, version_name,
};
use crate::exchange::{Exchange, Stage, Try, UpstreamNote};

/// Makes spans; holds what is the same in all of them.
#[derive(Debug)]
pub(super) struct Spans {
    scope: InstrumentationScope,
    /// The path of each route, as the configuration has it: `http.route`.
    paths: HashMap<Arc<str>, Arc<str>>,
}

impl Spans {
    /// For routes with these names and paths.
    pub(super) fn new(paths: HashMap<Arc<str>, Arc<str>>) -> Self {
        let scope = InstrumentationScope::builder("weir");
        Spans {
            scope: scope.with_version(env!("CARGO_PKG_VERSION")).build(),
            paths,
        }
    }

    /// All spans of a request that took `duration` in all.
    pub(super) fn of(
        &self,
        exchange: &Exchange,
        duration: Duration,
    ) -> impl Iterator<Item = SpanData> {
        let state = tracestate(exchange);
        let server = self.server(exchange, duration, &state);
        let upstream = exchange.upstream.as_ref();
        let tries = upstream.into_iter().flat_map(move |upstream| {
            let count = upstream.tries.len();
            let state = state.clone();
            (0..count)
                .filter_map(move |place| self.client(exchange, upstream, place, duration, &state))
        });
        std::iter::once(server).chain(tries)
    }

    fn span(
        &self,
        exchange: &Exchange,
        span_id: [u8; 8],
        state: &TraceState,
        from: SystemTime,
        to: SystemTime,
    ) -> SpanData {
        let trace = &exchange.trace;
        SpanData {
            span_context: SpanContext::new(
                TraceId::from_bytes(trace.trace_id),
                SpanId::from_bytes(span_id),
                TraceFlags::new(trace.flags),
                false,
                state.clone(),
            ),
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed(""),
            start_time: from,
            end_time: to,
            attributes: Vec::with_capacity(32),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.scope.clone(),
        }
    }

    fn server(&self, exchange: &Exchange, duration: Duration, state: &TraceState) -> SpanData {
        let from = UNIX_EPOCH + exchange.received_at;
        let span_id = exchange.trace.span_id;
        let mut span = self.span(exchange, span_id, state, from, from + duration);
        span.span_kind = SpanKind::Server;
        if let Some(parent) = exchange.trace.parent_id {
            span.parent_span_id = SpanId::from_bytes(parent);
            span.parent_span_is_remote = true;
        }
        let path = exchange
            .route
            .as_ref()
            .and_then(|route| self.paths.get(route));
        span.name = name(exchange, path.map(|path| &**path)).into();
        if exchange.failed() {
            span.status = Status::error("");
        }
        let mut all = Attributes(&mut span.attributes);
        request(&mut all, exchange);
        all.maybe("http.route", path.cloned());
        all.add("url.scheme", exchange.scheme);
        all.add("url.path", cut(&exchange.path, PATH_BYTES_MAX));
        all.add(
            "client.address",
            exchange.client_ip.to_canonical().to_string(),
        );
        all.maybe(
            "server.address",
            exchange.domain.as_deref().map(str::to_owned),
        );
        let user_agent = exchange.user_agent.as_ref();
        let user_agent = user_agent.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let user_agent = user_agent.map(|text| cut(&text, USER_AGENT_BYTES_MAX));
        all.maybe("user_agent.original", user_agent);
        all.add(
            "http.request.body.size",
            integer(exchange.request_body_bytes),
        );
        own(&mut all, exchange);
        span
    }

    fn client(
        &self,
        exchange: &Exchange,
        upstream: &UpstreamNote,
        place: usize,
        duration: Duration,
        state: &TraceState,
    ) -> Option<SpanData> {
        let attempt = upstream.tries.get(place)?;
        let next = upstream.tries.get(place + 1);
        let at = |instant: Instant| UNIX_EPOCH + exchange.at(instant);
        let ended = UNIX_EPOCH + exchange.received_at + duration;
        let to = next.map_or(ended, |next| at(next.started));
        let mut span = self.span(exchange, attempt.span_id, state, at(attempt.started), to);
        span.span_kind = SpanKind::Client;
        span.parent_span_id = SpanId::from_bytes(exchange.trace.span_id);
        let outcome = outcome(exchange, upstream, next);
        span.name = match (exchange.model.operation, &exchange.model.request_model) {
            (Some(operation), Some(model)) => {
                format!("{operation} {}", cut(model, NAME_BYTES_MAX)).into()
            }
            (Some(operation), None) => operation.into(),
            (None, _) => name(exchange, None).into(),
        };
        if outcome.error.is_some() {
            span.status = Status::error("");
        }
        let mut all = Attributes(&mut span.attributes);
        all.add("http.request.method", method_name(&exchange.method));
        all.maybe("http.response.status_code", outcome.status.map(i64::from));
        all.maybe("error.type", outcome.error);
        if place > 0 {
            all.add("http.request.resend_count", integer(place as u64));
        }
        all.add("weir.backend", upstream.backend.clone());
        endpoint(&mut all, upstream, exchange);
        if next.is_none() {
            model(&mut all, exchange);
        }
        Some(span)
    }
}

/// How a try ended.
struct Outcome {
    status: Option<u16>,
    error: Option<Cow<'static, str>>,
}

fn outcome(exchange: &Exchange, upstream: &UpstreamNote, next: Option<&Try>) -> Outcome {
    if next.is_some() {
        // What is tried again is a connection that was closed when it was to be used.
        return Outcome {
            status: None,
            error: Some("upstream_reset".into()),
        };
    }
    let status = upstream.first_byte.map(|_| exchange.status);
    let of_status = || {
        let status = status.filter(|status| *status >= 400)?;
        Some(Cow::Owned(status.to_string()))
    };
    let of_code = || exchange.error_code.map(|code| code.as_str().into());
    Outcome {
        status,
        error: of_status().or_else(of_code),
    }
}

/// The name of a span of HTTP: the method and, where it is known, the route.
fn name(exchange: &Exchange, path: Option<&str>) -> String {
    let method = match method_name(&exchange.method) {
        "_OTHER" => "HTTP",
        method => method,
    };
    match path {
        Some(path) => format!("{method} {path}"),
        None => method.to_owned(),
    }
}

fn request(all: &mut Attributes<'_>, exchange: &Exchange) {
    all.add("http.request.method", method_name(&exchange.method));
    all.add("network.protocol.version", version_name(exchange.version));
    all.add("http.response.status_code", i64::from(exchange.status));
    all.add(
        "http.response.body.size",
        integer(exchange.response_body_bytes),
    );
    if let Some(code) = exchange.error_code {
        all.add("error.type", code.as_str());
    } else if exchange.failed() {
        all.add("error.type", exchange.status.to_string());
    }
}

/// What weir settled on the way of the request, in the words of the event.
fn own(all: &mut Attributes<'_>, exchange: &Exchange) {
    all.add("weir.request.id", exchange.id.as_str().to_owned());
    all.add("weir.platform", exchange.platform.clone());
    all.maybe("weir.route", exchange.route.clone());
    all.maybe("weir.client.key", exchange.client_key.clone());
    if let Some(signature) = &exchange.signature {
        all.add("weir.signature.scheme", signature.scheme);
        all.add("weir.signature.outcome", signature.outcome.as_str());
    }
    if let Some(limit) = &exchange.limit {
        all.add("weir.rate_limit.policy", limit.policy.clone());
        all.add("weir.rate_limit.outcome", limit.outcome.as_str());
    }
    if let Some(cache) = &exchange.cache {
        all.add("weir.cache.outcome", cache.outcome.as_str());
        all.add("weir.cache.tier", cache.tier.as_str());
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

/// Where a request went: `server.address`, `server.port`, and the whole address without its query.
fn endpoint(all: &mut Attributes<'_>, upstream: &UpstreamNote, exchange: &Exchange) {
    let Some(endpoint) = &upstream.endpoint else {
        return;
    };
    let path = cut(&exchange.path, PATH_BYTES_MAX);
    all.add("url.full", format!("{endpoint}{path}"));
    let Ok(uri) = endpoint.parse::<http::Uri>() else {
        return;
    };
    let default_port = match uri.scheme_str() {
        Some("https") => 443,
        _ => 80,
    };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    all.add("server.address", host.to_owned());
    let port = uri.port_u16().unwrap_or(default_port);
    all.add("server.port", i64::from(port));
}

/// OpenTelemetry's attributes of a model call; nothing when the request was none.
fn model(all: &mut Attributes<'_>, exchange: &Exchange) {
    let model = &exchange.model;
    let Some(operation) = model.operation else {
        return;
    };
    let short = |text: &str| cut(text, NAME_BYTES_MAX);
    all.add("gen_ai.operation.name", operation);
    // Whose model it is weir cannot know; the format is OpenAI's, which is what the conventions ask for.
    all.add("gen_ai.provider.name", "openai");
    all.maybe(
        "gen_ai.request.model",
        model.request_model.as_deref().map(short),
    );
    all.add("gen_ai.request.stream", model.request_stream);
    all.maybe(
        "gen_ai.response.model",
        model.response_model.as_deref().map(short),
    );
    if !model.finish_reasons.is_empty() {
        let reasons = model.finish_reasons.iter().take(16);
        let reasons = reasons.map(|reason| StringValue::from(short(reason)));
        all.add(
            "gen_ai.response.finish_reasons",
            Value::Array(Array::String(reasons.collect())),
        );
    }
    let first = model.time_to_first_chunk.map(|time| time.as_secs_f64());
    all.maybe("gen_ai.response.time_to_first_chunk", first);
    all.maybe("gen_ai.usage.input_tokens", model.input_tokens.map(integer));
    all.maybe(
        "gen_ai.usage.output_tokens",
        model.output_tokens.map(integer),
    );
}

struct Attributes<'a>(&'a mut Vec<KeyValue>);

impl Attributes<'_> {
    fn add(&mut self, key: &'static str, value: impl Into<Value>) {
        self.0.push(KeyValue::new(Key::from_static_str(key), value));
    }

    fn maybe(&mut self, key: &'static str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.add(key, value);
        }
    }
}

fn tracestate(exchange: &Exchange) -> TraceState {
    let text = exchange.trace.tracestate.as_ref();
    let text = text.and_then(|value| value.to_str().ok());
    // It has been checked by the same rules; what the library does not take stays behind.
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn millis(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e6
}

/// At most so many bytes of a text, whole characters.
fn cut(text: &str, bytes_max: usize) -> String {
    text[..text.floor_char_boundary(bytes_max)].to_owned()
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
