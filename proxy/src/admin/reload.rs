//! `POST /api/reload`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::auth::is_same_site;
use super::pages::{Pages, typed};
use super::problem::{DetailedProblem, Problem};
use super::serve::Peer;
use crate::audit::{AdminChange, ChangeOutcome};
use crate::config::ConfigError;

/// How long a response waits for the reload, which continues after it.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// Where reloads are requested.
pub trait ReloadRequests: fmt::Debug + Send + Sync {
    /// Requests a reload; the receiver gets its report.
    fn request(&self) -> oneshot::Receiver<ReloadReport>;
}

/// The result of a reload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReloadOutcome {
    Applied,
    /// Nothing to apply: the files are as before, or only keys that need a restart have changed.
    #[default]
    Unchanged,
    /// The new configuration is invalid: the previous one stays in use.
    Rejected,
}

impl ReloadOutcome {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ReloadOutcome::Applied => "applied",
            ReloadOutcome::Unchanged => "unchanged",
            ReloadOutcome::Rejected => "rejected",
        }
    }
}

/// What a reload has changed.
#[derive(Clone, Debug, Default)]
pub struct ReloadReport {
    pub outcome: ReloadOutcome,
    /// The keys whose new values are in use.
    pub changed: Vec<String>,
    /// The keys whose values differ from those of the start, which stay in use until a restart.
    pub needs_restart: Vec<String>,
    pub errors: Vec<ReloadError>,
}

/// An error of the new configuration.
#[derive(Clone, Debug)]
pub struct ReloadError {
    pub file: String,
    /// From 1; 0: the file as a whole.
    pub line: usize,
    pub column: usize,
    pub message: String,
}

impl ReloadReport {
    #[must_use]
    pub fn rejected(error: ConfigError) -> Self {
        let file = error.file.display().to_string();
        let errors = error.list.into_iter().map(|diagnostic| ReloadError {
            file: file.clone(),
            line: diagnostic.line,
            column: diagnostic.column,
            message: diagnostic.message,
        });
        ReloadReport {
            outcome: ReloadOutcome::Rejected,
            errors: errors.collect(),
            ..ReloadReport::default()
        }
    }

    fn json(&self) -> Value {
        let errors = self.errors.iter().map(|error| {
            json!({
                "file": error.file,
                "line": error.line,
                "column": error.column,
                "message": error.message,
            })
        });
        json!({
            "outcome": self.outcome.as_str(),
            "changed": self.changed,
            "needs_restart": self.needs_restart,
            "errors": errors.collect::<Vec<_>>(),
        })
    }
}

pub(super) async fn reload(
    State(pages): State<Arc<Pages>>,
    Extension(Peer(address)): Extension<Peer>,
    headers: HeaderMap,
) -> Result<Response, DetailedProblem> {
    if !is_same_site(&headers) {
        return Err(Problem::ForeignOrigin.into());
    }
    let requested = pages.state.reloads.request();
    // A task of its own: a client that leaves changes nothing about the line in the audit log.
    let reloading = tokio::spawn(async move {
        let report = requested.await.ok()?;
        if let Some(audit) = &pages.state.audit {
            audit.changed(change(&report), address);
        }
        Some(report)
    });
    let Ok(Ok(Some(report))) = timeout(WAIT_MAX, reloading).await else {
        return Err(DetailedProblem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the reload has not finished; see the log",
        ));
    };
    let rejected = report.outcome == ReloadOutcome::Rejected;
    let mut response = typed("application/json", format!("{}\n", report.json()));
    if rejected {
        *response.status_mut() = StatusCode::UNPROCESSABLE_ENTITY;
    }
    Ok(response)
}

/// The entry of the audit log.
fn change(report: &ReloadReport) -> AdminChange {
    AdminChange {
        action: "config_reloaded",
        outcome: match report.outcome {
            ReloadOutcome::Rejected => ChangeOutcome::Failure,
            ReloadOutcome::Applied | ReloadOutcome::Unchanged => ChangeOutcome::Success,
        },
        what: audited(report),
    }
}

/// The report without the text of errors, which a line of the audit log has no room for.
fn audited(report: &ReloadReport) -> Value {
    json!({
        "outcome": report.outcome.as_str(),
        "changed": report.changed,
        "needs_restart": report.needs_restart,
        "errors": report.errors.len(),
    })
}
