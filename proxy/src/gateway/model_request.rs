//! What is read of the request of a model call (model, stream, text), and what is recorded of its text:
//! all at once from a buffered body, piece by piece from one that is passed through.

use std::sync::Arc;

use http::{HeaderMap, Method};

use crate::coding::Decoder;
use crate::content::{self, Content, Mode};
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::budget::Budget;
use crate::http::budgeted_reader::{BudgetedReader, PIECE_BYTES};
use crate::http::relay::Relay;
use crate::http::session::Session;
use crate::model::operation::Operation;
use crate::model::question::{Question, QuestionReader};
use crate::refusal::Refusal;
use crate::route::path::folded;

/// Reads which model is asked to do what, also for a response that turns out to be stored. Where the body
/// is passed through (`buffered` is `None`), the reader that is returned reads it on its way.
pub(super) async fn read(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    session: &mut Session,
    buffered: Option<&[u8]>,
    budget: &Arc<Budget>,
) -> Result<Option<Box<BudgetedReader>>, Refusal> {
    let is_empty = match buffered {
        Some(body) => body.is_empty(),
        None => session.is_body_empty(),
    };
    let Some(operation) = operation(exchange).filter(|_| !is_empty) else {
        return Ok(None);
    };
    exchange.model.operation = Some(operation);
    let headers = &session.head().headers;
    let reader = QuestionReader::of(operation, &exchange.path, headers);
    // A decoded body is bounded as the body itself is.
    let reader = reader.within(pipeline.config.body_bytes);
    let mut reader = BudgetedReader::new(reader, budget);
    let Some(body) = buffered else {
        return Ok(Some(Box::new(reader)));
    };
    let (first, rest) = body.split_at(body.len().min(PIECE_BYTES));
    reader.feed(first)?;
    for piece in rest.chunks(PIECE_BYTES) {
        // A large body must not hold up the other requests of this worker.
        tokio::task::yield_now().await;
        reader.feed(piece)?;
    }
    note(exchange, reader.finish());
    Ok(None)
}

/// Notes how much of a passed-through body has been forwarded, and what has been read of it.
pub(super) fn note_relayed(exchange: &mut Exchange, relay: &Relay) {
    exchange.request_body_bytes = exchange.request_body_bytes.max(relay.bytes());
    if let Some(question) = relay.question() {
        note(exchange, question);
    }
}

fn note(exchange: &mut Exchange, read: Question) {
    exchange.model.request_model = read.model;
    exchange.model.request_stream = read.stream;
    exchange.model.request_text = read.text;
}

/// The model operation that a request asks for, also where only a lenient backend would take its path for
/// one.
pub(super) fn operation(exchange: &Exchange) -> Option<Operation> {
    if exchange.method != Method::POST {
        return None;
    }
    let path = &*exchange.path;
    Operation::of(path).or_else(|| {
        let folded = folded::may_differ(path).then(|| folded::forms(path).0);
        Operation::of(&folded?)
    })
}

/// Records the text of a request as `events.content` asks.
pub(super) fn record_text(exchange: &mut Exchange, mode: Mode, headers: &HeaderMap, body: &[u8]) {
    if mode != Mode::None {
        let input = mode.keep(&text(headers, body));
        exchange.content = Some(Box::new(Content {
            mode,
            input,
            output: None,
        }));
    }
}

/// The text of a request, decoded.
fn text(headers: &HeaderMap, body: &[u8]) -> String {
    let Some(mut decoder) = Decoder::of(headers) else {
        return String::new();
    };
    if decoder.is_plain() {
        return content::question(body);
    }
    // Nothing beyond this is read.
    decoder.limit(content::BODY_BYTES_MAX as u64);
    let mut plain = Vec::new();
    decoder.feed(body, |decoded| plain.extend_from_slice(decoded));
    content::question(&plain)
}
