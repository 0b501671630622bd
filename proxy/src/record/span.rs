//! The spans of a recorded request: a server span, and below it a client span for each attempt with a backend.
//! Names and attributes follow the OpenTelemetry semantic conventions for HTTP (1.42) and for generative AI
//! (0.1); attributes of weir's own begin with `weir.`.
//!
//! The server span lasts as long as the request. A client span begins when an endpoint is called and ends with the
//! end of its response, so that it covers a whole stream. A span of an abandoned attempt ends with the next attempt or
//! with the request.
//! As in events, a span contains no header but the user agent, no query and no body.
//!
//! Spans are encoded directly as `Span` of `opentelemetry/proto/trace/v1`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use self::attributes::{Attributes, ShortText, cut, endpoint, model, own, request};
use super::event::{NAME_BYTES_MAX, PATH_BYTES_MAX, USER_AGENT_BYTES_MAX, method_name};
use super::otlp::wire::{AttributeValue, ProtoMessage};
use crate::exchange::{Attempt, AttemptOutcome, Exchange, UpstreamNote};

mod attributes;

/// Fields of a `Span`.
mod field {
    pub(super) const TRACE_ID: u32 = 1;
    pub(super) const SPAN_ID: u32 = 2;
    pub(super) const TRACE_STATE: u32 = 3;
    pub(super) const PARENT_SPAN_ID: u32 = 4;
    pub(super) const NAME: u32 = 5;
    pub(super) const KIND: u32 = 6;
    pub(super) const START_NS: u32 = 7;
    pub(super) const END_NS: u32 = 8;
    pub(super) const STATUS: u32 = 15;
    pub(super) const FLAGS: u32 = 16;
    /// Of a `ScopeSpans`.
    pub(super) const SPANS: u32 = 2;
}

/// `SpanKind`.
#[derive(Clone, Copy)]
enum SpanKind {
    Server = 2,
    Client = 3,
}

/// `Status.code` of a span.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SpanStatus {
    Unset,
    Error,
}

/// The parent of a span, and whether it is remote: bits 8 and 9 of `Span.flags`.
#[derive(Clone, Copy)]
enum SpanParent {
    None,
    Local([u8; 8]),
    Remote([u8; 8]),
}

/// Encodes spans; holds what they all share.
#[derive(Debug)]
pub(super) struct SpanEncoder {
    /// The configured path of each route: `http.route`.
    paths: HashMap<Arc<str>, Arc<str>>,
}

impl SpanEncoder {
    /// For routes with these names and paths.
    pub(super) fn new(paths: HashMap<Arc<str>, Arc<str>>) -> Self {
        SpanEncoder { paths }
    }

    /// Appends all spans of a request that took `duration`, each as a field of a `ScopeSpans`. Returns their number.
    pub(super) fn append(
        &self,
        exchange: &Exchange,
        duration: Duration,
        out: &mut Vec<u8>,
    ) -> usize {
        let mut spans = ProtoMessage::new(out);
        spans.message(field::SPANS, |span| self.server(span, exchange, duration));
        let Some(upstream) = &exchange.upstream else {
            return 1;
        };
        let mut count = 1;
        for (position, attempt) in upstream.attempts().iter().enumerate() {
            let Some(span_id) = attempt.span_id else {
                continue;
            };
            count += 1;
            spans.message(field::SPANS, |span| {
                let parent = SpanParent::Local(exchange.trace.span_id);
                identity(span, exchange, span_id, parent);
                client(span, exchange, upstream, position, duration);
            });
        }
        count
    }

    fn server(&self, span: &mut ProtoMessage<'_>, exchange: &Exchange, duration: Duration) {
        let from = exchange.received_at;
        let parent = exchange
            .trace
            .parent_id
            .map_or(SpanParent::None, SpanParent::Remote);
        identity(span, exchange, exchange.trace.span_id, parent);
        let path = exchange.route.as_ref();
        let path = path.and_then(|route| self.paths.get(route));
        name(span, exchange, path.map(|path| &**path));
        life(span, SpanKind::Server, from, from + duration);
        let status = match exchange.failed() {
            true => SpanStatus::Error,
            false => SpanStatus::Unset,
        };
        ending(span, status);
        let mut all = Attributes(span);
        request(&mut all, exchange);
        all.maybe("http.route", path.map(|path| AttributeValue::Text(path)));
        all.add("url.scheme", AttributeValue::Text(exchange.scheme));
        all.text("url.path", &exchange.path, PATH_BYTES_MAX);
        let mut address = ShortText::EMPTY;
        // Any address fits, so this cannot fail.
        let _ = write!(address, "{}", exchange.client_ip.to_canonical());
        all.add("client.address", AttributeValue::Text(address.as_str()));
        all.maybe(
            "server.address",
            exchange.domain.as_deref().map(AttributeValue::Text),
        );
        if let Some(user_agent) = &exchange.user_agent {
            let text = String::from_utf8_lossy(user_agent.as_bytes());
            all.text("user_agent.original", &text, USER_AGENT_BYTES_MAX);
        }
        own(&mut all, exchange);
    }
}

