//! The pages: each reads a snapshot and responds at once.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::{Html, Response};
use http::header::{CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::accept;
use super::problem::Problem;
use super::{AdminState, Readiness};
use crate::alert::store::timestamp;
use crate::clock;
use crate::ship::dataset::Dataset;

/// How many events `/api/events` returns by default, and at most.
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
    let routes = state.routes.get();
    let routes = routes.iter().map(|route| {
        json!({
            "name": *route.name,
            "path": *route.path,
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
        "dependencies_down": state.metrics.dependencies_down(),
    });
    typed("application/json", body.to_string())
}

/// The state of shipping for each dataset; empty where nothing is shipped.
fn shipping(state: &AdminState) -> Value {
    let mut all = Map::new();
    let Some(ship) = &state.ship else {
        return Value::Object(all);
    };
    let bytes = ship.spool.bytes();
    for (name, dataset) in [("events", Dataset::Access), ("alerts", Dataset::Alert)] {
        let counts = ship.ledgers.of(dataset).counts();
        let mut shown = json!({
            "status": "ok",
            "spool_events": counts.spooled,
            "spool_bytes": bytes.of(dataset),
            "indexed": counts.indexed,
            "failure_store": counts.failure_store,
            "duplicate": counts.duplicate,
            "dead_letter": counts.dead_letter,
            "dropped": counts.dropped,
        });
        if let Some(obstacle) = ship.obstacle(dataset) {
            shown["status"] = json!("waiting");
            shown["reason"] = json!(obstacle.condition.as_str());
            shown["detail"] = json!(obstacle.message);
            shown["node"] = json!(obstacle.node);
            shown["since"] = json!(timestamp(obstacle.since));
        }
        all.insert(name.to_owned(), shown);
    }
    Value::Object(all)
}

pub(super) fn typed(content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
