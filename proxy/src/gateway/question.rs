//! What is read and kept of a question on its way: all of it at once, or piece by piece as it goes by.

use http::{HeaderMap, Method};

use super::inbound::Inbound;
use crate::coding::Decoder;
use crate::content::{self, Content, Mode};
use crate::exchange::Exchange;
use crate::listener::session::Session;
use crate::model::operation::Operation;
use crate::model::question::{Question, QuestionReader};
use crate::route::path::folded;

/// A longer question is read in pieces of this size, between which others have their turn.
const PIECE_BYTES: usize = 64 * 1024;

/// Notes which model is asked for what, also for an answer that is known already. Of a body that is still
/// to come, the reader reads it while it goes by.
pub(super) async fn read(
    exchange: &mut Exchange,
    session: &mut Session,
    body: &Inbound,
) -> Option<Box<QuestionReader>> {
    let operation = operation(exchange)?;
    match body {
        Inbound::Buffered(body) if body.bytes.is_empty() => None,
        Inbound::PassedThrough if session.is_body_empty() => None,
        Inbound::Buffered(body) => {
            let mut reader = begin(exchange, operation, &session.head().headers);
            let mut pieces = body.bytes.chunks(PIECE_BYTES);
            if let Some(first) = pieces.next() {
                reader.feed(first);
            }
            for piece in pieces {
                tokio::task::yield_now().await;
                reader.feed(piece);
            }
            note(exchange, reader.question());
            None
        }
        Inbound::PassedThrough => {
            let reader = begin(exchange, operation, &session.head().headers);
            Some(Box::new(reader))
        }
    }
}

fn begin(exchange: &mut Exchange, operation: Operation, headers: &HeaderMap) -> QuestionReader {
    exchange.model.operation = Some(operation);
    QuestionReader::of(operation, &exchange.path, headers)
}

/// Notes what a question has said, perhaps so far.
pub(super) fn note(exchange: &mut Exchange, question: Question) {
    exchange.model.request_model = question.model;
    exchange.model.request_stream = question.stream;
    exchange.model.request_text = question.text;
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

fn text(headers: &HeaderMap, body: &[u8]) -> String {
    match Decoder::of(headers) {
        Some(decoder) if decoder.is_plain() => content::question(body),
        Some(mut decoder) => {
            // One byte more than is read says that it is too long.
            let mut plain = Vec::new();
            for piece in body.chunks(PIECE_BYTES) {
                decoder.feed(piece, |decoded| {
                    let room = (content::BODY_BYTES_MAX + 1).saturating_sub(plain.len());
                    plain.extend_from_slice(&decoded[..room.min(decoded.len())]);
                });
                if plain.len() > content::BODY_BYTES_MAX {
                    break;
                }
            }
            content::question(&plain)
        }
        None => String::new(),
    }
}
