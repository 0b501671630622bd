//! The backend stage on a real request, and what is read of its answer.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::Stop;
use super::lane::Lane;
use crate::answer::deliver::{Copying, Reading};
use crate::answer::usage::{self, Kind, UsageReader};
use crate::backend::client::Answer;
use crate::backend::outgoing::{self, Encodings, Said};
use crate::cache::copy::CopyBuffer;
use crate::cache::status::Status;
use crate::cache::{Keepable, Stored, Use};
use crate::content::{self, AnswerText, Content, Mode};
use crate::exchange::{Exchange, UpstreamNote};
use crate::listener::Connection;
use crate::listener::session::Session;
use crate::refusal::ErrorCode;
use crate::route::address;

/// Asks the backend; the client is watched meanwhile.
pub(super) async fn ask(
    lane: &Lane,
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    body: &Bytes,
    asked_at: Instant,
) -> Result<Answer, Stop> {
    let mut note = UpstreamNote::begin(lane.backend.config().name.clone());
    let answer = try_ask(
        lane, session, exchange, connection, body, asked_at, &mut note,
    )
    .await;
    exchange.upstream = Some(note);
    let answer = answer?;
    if answer.head.status.is_server_error() {
        exchange.error_code = Some(ErrorCode::UpstreamStatus);
    }
    Ok(answer)
}

async fn try_ask(
    lane: &Lane,
    session: &mut Session,
    exchange: &Exchange,
    connection: &Connection,
    body: &Bytes,
    asked_at: Instant,
    note: &mut UpstreamNote,
) -> Result<Answer, Stop> {
    let picked = lane.backend.pick()?;
    let endpoint = picked.endpoint;
    note.endpoint = Some(endpoint.text.clone());
    let head = session.head();
    let withheld = match (&lane.gate, &exchange.signature) {
        (Some(gate), Some(signature)) => gate.withheld_headers(signature.scheme),
        _ => &[],
    };
    let is_read = exchange.model.operation.is_some() || exchange.content.is_some();
    let encodings = match is_read || lane.answers.is_some() {
        true => Encodings::Identity,
        false => Encodings::Any,
    };
    let headers = outgoing::carried_over(&head.headers, withheld, encodings);
    let forwarded_for = forwarded_for(connection, &head.headers, lane);
    let said = Said {
        parent: note.begin_try(&exchange.trace, asked_at),
        ..said(
            exchange,
            connection,
            &forwarded_for,
            head.headers.get(header::HOST),
        )
    };
    let target = target(exchange, head.uri.query());
    let request = outgoing::request(
        head.method.clone(),
        &target,
        headers,
        &said,
        lane.backend.config(),
        endpoint,
        body.clone(),
    )?;
    tokio::select! {
        biased;
        answer = lane.backend.ask(picked, request, asked_at, note) => Ok(answer?),
        () = session.left() => Err(Stop::ClientLeft),
    }
}

/// The canonical path and the query as it came: weir and the backend cannot disagree on a path.
pub(super) fn target(exchange: &Exchange, query: Option<&str>) -> String {
    let mut target = String::with_capacity(exchange.path.len() + 1 + query.map_or(0, str::len));
    target.push_str(&exchange.path);
    if let Some(query) = query {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// The chain of addresses as weir believes it.
pub(super) fn forwarded_for(
    connection: &Connection,
    headers: &HeaderMap,
    lane: &Lane,
) -> HeaderValue {
    address::forwarded_for(connection.peer, headers, &lane.trusted_proxies)
        .unwrap_or_else(|| connection.peer_text.clone())
}

/// What weir says of the request to the backend.
pub(super) fn said<'a>(
    exchange: &'a Exchange,
    connection: &Connection,
    forwarded_for: &'a HeaderValue,
    host: Option<&'a HeaderValue>,
) -> Said<'a> {
    Said {
        request_id: exchange.id.as_str(),
        forwarded_for,
        scheme: connection.scheme,
        host: host.or(exchange.authority.as_ref()),
        cdn_loop: exchange.cdn_loop.as_ref(),
        platform: &exchange.platform,
        client: exchange.client_key.as_deref(),
        trace: &exchange.trace,
        parent: exchange.trace.span_id,
    }
}

/// Notes which model is asked for what, also for an answer that is known already.
pub(super) fn note_question(exchange: &mut Exchange, body: &[u8]) {
    if body.is_empty() {
        return;
    }
    let question = usage::question(&exchange.path, body);
    if question.operation.is_some() {
        exchange.model.operation = question.operation;
        exchange.model.request_model = question.model;
        exchange.model.request_stream = question.stream;
    }
}