fn client(
    span: &mut ProtoMessage<'_>,
    exchange: &Exchange,
    upstream: &UpstreamNote,
    position: usize,
    duration: Duration,
) {
    let Some(attempt) = upstream.attempts().get(position) else {
        return;
    };
    match (exchange.model.operation, &exchange.model.request_model) {
        (Some(operation), Some(model)) => {
            let model = cut(model, NAME_BYTES_MAX);
            span.text(field::NAME, &format!("{} {model}", operation.name()));
        }
        (Some(operation), None) => span.text(field::NAME, operation.name()),
        (None, _) => name(span, exchange, None),
    }
    let over = exchange.received_at + duration;
    let ended = attempt.ended.map_or(over, |ended| exchange.at(ended));
    life(span, SpanKind::Client, exchange.at(attempt.started), ended);
    let error = error_of(attempt);
    ending(
        span,
        match error {
            Some(_) => SpanStatus::Error,
            None => SpanStatus::Unset,
        },
    );
    let mut all = Attributes(span);
    all.add(
        "http.request.method",
        AttributeValue::Text(method_name(&exchange.method)),
    );
    let status = attempt
        .status
        .map(|status| AttributeValue::Integer(status.into()));
    all.maybe("http.response.status_code", status);
    all.maybe("error.type", error.as_deref().map(AttributeValue::Text));
    if position > 0 {
        all.add(
            "http.request.resend_count",
            AttributeValue::Integer(position as u64),
        );
    }
    all.text("weir.backend", &attempt.backend, NAME_BYTES_MAX);
    endpoint(&mut all, attempt, exchange);
    if position + 1 == upstream.attempts().len() {
        model(&mut all, exchange);
    }
}

fn identity(
    span: &mut ProtoMessage<'_>,
    exchange: &Exchange,
    span_id: [u8; 8],
    parent: SpanParent,
) {
    const HAS_REMOTE: u32 = 0x100;
    const IS_REMOTE: u32 = 0x200;
    span.bytes(field::TRACE_ID, &exchange.trace.trace_id);
    span.bytes(field::SPAN_ID, &span_id);
    let state = exchange.trace.tracestate.as_ref();
    if let Some(state) = state.and_then(|value| value.to_str().ok()) {
        span.text(field::TRACE_STATE, state);
    }
    let remote = match parent {
        SpanParent::None | SpanParent::Local(_) => HAS_REMOTE,
        SpanParent::Remote(_) => HAS_REMOTE | IS_REMOTE,
    };
    if let SpanParent::Local(parent) | SpanParent::Remote(parent) = parent {
        span.bytes(field::PARENT_SPAN_ID, &parent);
    }
    span.fixed32(field::FLAGS, u32::from(exchange.trace.flags) | remote);
}

fn life(span: &mut ProtoMessage<'_>, kind: SpanKind, from: Duration, to: Duration) {
    let nanos = |at: Duration| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
    span.integer(field::KIND, kind as u64);
    span.fixed64(field::START_NS, nanos(from));
    span.fixed64(field::END_NS, nanos(to));
}

fn ending(span: &mut ProtoMessage<'_>, status: SpanStatus) {
    const CODE: u32 = 3;
    const ERROR: u64 = 2;
    if status == SpanStatus::Error {
        span.message(field::STATUS, |status| status.integer(CODE, ERROR));
    }
}

/// The error of an attempt: an error status, as the conventions require, otherwise the code of its outcome.
fn error_of(attempt: &Attempt) -> Option<Cow<'static, str>> {
    if let Some(status) = attempt.status.filter(|status| *status >= 400) {
        return Some(Cow::Owned(status.to_string()));
    }
    match attempt.outcome() {
        AttemptOutcome::Abandoned => Some(AttemptOutcome::Abandoned.as_str().into()),
        outcome => outcome.code().map(|code| code.as_str().into()),
    }
}

/// The name of an HTTP span: the method and, if known, the path of the route.
fn name(span: &mut ProtoMessage<'_>, exchange: &Exchange, path: Option<&str>) {
    let method = match method_name(&exchange.method) {
        "_OTHER" => "HTTP",
        method => method,
    };
    match path {
        Some(path) => span.text(field::NAME, &format!("{method} {path}")),
        None => span.text(field::NAME, method),
    }
}

#[cfg(test)]
#[path = "span_tests.rs"]
mod tests;
