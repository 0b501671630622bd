//! Alerts and silences, and the pages of advice for alerts.

use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use ulid::Ulid;

use super::pages::{Pages, typed};
use super::problem::{Explained, Problem};
use super::serve::Peer;
use crate::alert::board::{Silenced, timestamp};
use crate::alert::runbook;
use crate::alert::silence::{SILENCES_MAX, Silence, Wish};
use crate::alert::standing::{Standing, Transition};
use crate::alert::tier::{Basis, Tier};
use crate::audit::Changed;
use crate::clock;

/// All alerts as they stand, and the last changes.
pub(super) async fn alerts(State(pages): State<Arc<Pages>>) -> Response {
    let board = pages.state.alerts.board();
    let now = clock::unix_now();
    let standings = board.standings();
    let alerts = standings.iter().map(|standing| {
        let mut alert = shown(standing);
        alert["silenced_by"] = json!(board.silenced_by(standing, standing.tier, now));
        alert
    });
    let alerts: Vec<Value> = alerts.collect();
    let recent = board.recent();
    let transitions: Vec<Value> = recent.iter().map(shown_transition).collect();
    json_response(&json!({
        "instance": board.identity().instance(),
        "alerts": alerts,
        "transitions": transitions,
        "silences": board.silences(),
    }))
}

fn shown(standing: &Standing) -> Value {
    let mut alert = json!({
        "rule": &*standing.key.rule,
        "labels": labels(standing),
        "tier": standing.tier.as_str(),
        "basis": match standing.basis {
            Basis::Measured => "measured",
            Basis::Held => "held",
            Basis::Forgotten => "no_data",
        },
        "value": standing.figure,
        "shown": standing.shown_figure(),
        "since": timestamp(standing.since),
    });
    if let Some(rule) = &standing.rule {
        alert["signal"] = json!(rule.signal.name);
        alert["warning"] = json!(rule.lines.warning);
        alert["critical"] = json!(rule.lines.critical);
        alert["recovery"] = json!(rule.lines.recovery);
        alert["for_s"] = json!(rule.lines.hold.as_secs_f64());
    }
    if standing.tier != Tier::None {
        alert["raised_at"] = json!(standing.raised_at.map(timestamp));
    }
    alert
}

fn shown_transition(transition: &Transition) -> Value {
    let standing = &transition.standing;
    json!({
        "at": timestamp(transition.at),
        "rule": &*standing.key.rule,
        "labels": labels(standing),
        "from": transition.from.as_str(),
        "to": standing.tier.as_str(),
        "value": standing.figure,
        "shown": standing.shown_figure(),
    })
}

/// Without the name of the rule, which stands beside them.
fn labels(standing: &Standing) -> Value {
    let labels = standing.labels().into_iter();
    let labels = labels.filter(|(name, _)| *name != "alertname");
    Value::Object(
        labels
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect(),
    )
}

pub(super) async fn silences(State(pages): State<Arc<Pages>>) -> Response {
    json_response(&json!(pages.state.alerts.board().silences()))
}

pub(super) async fn silence(
    State(pages): State<Arc<Pages>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Explained> {
    // A page of somebody else's in a browser can send a form or a text here, but nothing that says of
    // itself that it is JSON.
    let is_json = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(Explained::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the silence as JSON: Content-Type: application/json",
        ));
    }
    let body = body.map_err(|error| Explained::new(error.status(), error.body_text()))?;
    let wrong = |why: String| Explained::new(StatusCode::BAD_REQUEST, why);
    let wish: Wish = serde_json::from_slice(&body).map_err(|error| wrong(error.to_string()))?;
    let now = timestamp(clock::unix_now());
    let silence = wish
        .check(Ulid::generate().to_string(), now)
        .map_err(wrong)?;
    let alerts = &pages.state.alerts;
    if alerts.board().silence(silence.clone()) == Silenced::TooMany {
        return Err(Explained::new(
            StatusCode::CONFLICT,
            format!(
                "there are {SILENCES_MAX} silences already: end one with DELETE /api/silences/ID"
            ),
        ));
    }
    alerts.wake_notifiers();
    audit(&pages, peer, "silence_created", &silence);
    let mut response = json_response(&json!(silence));
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

pub(super) async fn end_silence(
    State(pages): State<Arc<Pages>>,
    Extension(peer): Extension<Peer>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, Explained> {
    let alerts = &pages.state.alerts;
    let ended = id.ok().and_then(|Path(id)| alerts.board().end_silence(&id));
    let Some(silence) = ended else {
        return Err(Explained::new(
            StatusCode::NOT_FOUND,
            "there is no silence with this id; GET /api/silences lists them",
        ));
    };
    alerts.wake_notifiers();
    audit(&pages, peer, "silence_ended", &silence);
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn audit(pages: &Pages, Peer(address): Peer, action: &'static str, silence: &Silence) {
    if let Some(audit) = &pages.state.audit {
        audit.changed(
            Changed {
                action,
                what: json!(silence),
            },
            address,
        );
    }
}

/// The page of advice for one alert.
pub(super) async fn runbook(
    name: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let page = name.ok().and_then(|Path(name)| runbook::page(&name));
    let page = page.ok_or(Problem::NoPage)?;
    Ok(typed("text/markdown; charset=utf-8", page))
}

fn json_response(value: &Value) -> Response {
    typed("application/json", format!("{value}\n"))
}
