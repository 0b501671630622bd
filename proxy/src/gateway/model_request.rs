//! What is read of the request of a model call (model, stream, text), and what is recorded of its text:
//! all at once from a buffered body, piece by piece from one that is passed through.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::guards;
use crate::cache::CacheDecision;
use crate::coding::Decoder;
use crate::content::{self, Content, Mode};
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::budget::Budget;
use crate::http::budgeted_reader::{BudgetedReader, PIECE_BYTES};
use crate::http::relay::Relay;
use crate::http::session::Session;
use crate::model::operation::Operation;
use crate::model::request::{RequestFacts, RequestReader};
use crate::refusal::Refusal;
use crate::route::path::folded;

/// What became of the body of a request at the cache stage.
pub(super) struct Read {
    /// What the cache may do; `None` where it has no part in the request.
    pub(super) decision: Option<CacheDecision>,
    /// Has more to read: a large body, or one that is passed through.
    pub(super) reader: Option<Box<BudgetedReader>>,
}

/// Reads which model is asked to do what, and what the cache may do, in one pass over the body. No future is
/// made larger by what that needs.
pub(super) fn read(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    session: &mut Session,
    buffered: Option<&[u8]>,
    budget: &Arc<Budget>,
) -> Result<Read, Refusal> {
    let mut reader = reader(pipeline, exchange, session, buffered, budget);
    let decision = guards::decide(pipeline, session, exchange, buffered, reader.as_mut());
    let reader = match (reader, buffered) {
        (Some(reader), Some(body)) => read_first(exchange, reader, body)?,
        (reader, _) => reader.map(Box::new),
    };
    Ok(Read { decision, reader })
}

fn reader(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    session: &mut Session,
    buffered: Option<&[u8]>,
    budget: &Arc<Budget>,
) -> Option<BudgetedReader> {
    let is_empty = match buffered {
        Some(body) => body.is_empty(),
        None => session.is_body_empty(),
    };
    let operation = operation(exchange).filter(|_| !is_empty)?;
    exchange.model.operation = Some(operation);
    let headers = &session.head().headers;
    let reader = RequestReader::of(operation, &exchange.path, headers);
    // A decoded body is bounded as the body itself is.
    let reader = reader.within(pipeline.config.body_bytes);
    Some(BudgetedReader::new(reader, budget))
}

/// Reads a body of usual size, unless the cache has done so for its key.
fn read_first(
    exchange: &mut Exchange,
    mut reader: BudgetedReader,
    body: &[u8],
) -> Result<Option<Box<BudgetedReader>>, Refusal> {
    if !reader.is_complete() {
        let (first, rest) = body.split_at(body.len().min(PIECE_BYTES));
        reader.feed(first)?;
        if !rest.is_empty() {
            return Ok(Some(Box::new(reader)));
        }
    }
    note(exchange, reader.finish());
    Ok(None)
}

/// Reads the rest of a large buffered body.
pub(super) async fn read_rest(
    exchange: &mut Exchange,
    reader: Option<Box<BudgetedReader>>,
    buffered: Option<&[u8]>,
) -> Result<Option<Box<BudgetedReader>>, Refusal> {
    let Some(body) = buffered else {
        return Ok(reader);
    };
    let Some(mut reader) = reader else {
        return Ok(None);
    };
    for piece in body.chunks(PIECE_BYTES).skip(1) {
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
    if let Some(question) = relay.facts() {
        note(exchange, question);
    }
}

fn note(exchange: &mut Exchange, read: RequestFacts) {
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
        return content::request_text(body);
    }
    // Nothing beyond this is read.
    decoder.limit(content::BODY_BYTES_MAX as u64);
    let mut plain = Vec::new();
    decoder.feed(body, |decoded| plain.extend_from_slice(decoded));
    content::request_text(&plain)
}