/// Keeps an answer under the key of its question, if it has one.
pub(super) fn keeping(lane: &Lane, using: Use) -> impl Fn(Stored) + Sync {
    move |stored| {
        if let (Some(answers), Use::Full(key) | Use::Refresh(key)) = (&lane.answers, using) {
            answers.keep(key, stored);
        }
    }
}

/// What is read and kept of this answer.
pub(super) fn reading<'a>(
    lane: &Lane,
    exchange: &mut Exchange,
    answer: &Answer,
    using: Use,
    asked_at: Instant,
    keep: &'a (dyn Fn(Stored) + Sync),
) -> Reading<'a> {
    let config = lane.backend.config();
    let copy = copy(lane, answer, using);
    let status = match (&copy, using) {
        (Some(_), Use::Full(_)) => Some(Status::MissStored),
        (Some(_), Use::Refresh(_)) => Some(Status::RefreshStored),
        _ => None,
    };
    if let Some(status) = status {
        exchange
            .answer_headers
            .retain(|(name, _)| name != "cache-status");
        super::arrival::tell(exchange, "cache-status", status.header());
    }
    Reading {
        content: content_reader(exchange, answer),
        usage: usage_kind(exchange, answer).map(UsageReader::new),
        copying: copy.map(|copy| Copying { copy, keep }),
        idle_timeout: config.idle_timeout,
        deadline: asked_at + config.total_timeout,
    }
}

/// Room for a copy of the answer, where question and answer allow to keep one.
fn copy(lane: &Lane, answer: &Answer, using: Use) -> Option<CopyBuffer> {
    let answers = lane.answers.as_ref()?;
    let (Use::Full(_) | Use::Refresh(_)) = using else {
        return None;
    };
    let status = answer.head.status.as_u16();
    let headers = &answer.head.headers;
    let keepable = answers.keepable(status, headers) == Keepable::Yes;
    keepable.then(|| CopyBuffer::new(status, headers, answers.answer_bytes_max()))
}

fn usage_kind(exchange: &Exchange, answer: &Answer) -> Option<Kind> {
    exchange.model.operation?;
    if answer.head.status != StatusCode::OK {
        return None;
    }
    if answer.head.headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    Kind::of(answer.head.headers.get(header::CONTENT_TYPE)?)
}

/// Keeps of a question what the mode says.
pub(super) fn keep_question(exchange: &mut Exchange, mode: Mode, body: &[u8]) {
    if mode != Mode::None {
        let input = mode.keep(&content::question(body));
        exchange.content = Some(Box::new(Content {
            mode,
            input,
            output: None,
        }));
    }
}

/// What reads the text of an answer, where something is kept of it.
fn content_reader(exchange: &Exchange, answer: &Answer) -> Option<AnswerText> {
    let headers = &answer.head.headers;
    if exchange.content.is_none() || headers.contains_key(header::CONTENT_ENCODING) {
        return None;
    }
    let kind = Kind::of(headers.get(header::CONTENT_TYPE)?)?;
    Some(AnswerText::new(kind))
}

/// Keeps of an answer what the mode says.
pub(super) fn keep_answer(exchange: &mut Exchange, reading: &mut Reading<'_>) {
    let text = reading.content.take().map(AnswerText::finish);
    if let (Some(content), Some(text)) = (&mut exchange.content, text) {
        content.output = content.mode.keep(&text);
    }
}

/// Keeps of an answer out of the cache what the mode says.
pub(super) fn keep_stored(exchange: &mut Exchange, stored: &Stored) {
    let kind = match exchange.model.request_stream {
        true => Kind::Sse,
        false => Kind::Json,
    };
    if let Some(content) = &mut exchange.content {
        let mut text = AnswerText::new(kind);
        stored.pieces().for_each(|piece| text.feed(&piece));
        content.output = content.mode.keep(&text.finish());
    }
}

/// Notes what the answer told of the model call.
pub(super) fn note_usage(exchange: &mut Exchange, reading: &mut Reading<'_>) {
    let Some(reader) = reading.usage.take() else {
        return;
    };
    let read = reader.finish();
    let model = &mut exchange.model;
    let started = exchange.timing.started();
    model.response_model = read.model;
    model.finish_reasons = read.finish_reasons;
    model.input_tokens = read.input_tokens;
    model.output_tokens = read.output_tokens;
    model.time_to_first_chunk = read
        .first_content_at
        .map(|at| at.saturating_duration_since(started));
    model.generation = match (read.first_content_at, read.last_content_at) {
        (Some(first), Some(last)) => Some(last.saturating_duration_since(first)),
        _ => None,
    };
}
