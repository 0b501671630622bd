//! The request as each backend gets it: its path and its body with the names of models at this backend, with the usage
//! requested where the backend's configuration enables that.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;

use super::super::ask_usage::{self, UsageRequested};
use super::super::mode::RequestKind;
use crate::backend::Backend;
use crate::backend::ask_usage::may_change;
use crate::backend::balance::stable_hash;
use crate::backend::model_map::{map_body, map_path};
use crate::backend::request_body::RequestBody;
use crate::backend::retry::{BodyReplay, RepeatTraits, Repeatable, RequestOrigin};
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::session::Session;
use crate::model::creation::creates_state;
use crate::model::operation::Operation;

/// A request for one backend after another.
pub(super) struct OutgoingRequest {
    body: OutgoingBody,
    usage: UsageRequested,
    /// The path, if it is not the canonical one.
    path: Option<String>,
}

enum OutgoingBody {
    /// A whole body, which can be sent again: the client's, and the one for the backend in use.
    Replayable {
        original: Bytes,
        adapted: Bytes,
        /// Set when an endpoint has been sent all of a platform's delivery.
        sent: Option<Arc<AtomicBool>>,
    },
    /// A body that can be sent once; `None` while it is, and once it has been.
    Once(Option<RequestBody>),
}

impl OutgoingRequest {
    pub(super) fn new(body: RequestBody) -> Self {
        OutgoingRequest {
            body: match body.into_replayable() {
                Ok((original, sent)) => OutgoingBody::Replayable {
                    original,
                    adapted: Bytes::new(),
                    sent,
                },
                Err(once) => OutgoingBody::Once(Some(once)),
            },
            usage: UsageRequested::No,
            path: None,
        }
    }

    /// Adapts the request to a backend. After the last one, the client's own body is not needed any longer.
    pub(super) fn adapt(
        &mut self,
        backend: &Backend,
        session: &Session,
        exchange: &Exchange,
        is_last: bool,
    ) {
        let models = &backend.config().model_map;
        let is_mapped = !models.is_empty() && exchange.model.operation.is_some();
        self.path = match is_mapped {
            true => map_path(models, &exchange.path),
            false => None,
        };
        self.usage = UsageRequested::No;
        let OutgoingBody::Replayable {
            original, adapted, ..
        } = &mut self.body
        else {
            return;
        };
        *adapted = match is_last {
            true => std::mem::take(original),
            false => original.clone(),
        };
        if is_mapped
            && may_change(&session.head().headers)
            && let Some(changed) = map_body(models, adapted)
        {
            *adapted = changed;
        }
        if let Some(changed) = ask_usage::ask(backend, session, exchange, adapted) {
            self.usage = UsageRequested::Yes;
            *adapted = changed;
        }
    }

    /// Whether the body can be sent again.
    pub(super) fn body(&self) -> BodyReplay {
        match &self.body {
            OutgoingBody::Replayable { .. } => BodyReplay::Whole,
            OutgoingBody::Once(Some(_)) => BodyReplay::Unsent,
            OutgoingBody::Once(None) => BodyReplay::Gone,
        }
    }

    /// Whether the request may be repeated.
    pub(super) fn repeatable(
        &self,
        origin: RequestOrigin,
        session: &Session,
        exchange: &Exchange,
    ) -> Repeatable {
        let creates = |operation: &Operation| match &self.body {
            OutgoingBody::Replayable { original, .. } => creates_state(*operation, original),
            OutgoingBody::Once(_) => false,
        };
        let operation = exchange.model.operation;
        Repeatable::of(&RepeatTraits {
            method: &exchange.method,
            operation: operation.filter(|operation| !creates(operation)),
            headers: &session.head().headers,
            origin,
            body: self.body(),
        })
    }

    /// Whether the usage was requested only by weir.
    pub(super) fn usage(&self) -> UsageRequested {
        self.usage
    }

    /// The body for one attempt.
    pub(super) fn take_body(&mut self) -> RequestBody {
        match &mut self.body {
            OutgoingBody::Replayable { adapted, sent, .. } => {
                RequestBody::whole(adapted.clone()).flagging(sent.clone())
            }
            OutgoingBody::Once(once) => {
                let empty = || RequestBody::whole(Bytes::new());
                once.take().unwrap_or_else(empty)
            }
        }
    }

    /// Takes a body back of which nothing was sent.
    pub(super) fn return_body(&mut self, unsent: Option<RequestBody>) {
        if let OutgoingBody::Once(once) = &mut self.body {
            *once = unsent;
        }
    }

    /// The path, so that weir and the backend cannot disagree on it, and the query as it was received.
    pub(super) fn target(&self, exchange: &Exchange, query: Option<&str>) -> String {
        let path = self.path.as_deref().unwrap_or(&exchange.path);
        let mut target = String::with_capacity(path.len() + 1 + query.map_or(0, str::len));
        target.push_str(path);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        target
    }
}

/// Who sent the request.
pub(super) fn origin(
    pipeline: &RoutePipeline,
    kind: RequestKind,
    exchange: &Exchange,
) -> RequestOrigin {
    match kind {
        RequestKind::Upgrade | RequestKind::Grpc => RequestOrigin::OpenStream,
        RequestKind::Plain if pipeline.is_delivery(exchange) => RequestOrigin::Delivery,
        RequestKind::Plain => RequestOrigin::Client,
    }
}

/// The hash of what consistent balancing goes by: the conversation, else the client, else its address.
pub(super) fn balancing_key(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &Exchange,
) -> u64 {
    let conversation = session.header(&pipeline.config.conversation_header);
    match (conversation, &exchange.client_name) {
        (Some(conversation), _) => stable_hash(conversation.as_bytes()),
        (None, Some(client)) => stable_hash(client.as_bytes()),
        (None, None) => stable_hash(exchange.client_ip.to_canonical().to_string().as_bytes()),
    }
}
