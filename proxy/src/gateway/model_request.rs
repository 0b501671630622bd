//! Reads the request of a model call (model, stream, text) and records its text:
//! at once from a buffered body, piece by piece from a pass-through body.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::checks;
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

/// The state of a request after the first read of its body.
pub(super) struct RequestReading {
    /// What the cache may do; `None` if it is not involved.
    pub(super) decision: Option<CacheDecision>,
    /// The reader, if there is more to read: of a large body, or a pass-through body.
    pub(super) reader: Option<Box<BudgetedReader>>,
}

/// Reads the model call, and decides what the cache may do, in one pass over the body. This is not async, so
/// that its local variables do not enlarge the future of the request.
pub(super) fn read_and_decide(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    session: &mut Session,
    buffered: Option<&[u8]>,
    budget: &Arc<Budget>,
) -> Result<RequestReading, Refusal> {
    let mut reader = reader(pipeline, exchange, session, buffered, budget);
    let decision = checks::decide(pipeline, session, exchange, buffered, reader.as_mut());
    let reader = match (reader, buffered) {
        (Some(reader), Some(body)) => read_first(exchange, reader, body)?,
        (reader, _) => reader.map(Box::new),
    };
    Ok(RequestReading { decision, reader })
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
    // A decoded body has the same size limit as the body itself.
    let reader = reader.within(pipeline.config.body_bytes);
    Some(BudgetedReader::new(reader, budget))
}

/// Reads a body of the usual size, unless the cache has read it for its key.
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
        // A large body must not delay the other requests of this worker.
        tokio::task::yield_now().await;
        reader.feed(piece)?;
    }
    note(exchange, reader.finish());
    Ok(None)
}

/// Notes how much of a pass-through body has been forwarded, and what it has stated.
pub(super) fn note_relayed(exchange: &mut Exchange, relay: &Relay) {
    exchange.request_body_bytes = exchange.request_body_bytes.max(relay.bytes());
    if let Some(facts) = relay.facts() {
        note(exchange, facts);
    }
}

fn note(exchange: &mut Exchange, read: RequestFacts) {
    exchange.model.request_model = read.model;
    exchange.model.request_stream = read.stream;
    exchange.model.request_text = read.text;
}

/// The model operation of a request, even if only a lenient backend would treat its path as that of
/// an operation.
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

/// Records the text of a request according to `events.content`.
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
