//! The pages: each reads a snapshot and answers at once.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{Html, Response};
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::accept;
use super::problem::Problem;
use super::{AdminState, Readiness};
use crate::alert::board::timestamp;
use crate::clock;

/// How many events `/api/events` gives when it is not told, and at most.
const EVENTS_MAX: usize = 100;

const INDEX: &str = include_str!("index.html");

/// What the pages read.
pub(super) struct Pages {
    pub(super) state: AdminState,
    started: Instant,
}

impl Pages {
    pub(super) fn new(state: AdminState, started: Instant) -> Self {
        Pages { state, started }
    }
}

pub(super) async fn index() -> Html<&'static str> {
    Html(INDEX)
}

pub(super) async fn health() -> Response {
    typed("application/json", r#"{"status":"ok"}"#)
}

pub(super) async fn ready(State(pages): State<Arc<Pages>>) -> Response {
    let readiness = pages.state.readiness.get();
    let body = json!({"status": readiness.as_str()}).to_string();
    let mut response = typed("application/json", body);
    if readiness != Readiness::Ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

pub(super) async fn show_metrics(State(pages): State<Arc<Pages>>, headers: HeaderMap) -> Response {
    let format = accept::format(&headers);
    let mut response = typed(format.content_type(), pages.state.metrics.render(format));
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    response
}

#[derive(serde::Deserialize)]
pub(super) struct EventsQuery {
    limit: Option<usize>,
}

pub(super) async fn events(
    State(pages): State<Arc<Pages>>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Response, Problem> {
    let Query(query) = query.map_err(|_| Problem::WrongLimit)?;
    let limit = query.limit.unwrap_or(EVENTS_MAX).min(EVENTS_MAX);
    // Each event is a JSON object already.
    let events = pages.state.events.recent(limit).join(",\n");
    Ok(typed("application/json", format!("[{events}]\n")))
}

pub(super) async fn status(State(pages): State<Arc<Pages>>) -> Response {
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
