//! The answer stage of the gateway: delivers a backend's response to the client and copies it for the cache,
//! or delivers a stored one.

use std::time::{Duration, Instant};

use http::{StatusCode, header};

use super::ask_usage::UsageRequested;
use super::cache_copy::{self, CacheCopy};
use super::coalesce::Followed;
use super::mode::RequestKind;
use super::model_response::Readable;
use super::upstream::{Storing, Upstream};
use super::{model_request, model_response, routing, tunnel};
use crate::answer::ahead::{self, ClientLeft, ReadAhead};
use crate::answer::copying::{CopyStored, Copying};
use crate::answer::filter::BodyFilter;
use crate::answer::stored::{self, StoredResponse};
use crate::answer::timeouts::ResponseTimeouts;
use crate::answer::usage_stripper::{self, UsageStripper};
use crate::answer::{ResponseOutcome, deliver};
use crate::backend::{self, response::UpstreamResponse};
use crate::cache::CachedResponse;
use crate::cache::copy::SharedHead;
use crate::cache::status::CacheStatus;
use crate::clock;
use crate::coding::Decoder;
use crate::exchange::Exchange;
use crate::http::relay::{Relay, TrailingBytes};
use crate::http::session::Session;
use crate::model::response::{ResponseFormat, ResponseReader};

/// Delivers the response, whose head arrived at `now`. Upgraded connections and gRPC streams
/// may be silent for `messages_idle`.
pub(super) async fn deliver(
    session: &mut Session,
    exchange: &mut Exchange,
    upstream: &mut Upstream,
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
    let (pipeline, storing) = (&upstream.pipeline, upstream.storing);
    let mut lead = upstream.lead.take();
    // Without a copy, the lease is released at once.
    let lease = upstream.lease.take();
    let length = upstream.framing.length.filter(|_| stripper.is_none());
    let mut copy = match (readable.format, &mut lead) {
        (Some(_), _) => {
            let head = (head, length);
            let copy = CacheCopy::of(pipeline, exchange, (storing, lead), head, exchange.at(now));
            copy.map(|copy| copy.shared_by(pipeline, lease))
        }
        (None, Some(lead)) => {
            cache_copy::decline(lead, exchange, head);
            None
        }
        (None, None) => None,
    };
    let mut filter = filter(
        exchange,
        upstream,
        timeouts,
        stripper,
        readable,
        copy.as_mut(),
    );
    let (response, relay) = (&mut upstream.response, &mut upstream.relay);
    let outcome = forward(session, exchange, response, relay, &mut filter, storing).await;
    model_request::note_relayed(exchange, &upstream.relay);
    model_response::note(exchange, &mut filter, outcome);
    model_response::record_text(exchange, &mut filter);
    outcome
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

/// Delivers the response to an equal request, as it arrives. `idle` is the longest pause between two of its pieces, and
/// `total` its end.
pub(super) async fn deliver_followed(
    session: &mut Session,
    exchange: &mut Exchange,
    followed: &mut Followed,
    config: &backend::Config,
) -> ResponseOutcome {
    let now = clock::now();
    let mut filter = BodyFilter {
        decoder: None,
        reader: None,
        text: model_response::followed_text_reader(exchange),
        stripper: None,
        copying: None,
        read_ahead: 0,
        length: followed.head.length,
        timeouts: ResponseTimeouts {
            called_at: now,
            head_at: now,
            idle: config.idle_timeout,
            total: Some(config.total_timeout),
        },
    };
    let SharedHead { status, age_s, .. } = followed.head;
    let fields = (&*followed.head.lines, age_s, followed.head.length);
    let head = stored::head_of_followed(exchange, status, fields);
    let mut relay = Relay::whole(TrailingBytes::Pipelined, now);
    let body = &mut followed.body;
    let outcome =
        deliver::deliver_with(session, exchange, head, body, &mut filter, &mut relay).await;
    if let (ResponseOutcome::Whole, Some(code)) = (outcome, followed.body.failure()) {
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
    copy: Option<&'a mut CacheCopy<'_>>,
) -> BodyFilter<'a> {
    let head = &upstream.response.head;
    let Readable { decoder, format } = readable;
    let operation = exchange.model.operation;
    // A response that may be stored has to be read, whatever the request was.
    let is_read = operation.is_some() || copy.is_some();
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
        copying: copy.map(|copy| Copying::new(copy)),
        read_ahead: 0,
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
    if filter.copying.is_some() && filter.stripper.is_none() {
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
    routing::set_header(exchange, "cache-status", status.header());
}
