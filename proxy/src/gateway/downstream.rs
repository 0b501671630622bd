//! The answer stage of the gateway: delivers a backend's response to the client, and copies it for the
//! cache.

use std::time::{Duration, Instant};

use http::{StatusCode, header};

use super::ask_usage::UsageAsked;
use super::mode::RequestKind;
use super::pipeline::RoutePipeline;
use super::upstream::Upstream;
use super::{model_request, model_response, routing, tunnel};
use crate::answer::Delivered;
use crate::answer::ahead::{self, ClientLeft, Wait};
use crate::answer::copying::{Copying, Keep, Kept};
use crate::answer::deliver::{Reading, deliver as relay_body};
use crate::answer::waits::Waits;
use crate::answer::withheld::{self, UsageWithheld};
use crate::backend::client::Answer;
use crate::cache::copy::CopyBuffer;
use crate::cache::status::Status;
use crate::cache::{Stored, Use};
use crate::clock;
use crate::coding::Decoder;
use crate::exchange::Exchange;
use crate::http::relay::Relay;
use crate::http::session::Session;
use crate::model::answer::{AnswerReader, Kind};

/// Delivers the response, whose head had arrived at `now`. Connections that are upgraded, and messages of
/// gRPC, may be silent for `messages_idle`.
pub(super) async fn deliver(
    session: &mut Session,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
    messages_idle: Duration,
    now: Instant,
) -> Delivered {
    if upstream.response.head.status == StatusCode::SWITCHING_PROTOCOLS {
        return tunnel::run(session, exchange, &mut upstream.response, messages_idle).await;
    }
    upstream.relay.answered();
    let stripped = usage_stripper(upstream);
    let keep = keep(&upstream.pipeline, upstream.decision);
    let waits = waits(upstream, messages_idle, now);
    let mut reading = reading(exchange, upstream, stripped, waits, &keep);
    let (response, relay) = (&mut upstream.response, &mut upstream.relay);
    let delivered = forward(
        session,
        exchange,
        response,
        relay,
        &mut reading,
        upstream.decision,
    )
    .await;
    model_request::note_relayed(exchange, &upstream.relay);
    model_response::note(exchange, &mut reading, delivered);
    model_response::record_content(exchange, &mut reading);
    delivered
}

/// Stores a response under the key of its request, if it has one, or removes it again.
fn keep(pipeline: &RoutePipeline, decision: Use) -> impl Fn(Option<Stored>) + Sync {
    move |stored| {
        if let (Some(answers), Use::Full(key) | Use::Refresh(key)) = (&pipeline.answers, decision) {
            match stored {
                Some(stored) => answers.keep(key, stored),
                None => answers.forget(&key),
            }
        }
    }
}

/// What reads, changes and copies the body on its way.
fn reading<'a>(
    exchange: &Exchange,
    upstream: &Upstream,
    stripped: Option<UsageWithheld>,
    waits: Waits,
    keep: Keep<'a>,
) -> Reading<'a> {
    let head = &upstream.response.head;
    let decoder = Decoder::of(&head.headers);
    let kind = model_response::kind(exchange, head).filter(|_| decoder.is_some());
    let received_at = exchange.at(waits.answered_at);
    let copy = kind.and_then(|_| copy(exchange, upstream, received_at));
    // A response that is stored has to be read, whatever the request was.
    let is_read = exchange.model.operation.is_some() || copy.is_some();
    let operation = exchange.model.operation;
    let usage = kind
        .filter(|_| is_read)
        .map(|kind| Box::new(AnswerReader::new(kind, operation)));
    let content = decoder
        .as_ref()
        .and_then(|_| model_response::content_reader(exchange, head));
    Reading {
        decoder: decoder.filter(|_| usage.is_some() || content.is_some()),
        usage,
        content,
        // A stripped chunk shortens the body.
        length: upstream.framing.length.filter(|_| stripped.is_none()),
        withheld: stripped,
        copying: copy.map(|copy| Copying::new(copy, keep)),
        ahead: 0,
        waits,
    }
}

/// How long the rest of the response is waited for.
fn waits(upstream: &Upstream, messages_idle: Duration, now: Instant) -> Waits {
    let config = upstream.pipeline.backend.config();
    let (idle_timeout, total_timeout) = match upstream.kind {
        RequestKind::Grpc => (messages_idle, None),
        RequestKind::Plain | RequestKind::Upgrade => {
            (config.idle_timeout, Some(config.total_timeout))
        }
    };
    Waits {
        asked_at: upstream.started_at,
        answered_at: now,
        idle_timeout,
        total_timeout,
    }
}

/// Strips the usage from a stream whose client did not ask for it, though weir did. A stream in a content
/// coding is left as it is: weir asked for none.
fn usage_stripper(upstream: &mut Upstream) -> Option<UsageWithheld> {
    if upstream.usage == UsageAsked::No {
        return None;
    }
    let head = &mut upstream.response.head;
    let headers = &mut head.headers;
    let is_plain = Decoder::of(headers).is_some_and(|decoder| decoder.is_plain());
    let kind = headers.get(header::CONTENT_TYPE).and_then(Kind::of);
    let is_stream = head.status == StatusCode::OK && kind == Some(Kind::Sse);
    if !is_stream || !is_plain {
        return None;
    }
    withheld::forget_digests(headers);
    Some(UsageWithheld::new())
}

/// The buffer for a copy of the response, where request and response allow to store one.
fn copy(exchange: &Exchange, upstream: &Upstream, received_at: Duration) -> Option<CopyBuffer> {
    let pipeline = &upstream.pipeline;
    let answers = pipeline.answers.as_ref()?;
    let (Use::Full(_) | Use::Refresh(_)) = upstream.decision else {
        return None;
    };
    let (_, verified) = pipeline.signature_headers(exchange);
    let head = &upstream.response.head;
    let status = head.status.as_u16();
    answers
        .copy(status, &head.headers, verified, received_at)
        .ok()
}

/// Writes the response. Its head reports whether it has been stored, as far as that is known by then.
async fn forward(
    session: &mut Session,
    exchange: &mut Exchange,
    response: &mut Answer,
    relay: &mut Relay,
    reading: &mut Reading<'_>,
    decision: Use,
) -> Delivered {
    // A chunk that may have to be stripped is no part of the copy before the end of the stream.
    if reading.copying.is_some() && reading.withheld.is_none() {
        let kind = reading.usage.as_ref().map(|usage| usage.kind());
        let wait = match kind {
            Some(Kind::Json) if !exchange.model.request_stream => Wait::ForTheEnd,
            _ => Wait::No,
        };
        let body = &mut response.body;
        match ahead::look(session, exchange, body, reading, relay, wait).await {
            Ok(kept) => note_stored(exchange, kept, decision),
            Err(ClientLeft) => {
                if let Some(attempt) = exchange.attempt() {
                    attempt.end(clock::now());
                }
                return Delivered::ClientLeft;
            }
        }
    }
    relay_body(session, exchange, response, reading, relay).await
}

/// Replaces the `Cache-Status` of a response that has been stored.
fn note_stored(exchange: &mut Exchange, kept: Kept, decision: Use) {
    let status = match (kept, decision) {
        (Kept::Yes, Use::Full(_)) => Status::MissStored,
        (Kept::Yes, Use::Refresh(_)) => Status::RefreshStored,
        (Kept::No, _) | (_, Use::Bypass) => return,
    };
    let headers = &mut exchange.answer_headers;
    headers.retain(|(name, _)| name != "cache-status");
    routing::add_header(exchange, "cache-status", status.header());
}
