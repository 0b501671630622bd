//! Whether weir requests the token usage of a stream whose client did not request it
//! (`ask_usage`).

use super::model_request::operation;
use crate::backend::ask_usage;
use crate::body::Body;
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::session::Session;
use crate::model::operation::Operation;

/// Whether weir requested the usage, so that the chunk that reports it has to be stripped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageRequested {
    Yes,
    No,
}

/// Whether the usage may be requested, if the request is for a stream and its client did not request it.
pub(super) fn may_ask(pipeline: &RoutePipeline, session: &Session, exchange: &Exchange) -> bool {
    let path = exchange.path.trim_end_matches('/');
    pipeline.backend.config().ask_usage
        && operation(exchange) == Some(Operation::Chat)
        // Vertex AI serves the formats of other vendors under paths of its own.
        && path.ends_with("/completions")
        && ask_usage::may_change(&session.head().headers)
}

/// Requests the usage in the body that is forwarded, if the backend's configuration enables it and the
/// client did not request it. The signature has been verified over the client's own bytes before.
pub(super) fn ask(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
    body: Option<&mut Body>,
) -> UsageRequested {
    let Some(body) = body else {
        return UsageRequested::No;
    };
    if !exchange.model.request_stream || !may_ask(pipeline, session, exchange) {
        return UsageRequested::No;
    }
    match ask_usage::with_usage_requested(&body.bytes) {
        Some(changed) => {
            body.bytes = changed;
            UsageRequested::Yes
        }
        None => UsageRequested::No,
    }
}
