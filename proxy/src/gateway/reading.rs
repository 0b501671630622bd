//! What is read and kept of an answer on its way.

use http::{StatusCode, header};

use super::lane::Lane;
use crate::answer::Delivered;
use crate::answer::deliver::{Copying, Reading, Stream, Waits};
use crate::backend::client::Answer;
use crate::cache::copy::CopyBuffer;
use crate::cache::status::Status;
use crate::cache::{Keepable, Stored, Use};
use crate::coding::Decoder;
use crate::content::AnswerText;
use crate::exchange::Exchange;
use crate::model::answer::{AnswerReader, Ending, Kind};
use crate::model::usage::Origin;
use crate::refusal::ErrorCode;

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
    length: Option<u64>,
    waits: Waits,
    using: Use,
    keep: &'a (dyn Fn(Stored) + Sync),
) -> Reading<'a> {
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
    let kind = usage_kind(exchange, answer);
    let decoder = Decoder::of(&answer.head.headers);
    let (usage, content) = match &decoder {
        Some(_) => (
            kind.map(|kind| AnswerReader::new(kind, exchange.model.operation)),
            content_reader(exchange, answer),
        ),
        None => (None, None),
    };
    Reading {
        decoder: decoder.filter(|_| usage.is_some() || content.is_some()),
        stream: match kind.filter(|_| usage.is_some()) {
            Some(Kind::Sse) => Stream::Events,
            Some(Kind::Json) => Stream::Unseen,
            None => Stream::No,
        },
        usage,
        content,
        copying: copy.map(|copy| Copying { copy, keep }),
        length,
        waits,
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
    Kind::of_answer(answer.head.headers.get(header::CONTENT_TYPE))
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
    let mut read = reader.finish();
    match read.ending {
        Ending::Failed => exchange.fail(ErrorCode::UpstreamError),
        Ending::Open if delivered == Delivered::Whole => {
            exchange.fail(ErrorCode::UpstreamIncomplete);
        }
        _ => {}
    }
    if read.usage.is_empty() && !read.text.is_empty() {
        read.usage.output_tokens = Some(read.text.tokens());
        read.usage.origin = Origin::Estimated;
    }
    let model = &mut exchange.model;
    let started = exchange.timing.started();
    model.response_model = read.model;
    model.finish_reasons = read.finish_reasons;
    model.usage = read.usage;
    model.time_to_first_chunk = read
        .first_content_at
        .map(|at| at.saturating_duration_since(started));
    model.generation = match (read.first_content_at, read.last_content_at) {
        (Some(first), Some(last)) => Some(last.saturating_duration_since(first)),
        _ => None,
    };
}
