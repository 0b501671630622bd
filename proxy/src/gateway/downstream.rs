//! The answer stage of the gateway: delivers a backend's response to the client and copies it for the cache,
//! or delivers a stored one.

use std::time::{Duration, Instant};

use http::response::Parts;
use http::{StatusCode, header};

use super::ask_usage::UsageRequested;
use super::cache_copy::{self, CacheCopy};
use super::coalesce::WaitingRequests;
use super::followed::{Followed, HeadInFlight};
use super::http_cache::HttpFetch;
use super::http_copy::HttpCacheCopy;
use super::mode::RequestKind;
use super::model_response::Readable;
use super::upstream::{Storing, Upstream};
use super::{model_request, model_response, routing, tunnel};
use crate::answer::ahead::{self, ClientLeft, ReadAhead};
use crate::answer::bytes_ahead::BytesAhead;
use crate::answer::copying::{CopyStored, Copying, StoredOnce};
use crate::answer::filter::BodyFilter;
use crate::answer::stored::{self, StoredResponse};
use crate::answer::timeouts::ResponseTimeouts;
use crate::answer::usage_stripper::{self, UsageStripper};
use crate::answer::{self, ResponseOutcome, deliver};
use crate::backend::{self, response::UpstreamResponse};
use crate::cache::CachedResponse;
use crate::cache::status::CacheStatus;
use crate::clock;
use crate::coding::Decoder;
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::relay::{Relay, TrailingBytes};
use crate::http::session::Session;
use crate::model::response::{ResponseFormat, ResponseReader};

/// Delivers the response, whose head arrived at `now`. Upgraded connections and gRPC streams
/// may be silent for `messages_idle`. The HTTP cache stores it by `fetch`.
pub(super) async fn deliver(
    session: &mut Session,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
    fetch: Option<Box<HttpFetch>>,
    messages_idle: Duration,
    now: Instant,
) -> ResponseOutcome {
    if upstream.response.head.status == StatusCode::SWITCHING_PROTOCOLS {
        return tunnel::run(session, exchange, &mut upstream.response, messages_idle).await;
    }
    upstream.relay.response_begun();
    let stripper = usage_stripper(upstream);
    let timeouts = timeouts(upstream, messages_idle, now);
    let head = &upstream.response.head;
    let readable = Readable::of(exchange, head);
    let storing = upstream.storing;
    let length = upstream.framing.length.filter(|_| stripper.is_none());
    let (mut copy, mut http_copy) = match fetch {
        Some(fetch) => {
            let copy = HttpCacheCopy::of(session, exchange, upstream, fetch, now);
            (None, copy)
        }
        None => {
            let uses = (storing, std::mem::take(&mut upstream.waiting));
            let (pipeline, head) = (&upstream.pipeline, (&upstream.response.head, length));
            let copy = answer_copy(pipeline, exchange, readable.format, uses, head, now);
            (copy, None)
        }
    };
    let copying = match (&mut copy, &mut http_copy) {
        (Some(copy), _) => Some(Copying::new(copy, StoredOnce::Successful)),
        (None, Some(copy)) => Some(Copying::new(&mut **copy, StoredOnce::Complete)),
        (None, None) => None,
    };
    let mut filter = filter(exchange, upstream, timeouts, stripper, readable, copying);
    let (response, relay) = (&mut upstream.response, &mut upstream.relay);
    let outcome = forward(session, exchange, response, relay, &mut filter, storing).await;
    model_request::note_relayed(exchange, &upstream.relay);
    model_response::note(exchange, &mut filter, outcome);
    model_response::record_text(exchange, &mut filter);
    outcome
}

/// The copy of a response for the cache of answers, and for the requests that share it.
fn answer_copy<'a>(
    pipeline: &'a RoutePipeline,
    exchange: &Exchange,
    format: Option<ResponseFormat>,
    (storing, waiting): (Storing, WaitingRequests),
    (head, length): (&Parts, Option<u64>),
    now: Instant,
) -> Option<CacheCopy<'a>> {
    match format {
        Some(_) => {
            let head = (head, length);
            CacheCopy::of(
                pipeline,
                exchange,
                (storing, waiting),
                head,
                exchange.at(now),
            )
        }
        None => {
            if let Some(mut lead) = waiting.lead {
                cache_copy::decline(&mut lead, exchange, head);
            }
            None
        }
    }
}

/// Delivers a stored response, which is `age_s` seconds old.
pub(super) async fn deliver_stored(
    session: &mut Session,
    exchange: &mut Exchange,
    stored: &CachedResponse,
    age_s: u64,
) -> ResponseOutcome {
    model_response::record_stored_text(exchange, stored);
    let response = StoredResponse {
        status: stored.status,
        head_lines: stored.head_lines(),
        age_s,
        length: stored.length(),
        pieces: stored.pieces(),
    };
    stored::write(session, exchange, response).await
}

