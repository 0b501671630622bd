//! Every page and its method, behind one check of who may come in.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Extension, Router};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};

use super::door::{Door, Entry};
use super::pages::{self, Pages};
use super::problem::Problem;
use super::serve::Peer;
use super::{AdminState, alerts};
use crate::audit::{Action, Audit, Refused};

/// Of what is sent to the admin side.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// All pages behind their door.
pub(super) fn router(state: AdminState, door: Door, started: Instant) -> Router {
    Router::new()
        .route("/", get(pages::index))
        .route("/healthz", get(pages::health))
        .route("/readyz", get(pages::ready))
        .route("/metrics", get(pages::show_metrics))
        .route("/api/events", get(pages::events))
        .route("/api/status", get(pages::status))
        .route("/api/alerts", get(alerts::alerts))
        .route("/api/silences", get(alerts::silences).post(alerts::silence))
        .route("/api/silences/{id}", delete(alerts::end_silence))
        .route("/runbooks/{name}", get(alerts::runbook))
        .fallback(async || Problem::NoPage)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .method_not_allowed_fallback(async || Problem::WrongMethod)
        .layer(middleware::from_fn_with_state(
            (door, state.audit.clone()),
            enter,
        ))
        .with_state(Arc::new(Pages::new(state, started)))
}

async fn enter(
    State((door, audit)): State<(Door, Option<Arc<Audit>>)>,
    Extension(Peer(address)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let entry = door.check(request.uri(), request.headers());
    let outcome = match entry {
        Entry::Granted => None,
        Entry::NoToken => Some("no_token"),
        Entry::ForeignHost => Some("foreign_host"),
    };
    if let (Some(outcome), Some(audit)) = (outcome, audit) {
        let refused = Refused {
            action: Action::Admin,
            scheme: "admin",
            outcome,
            route: None,
            request_id: None,
        };
        audit.refused(&refused, address);
    }
    let mut response = match entry {
        Entry::Granted => next.run(request).await,
        Entry::NoToken => Problem::NoToken.into_response(),
        Entry::ForeignHost => Problem::ForeignHost.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"),
    );
    response
}
