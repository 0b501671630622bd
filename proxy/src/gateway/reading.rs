//! What is read and kept of a question and its answer on their way.

use http::{Method, StatusCode, header};

use super::lane::Lane;
use crate::answer::deliver::{Copying, Reading, Waits};
use crate::backend::client::Answer;
use crate::cache::copy::CopyBuffer;
use crate::cache::status::Status;
use crate::cache::{Keepable, Stored, Use};
use crate::content::{self, AnswerText, Content, Mode};
use crate::exchange::Exchange;
use crate::model::answer::{AnswerReader, Kind};
use crate::model::operation::Operation;
use crate::model::question::QuestionReader;
use crate::route::path::folded;

/// Notes which model is asked for what, also for an answer that is known already.
pub(super) fn note_question(exchange: &mut Exchange, body: &[u8]) {
    let Some(operation) = operation(exchange).filter(|_| !body.is_empty()) else {
        return;
    };
    let mut reader = QuestionReader::new(operation, &exchange.path);
    reader.feed(body);
    let question = reader.finish();
    exchange.model.operation = Some(operation);
    exchange.model.request_model = question.model;
    exchange.model.request_stream = question.stream;
}

/// What a request asks of a model, also where only a lenient backend would take its path for that.
fn operation(exchange: &Exchange) -> Option<Operation> {
    if exchange.method != Method::POST {
        return None;
    }
    let path = &*exchange.path;
    Operation::of(path).or_else(|| {
        let folded = folded::may_differ(path).then(|| folded::forms(path).0);
        Operation::of(&folded?)
    })
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
    Reading {
        content: content_reader(exchange, answer),
        usage: usage_kind(exchange, answer)
            .map(|kind| AnswerReader::new(kind, exchange.model.operation)),
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
    model.usage = read.usage;
    model.time_to_first_chunk = read
        .first_content_at
        .map(|at| at.saturating_duration_since(started));
    model.generation = match (read.first_content_at, read.last_content_at) {
        (Some(first), Some(last)) => Some(last.saturating_duration_since(first)),
        _ => None,
    };
}
