//! The pages of alerts, silences and runbooks.

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
use super::problem::{DetailedProblem, Problem};
use super::serve::Peer;
use crate::alert::runbook;
use crate::alert::silence::{SILENCES_MAX, Silence, SilenceRequest};
use crate::alert::state::{AlertState, Transition};
use crate::alert::store::{Silenced, timestamp};
use crate::alert::tier::{SampleState, Tier};
use crate::audit::{AdminChange, ChangeOutcome};
use crate::clock;

/// The states of all alerts, and the last transitions.
pub(super) async fn alerts(State(pages): State<Arc<Pages>>) -> Response {
    let store = pages.state.alerts.store();
    let now = clock::unix_now();
    let states = store.alerts();
    let alerts = states.iter().map(|state| {
        let mut alert = shown(state);
        alert["silenced_by"] = json!(store.silenced_by(state, state.tier, now));
        alert
    });
    let alerts: Vec<Value> = alerts.collect();
    let recent = store.recent();
    let transitions: Vec<Value> = recent.iter().map(shown_transition).collect();
    json_response(&json!({
        "instance": store.identity().instance(),
        "alerts": alerts,
        "transitions": transitions,
        "silences": store.silences(),
    }))
}

fn shown(state: &AlertState) -> Value {
    let mut alert = json!({
        "rule": &*state.key.rule,
        "labels": labels(state),
        "tier": state.tier.as_str(),
        "basis": match state.sample {
            SampleState::Current => "measured",
            SampleState::Held => "held",
            SampleState::Missing => "no_data",
        },
        "value": state.value,
        "shown": state.shown_value(),
        "since": timestamp(state.since),
    });
    if let Some(rule) = &state.rule {
        alert["signal"] = json!(rule.signal.name);
        alert["warning"] = json!(rule.thresholds.warning);
        alert["critical"] = json!(rule.thresholds.critical);
        alert["recovery"] = json!(rule.thresholds.recovery);
        alert["for_s"] = json!(rule.thresholds.hold.as_secs_f64());
    }
    if state.tier != Tier::None {
        alert["raised_at"] = json!(state.raised_at.map(timestamp));
    }
    alert
}

fn shown_transition(transition: &Transition) -> Value {
    let state = &transition.state;
    json!({
        "at": timestamp(transition.at),
        "rule": &*state.key.rule,
        "labels": labels(state),
        "from": transition.from.as_str(),
        "to": state.tier.as_str(),
        "value": state.value,
        "shown": state.shown_value(),
    })
}

/// Without the name of the rule, which has a key of its own.
fn labels(state: &AlertState) -> Value {
    let labels = state.labels().into_iter();
    let labels = labels.filter(|(name, _)| *name != "alertname");
    Value::Object(
        labels
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect(),
    )
}

pub(super) async fn silences(State(pages): State<Arc<Pages>>) -> Response {
    json_response(&json!(pages.state.alerts.store().silences()))
}

pub(super) async fn silence(
    State(pages): State<Arc<Pages>>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, DetailedProblem> {
    // Against cross-site requests: a foreign page in a browser can send a form or a text here, but not JSON.
    let is_json = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case("application/json"));
    if !is_json {
        return Err(DetailedProblem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "send the silence as JSON: Content-Type: application/json",
        ));
    }
    let body = body.map_err(|error| DetailedProblem::new(error.status(), error.body_text()))?;
    let invalid = |why: String| DetailedProblem::new(StatusCode::BAD_REQUEST, why);
    let request: SilenceRequest =
        serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
    let now = timestamp(clock::unix_now());
    let silence = request
        .check(Ulid::generate().to_string(), now)
        .map_err(|error| invalid(error.to_string()))?;
    let alerts = &pages.state.alerts;
    check_not_handed_over(&pages)?;
    if alerts.store().silence(silence.clone()) == Silenced::TooMany {
        return Err(DetailedProblem::new(
            StatusCode::CONFLICT,
            format!(
                "there are {SILENCES_MAX} silences already: delete one with DELETE /api/silences/ID"
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
) -> Result<Response, DetailedProblem> {
    check_not_handed_over(&pages)?;
    let alerts = &pages.state.alerts;
    let ended = id
        .ok()
        .and_then(|Path(id)| alerts.store().expire_silence(&id));
    let Some(silence) = ended else {
        return Err(DetailedProblem::new(
            StatusCode::NOT_FOUND,
            "no silence has this id; GET /api/silences lists all",
        ));
    };
    alerts.wake_notifiers();
    audit(&pages, peer, "silence_ended", &silence);
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// While a successor starts, nothing is changed here: it would be lost.
fn check_not_handed_over(pages: &Pages) -> Result<(), DetailedProblem> {
    match pages.state.alerts.store().is_handed_over() {
        true => Err(DetailedProblem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "another process is taking over; send the request again",
        )),
        false => Ok(()),
    }
}

fn audit(pages: &Pages, Peer(address): Peer, action: &'static str, silence: &Silence) {
    if let Some(audit) = &pages.state.audit {
        audit.changed(
            AdminChange {
                action,
                outcome: ChangeOutcome::Success,
                what: json!(silence),
            },
            address,
        );
    }
}

/// The runbook of one alert.
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
