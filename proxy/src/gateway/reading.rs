//! What is read and kept of an answer on its way.

use std::time::Duration;

use http::{StatusCode, header};

use super::inbound::UsageAsked;
use super::pipeline::RoutePipeline;
use super::routing::tell;
use crate::answer::Delivered;
use crate::answer::ahead::{self, ClientLeft, Wait};
use crate::answer::copying::{Copying, Keep, Kept};
use crate::answer::deliver::{Reading, deliver};
use crate::answer::waits::Waits;
use crate::answer::withheld::{self, UsageWithheld};
use crate::backend::client::Answer;
use crate::cache::copy::CopyBuffer;
use crate::cache::status::Status;
use crate::cache::{Stored, Use};
use crate::clock;
use crate::coding::Decoder;
use crate::content::AnswerText;
use crate::exchange::Exchange;
use crate::http::relay::Relay;
use crate::http::session::Session;
use crate::model::answer::{AnswerReader, Ending, Kind, Said, Shape};
use crate::model::estimate;
use crate::model::operation::{Operation, Yields};
use crate::refusal::ErrorCode;

/// Keeps an answer under the key of its question, if it has one, or forgets it.
pub(super) fn keeping(pipeline: &RoutePipeline, using: Use) -> impl Fn(Option<Stored>) + Sync {
    move |stored| {
        if let (Some(answers), Use::Full(key) | Use::Refresh(key)) = (&pipeline.answers, using) {
            match stored {
                Some(stored) => answers.keep(key, stored),
                None => answers.forget(&key),
            }
        }
    }
}

/// What is read and kept of this answer.
pub(super) fn reading<'a>(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    answer: &Answer,
    length: Option<u64>,
    waits: Waits,
    using: Use,
    keep: Keep<'a>,
) -> Reading<'a> {
    let decoder = Decoder::of(&answer.head.headers);
    let kind = answer_kind(exchange, answer).filter(|_| decoder.is_some());
    let received_at = exchange.at(waits.answered_at);
    let copy = kind.and_then(|_| copy(pipeline, exchange, answer, using, received_at));
    // What is kept has to be read, whatever was asked.
    let is_read = exchange.model.operation.is_some() || copy.is_some();
    let operation = exchange.model.operation;
    let usage = kind
        .filter(|_| is_read)
        .map(|kind| Box::new(AnswerReader::new(kind, operation)));
    let content = decoder
        .as_ref()
        .and_then(|_| content_reader(exchange, answer));
    Reading {
        decoder: decoder.filter(|_| usage.is_some() || content.is_some()),
        usage,
        content,
        withheld: None,
        copying: copy.map(|copy| Copying::new(copy, keep)),
        ahead: 0,
        length,
        waits,
    }
}

/// What takes the usage out of a stream whose client did not ask for it, though weir did. One in a coding is
/// left as it is: weir has asked for none.
pub(super) fn withheld(asked: UsageAsked, answer: &mut Answer) -> Option<UsageWithheld> {
    if asked == UsageAsked::No {
        return None;
    }
    let headers = &mut answer.head.headers;
    let is_plain = Decoder::of(headers).is_some_and(|decoder| decoder.is_plain());
    let kind = headers.get(header::CONTENT_TYPE).and_then(Kind::of);
    let is_stream = answer.head.status == StatusCode::OK && kind == Some(Kind::Sse);
    if !is_stream || !is_plain {
        return None;
    }
    withheld::forget_digests(headers);
    Some(UsageWithheld::new())
}

/// Room for a copy of the answer, where question and answer allow to keep one.
fn copy(
    pipeline: &RoutePipeline,
    exchange: &Exchange,
    answer: &Answer,
    using: Use,
    received_at: Duration,
) -> Option<CopyBuffer> {
    let answers = pipeline.answers.as_ref()?;
    let (Use::Full(_) | Use::Refresh(_)) = using else {
        return None;
    };
    let (_, verified) = pipeline.settled_headers(exchange);
    let status = answer.head.status.as_u16();
    let headers = &answer.head.headers;
    answers.copy(status, headers, verified, received_at).ok()
}

