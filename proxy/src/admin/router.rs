//! All pages and their methods, behind one authentication.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Extension, Router};
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, X_CONTENT_TYPE_OPTIONS};

use super::auth::{Access, Auth};
use super::pages::{self, Pages};
use super::problem::Problem;
use super::serve::Peer;
use super::{AdminState, alerts, backends, purge, reload};
use crate::audit::{Audit, AuditAction, RejectedAccess};

/// The largest request body.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// All pages, behind the authentication.
pub(super) fn router(state: AdminState, auth: Auth, started: Instant) -> Router {
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
        .route("/api/backends", get(backends::backends))
        .route("/api/cache", delete(purge::purge))
        .route("/api/reload", post(reload::reload))
        .route("/runbooks/{name}", get(alerts::runbook))
        .fallback(async || Problem::NoPage)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .method_not_allowed_fallback(async || Problem::WrongMethod)
        .layer(middleware::from_fn_with_state(
            (auth, state.audit.clone()),
            authenticate,
        ))
        .with_state(Arc::new(Pages::new(state, started)))
}

async fn authenticate(
    State((auth, audit)): State<(Auth, Option<Arc<Audit>>)>,
    Extension(Peer(address)): Extension<Peer>,
    request: Request,
    next: Next,
) -> Response {
    let access = auth.check(request.uri(), request.headers());
    let outcome = match access {
        Access::Granted => None,
        Access::NoToken => Some("no_token"),
        Access::WrongToken => Some("wrong_token"),
        Access::ForeignHost => Some("foreign_host"),
    };
    if let (Some(outcome), Some(audit)) = (outcome, audit) {
        let refused = RejectedAccess {
            action: AuditAction::Admin,
            scheme: "admin",
            outcome,
            route: None,
            request_id: None,
        };
        audit.refused(&refused, address);
    }
    let mut response = match access {
        Access::Granted => next.run(request).await,
        Access::NoToken | Access::WrongToken => Problem::NoToken.into_response(),
        Access::ForeignHost => Problem::ForeignHost.into_response(),
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