/// Delivers the response to an equal request, as it arrives.
pub(super) async fn deliver_followed<H: HeadInFlight>(
    session: &mut Session,
    exchange: &mut Exchange,
    followed: &mut Followed<H>,
    config: &backend::Config,
) -> ResponseOutcome {
    let now = clock::now();
    let (content, length) = followed.content();
    let (head, age_s) = (followed.head.begin(), followed.head.age_s());
    let head = answer::reused::head_of_followed(exchange, head, age_s, (content, length));
    let mut filter = BodyFilter {
        decoder: None,
        reader: None,
        text: model_response::followed_text_reader(exchange),
        stripper: None,
        copying: None,
        read_ahead: 0,
        ahead: BytesAhead::default(),
        length,
        timeouts: ResponseTimeouts {
            called_at: now,
            head_at: now,
            idle: config.idle_timeout,
            total: Some(config.total_timeout),
        },
    };
    let mut relay = Relay::whole(TrailingBytes::Pipelined, now);
    let body = &mut followed.body;
    let outcome =
        deliver::deliver_with(session, exchange, head, body, &mut filter, &mut relay).await;
    if let (ResponseOutcome::Whole, Some(code)) = (outcome, body.failure()) {
        exchange.fail(code);
    }
    model_response::record_text(exchange, &mut filter);
    outcome
}

/// What happens to each piece of the body.
fn filter<'a>(
    exchange: &Exchange,
    upstream: &Upstream,
    timeouts: ResponseTimeouts,
    stripper: Option<UsageStripper>,
    readable: Readable,
    copying: Option<Copying<'a>>,
) -> BodyFilter<'a> {
    let head = &upstream.response.head;
    let Readable { decoder, format } = readable;
    let operation = exchange.model.operation;
    // A response that may be stored has to be read, whatever the request was.
    let is_answer = |copying: &Copying<'_>| copying.stored_once() == StoredOnce::Successful;
    let is_read = operation.is_some() || copying.as_ref().is_some_and(is_answer);
    let reader = format
        .filter(|_| is_read)
        .map(|format| Box::new(ResponseReader::new(format, operation)));
    let text = decoder
        .as_ref()
        .and_then(|_| model_response::text_reader(exchange, head));
    BodyFilter {
        decoder: decoder.filter(|_| reader.is_some() || text.is_some()),
        reader,
        text,
        // A stripped chunk shortens the body.
        length: upstream.framing.length.filter(|_| stripper.is_none()),
        stripper,
        copying,
        read_ahead: 0,
        ahead: BytesAhead::default(),
        timeouts,
    }
}

/// How long to wait for the rest of the response.
fn timeouts(upstream: &Upstream, messages_idle: Duration, now: Instant) -> ResponseTimeouts {
    let config = upstream.backend.config();
    let (idle, total) = match upstream.kind {
        RequestKind::Grpc => (messages_idle, None),
        RequestKind::Plain | RequestKind::Upgrade => {
            (config.idle_timeout, Some(config.total_timeout))
        }
    };
    ResponseTimeouts {
        called_at: upstream.started_at,
        head_at: now,
        idle,
        total,
    }
}

/// Strips the usage from a stream if weir requested it and the client did not. A stream in a content
/// coding is left unchanged: weir did not accept any.
fn usage_stripper(upstream: &mut Upstream) -> Option<UsageStripper> {
    if upstream.usage == UsageRequested::No {
        return None;
    }
    let head = &mut upstream.response.head;
    let headers = &mut head.headers;
    let is_plain = Decoder::of(headers).is_some_and(|decoder| decoder.is_plain());
    let format = headers
        .get(header::CONTENT_TYPE)
        .and_then(ResponseFormat::of);
    let is_stream = head.status == StatusCode::OK && format == Some(ResponseFormat::Sse);
    if !is_stream || !is_plain {
        return None;
    }
    usage_stripper::remove_digests(headers);
    Some(UsageStripper::new())
}

/// Writes the response. Its head reports whether it has been stored, if that is known by then.
async fn forward(
    session: &mut Session,
    exchange: &mut Exchange,
    response: &mut UpstreamResponse,
    relay: &mut Relay,
    filter: &mut BodyFilter<'_>,
    storing: Storing,
) -> ResponseOutcome {
    let UpstreamResponse { head, body, .. } = response;
    // A chunk that may have to be stripped is not part of the copy before the end of the stream.
    let is_answer = |copying: &Copying<'_>| copying.stored_once() == StoredOnce::Successful;
    if filter.copying.as_ref().is_some_and(is_answer) && filter.stripper.is_none() {
        let format = filter.reader.as_ref().map(|reader| reader.format());
        let ahead = match format {
            Some(ResponseFormat::Json) if !exchange.model.request_stream => ReadAhead::ToTheEnd,
            _ => ReadAhead::Arrived,
        };
        match ahead::read(session, exchange, body, filter, relay, ahead).await {
            Ok(stored) => note_stored(exchange, stored, storing),
            Err(ClientLeft) => {
                if let Some(attempt) = exchange.attempt() {
                    attempt.end(clock::now());
                }
                return ResponseOutcome::ClientLeft;
            }
        }
    }
    deliver::deliver(session, exchange, head, body, filter, relay).await
}

/// Replaces the `Cache-Status` of a response that has been stored.
fn note_stored(exchange: &mut Exchange, stored: CopyStored, storing: Storing) {
    let status = match (stored, storing) {
        (CopyStored::Yes, Storing::New(_)) => CacheStatus::MissStored,
        (CopyStored::Yes, Storing::Refreshed(_)) => CacheStatus::RefreshStored,
        (CopyStored::No, _) | (_, Storing::Nothing) => return,
    };
    routing::set_cache_status(exchange, status);
}
