//! What is read and kept of a question on its way: all of it at once, or piece by piece as it goes by.

use std::sync::Arc;

use http::{HeaderMap, Method};

use super::inbound::Inbound;
use super::pipeline::RoutePipeline;
use crate::coding::Decoder;
use crate::content::{self, Content, Mode};
use crate::exchange::Exchange;
use crate::http::budget::Budget;
use crate::http::budgeted_reader::{BudgetedReader, PIECE_BYTES};
use crate::http::session::Session;
use crate::model::operation::Operation;
use crate::model::question::{Question, QuestionReader};
use crate::refusal::Refusal;
use crate::route::path::folded;

/// Notes which model is asked for what, also for an answer that is known already. Of a body that is still
/// to come, what is returned reads it while it goes by.
pub(super) async fn read(
    pipeline: &RoutePipeline,
    exchange: &mut Exchange,
    session: &mut Session,
    body: &Inbound,
    budget: &Arc<Budget>,
) -> Result<Option<Box<BudgetedReader>>, Refusal> {
    let Some(operation) = operation(exchange).filter(|_| !is_empty(body, session)) else {
        return Ok(None);
    };
    exchange.model.operation = Some(operation);
    let headers = &session.head().headers;
    let reader = QuestionReader::of(operation, &exchange.path, headers);
    // What a body is unpacked to may be no larger than a body may be.
    let reader = reader.within(pipeline.config.body_bytes);
    let mut asked = BudgetedReader::new(reader, budget);
    let Inbound::Buffered(body) = body else {
        return Ok(Some(Box::new(asked)));
    };
    let (first, rest) = body.bytes.split_at(body.bytes.len().min(PIECE_BYTES));
    asked.feed(first)?;
    for piece in rest.chunks(PIECE_BYTES) {
        // Others have their turn.
        tokio::task::yield_now().await;
        asked.feed(piece)?;
    }
    note(exchange, asked.finish());
    Ok(None)
}

fn is_empty(body: &Inbound, session: &mut Session) -> bool {
    match body {
        Inbound::Buffered(body) => body.bytes.is_empty(),
        Inbound::PassedThrough => session.is_body_empty(),
    }
}

/// Notes what a question has said, perhaps so far.
pub(super) fn note(exchange: &mut Exchange, question: Question) {
    exchange.model.request_model = question.model;
    exchange.model.request_stream = question.stream;
    exchange.model.request_text = question.text;
}

/// What a request asks of a model, also where only a lenient backend would take its path for that.
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

/// Keeps of a question what the mode says.
pub(super) fn keep(exchange: &mut Exchange, mode: Mode, headers: &HeaderMap, body: &[u8]) {
    if mode != Mode::None {
        let input = mode.keep(&text(headers, body));
        exchange.content = Some(Box::new(Content {
            mode,
            input,
            output: None,
        }));
    }
}

/// The texts of a question, through its codings.
fn text(headers: &HeaderMap, body: &[u8]) -> String {
    let Some(mut decoder) = Decoder::of(headers) else {
        return String::new();
    };
    if decoder.is_plain() {
        return content::question(body);
    }
    // What is longer is not read.
    decoder.limit(content::BODY_BYTES_MAX as u64);
    let mut plain = Vec::new();
    decoder.feed(body, |decoded| plain.extend_from_slice(decoded));
    content::question(&plain)
}
