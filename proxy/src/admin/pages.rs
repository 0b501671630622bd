//! The pages: each reads a snapshot and answers at once.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::rejection::QueryRejection;
use axum::extract::{DefaultBodyLimit, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get};
use axum::{Extension, Router, body::Body};
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::door::{Door, Entry};
use super::problem::Problem;
use super::serve::Peer;
use super::{AdminState, Readiness};
use super::{accept, alerts};
use crate::alert::board::timestamp;
use crate::audit::{Action, Audit, Refused};
use crate::clock;

/// How many events `/api/events` gives when it is not told, and at most.
const EVENTS_MAX: usize = 100;

/// Of what is sent to the admin side.
const BODY_BYTES_MAX: usize = 64 * 1024;

const INDEX: &str = include_str!("index.html");

pub(super) struct Pages {
    pub(super) state: AdminState,
    started: Instant,
}

/// All pages behind their door.
pub(super) fn router(state: AdminState, door: Door, started: Instant) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(show_metrics))
        .route("/api/events", get(events))
        .route("/api/status", get(status))
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
        .with_state(Arc::new(Pages { state, started }))
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

async fn index() -> Html<&'static str> {
    Html(INDEX)
}

async fn health() -> Response {
    typed("application/json", r#"{"status":"ok"}"#)
}

async fn ready(State(pages): State<Arc<Pages>>) -> Response {
    let readiness = pages.state.readiness.get();
    let body = json!({"status": readiness.as_str()}).to_string();
    let mut response = typed("application/json", body);
    if readiness != Readiness::Ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

async fn show_metrics(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    let format = accept::format(&headers);
    let mut response = typed(format.content_type(), pages.state.metrics.render(format));
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}

#[derive(serde::Deserialize)]
struct EventsQuery {
    limit: Option<usize>,
}

async fn events(
    State(pages): State<Arc<Pages>>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|_| Problem::WrongLimit)?;
    let limit = query.limit.unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
    // Each event is a JSON object already.
    let events = pages.state.events.recent(limit).join(",\n");
    Ok(typed("application/json", format!("[{events}]\n")))
}

async fn status(State(pages): State<Arc<Pages>>) -> Response {
    let state = &pages.state;
    let routes = state.routes.iter().map(|route| {
        json!({
            "name": *route.name,
            "path": route.path,
            "platform": *route.platform,
            "backend": *route.backend,
        })
    });
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "status": state.readiness.get().as_str(),
        "uptime_s": clock::now().saturating_duration_since(pages.started).as_secs(),
        "requests_in_flight": state.in_flight.get(),
        "connections": state.connections.get(),
        "routes": routes.collect::<Vec<_>>(),
        "shipping": shipping(state),
    });
    typed("application/json", body.to_string())
}

/// How it goes with each way to the index, by what goes there; empty where nothing is shipped.
fn shipping(state: &AdminState) -> Value {
    let ships = state.ships.iter().map(|(what, ship)| {
        let counts = ship.ledger.counts();
        let mut shown = json!({
            "status": "ok",
            "spool_events": counts.spooled,
            "spool_bytes": ship.spool.bytes(),
            "indexed": counts.indexed,
            "failure_store": counts.failure_store,
            "duplicate": counts.duplicate,
            "dead_letter": counts.dead_letter,
            "dropped": counts.dropped,
        });
        if let Some(obstacle) = ship.obstacle() {
            shown["status"] = json!("waiting");
            shown["reason"] = json!(obstacle.condition.as_str());
            shown["detail"] = json!(obstacle.said);
            shown["node"] = json!(obstacle.node);
            shown["since"] = json!(timestamp(obstacle.since));
        }
        ((*what).to_owned(), shown)
    });
    Value::Object(ships.collect())
}

pub(super) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