/// Passes the answer on. Its head says whether it is kept, as far as that shows before.
pub(super) async fn pass_on(
    session: &mut Session,
    exchange: &mut Exchange,
    mut answer: Answer,
    (reading, relay): (&mut Reading<'_>, &mut Relay),
    using: Use,
) -> Delivered {
    // What is withheld to the end is no part of the copy before it.
    if reading.copying.is_some() && reading.withheld.is_none() {
        let kind = reading.usage.as_ref().map(|usage| usage.kind());
        let wait = match kind {
            Some(Kind::Json) if !exchange.model.request_stream => Wait::ForTheEnd,
            _ => Wait::No,
        };
        let body = &mut answer.body;
        match ahead::look(session, exchange, body, reading, relay, wait).await {
            Ok(kept) => tell_kept(exchange, kept, using),
            Err(ClientLeft) => {
                if let Some(attempt) = exchange.attempt() {
                    attempt.end(clock::now());
                }
                return Delivered::ClientLeft;
            }
        }
    }
    deliver(session, exchange, answer, reading, relay).await
}

fn tell_kept(exchange: &mut Exchange, kept: Kept, using: Use) {
    let status = match (kept, using) {
        (Kept::Yes, Use::Full(_)) => Status::MissStored,
        (Kept::Yes, Use::Refresh(_)) => Status::RefreshStored,
        (Kept::No, _) | (_, Use::Bypass) => return,
    };
    let said = &mut exchange.answer_headers;
    said.retain(|(name, _)| name != "cache-status");
    tell(exchange, "cache-status", status.header());
}

/// How an answer is written that can be read: one that is there, whole, and not for a failure. Sound and its
/// transcripts are other things in any case, unless their type says that they are written as an answer is.
fn answer_kind(exchange: &Exchange, answer: &Answer) -> Option<Kind> {
    if !matches!(answer.head.status.as_u16(), 200..=203) {
        return None;
    }
    let content_type = answer.head.headers.get(header::CONTENT_TYPE);
    match exchange.model.operation.map(Operation::yields) {
        Some(Yields::Other) => Kind::by_name(content_type?),
        _ => Kind::of_answer(content_type),
    }
}

/// What reads the text of an answer, where something is kept of it.
fn content_reader(exchange: &Exchange, answer: &Answer) -> Option<AnswerText> {
    exchange.content.as_ref()?;
    let kind = Kind::of(answer.head.headers.get(header::CONTENT_TYPE)?)?;
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

/// Notes what the answer told of the model call, and whether it failed by its own words. An answer that its
/// client did not read to the end may have had one.
pub(super) fn note_usage(exchange: &mut Exchange, reading: &mut Reading<'_>, delivered: Delivered) {
    let Some(reader) = reading.usage.take() else {
        return;
    };
    let Some(operation) = exchange.model.operation else {
        return;
    };
    let read = reader.finish();
    if read.ending == Ending::Failed {
        exchange.fail(ErrorCode::UpstreamError);
    } else if delivered == Delivered::Whole && is_incomplete(operation, &read, exchange.status) {
        exchange.fail(ErrorCode::UpstreamIncomplete);
    }
    let model = &mut exchange.model;
    let is_estimable = read.is_estimable || operation.yields() != Yields::Text;
    model.usage = match read.usage.is_empty() && is_estimable {
        true => estimate::usage(operation, read.ending, &model.request_text, &read.text),
        false => read.usage,
    };
    let started = exchange.timing.started();
    model.response_model = read.model;
    model.finish_reasons = read.finish_reasons;
    model.time_to_first_chunk = read
        .first_content_at
        .map(|at| at.saturating_duration_since(started));
    model.generation = match (read.first_content_at, read.last_content_at) {
        (Some(first), Some(last)) => Some(last.saturating_duration_since(first)),
        _ => None,
    };
}

/// Whether an answer whose framing is whole lacks its own end, or all that it should be.
fn is_incomplete(operation: Operation, read: &Said, status: u16) -> bool {
    let lacks_end = read.ending == Ending::Open;
    match operation.yields() {
        Yields::Text if read.ending == Ending::Terminal => false,
        Yields::Text => match read.shape {
            Shape::Some => lacks_end,
            Shape::Empty => status == StatusCode::OK.as_u16(),
            Shape::NoEvents | Shape::Cut => true,
        },
        Yields::Other => lacks_end,
        Yields::Results | Yields::Figures => false,
    }
}
