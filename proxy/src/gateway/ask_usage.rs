//! Whether weir requests the token usage of a stream whose client did not request it
//! (`ask_usage`).

use bytes::Bytes;

use super::model_request::operation;
use crate::backend::{Backend, ask_usage};
use crate::exchange::Exchange;
use crate::http::session::Session;
use crate::model::operation::Operation;

/// Whether weir requested the usage, so that the chunk that reports it has to be stripped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageRequested {
    Yes,
    No,
}

/// Whether the usage may be requested, if the request is for a stream and its client did not request it.
pub(super) fn may_ask(backend: &Backend, session: &Session, exchange: &Exchange) -> bool {
    let path = exchange.path.trim_end_matches('/');
    backend.config().ask_usage
        && operation(exchange) == Some(Operation::Chat)
        // Vertex AI serves the formats of other vendors under paths of its own.
        && path.ends_with("/completions")
        && ask_usage::may_change(&session.head().headers)
}

/// The body with the usage requested, if the backend's configuration enables it and the client did not request it.
/// The signature has been verified over the client's own bytes before.
pub(super) fn ask(
    backend: &Backend,
    session: &Session,
    exchange: &Exchange,
    body: &[u8],
) -> Option<Bytes> {
    if !exchange.model.request_stream || !may_ask(backend, session, exchange) {
        return None;
    }
    ask_usage::with_usage_requested(body)
}
