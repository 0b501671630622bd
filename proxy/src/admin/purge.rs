//! `DELETE /api/cache[?route=&key=]`: purges stored responses.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde_json::json;

use super::auth::is_same_site;
use super::pages::{Pages, typed};
use super::problem::{DetailedProblem, Problem};
use super::serve::Peer;
use crate::audit::{AdminChange, ChangeOutcome};
use crate::cache::purge::{PurgeError, PurgeRequest, PurgeTarget};

/// The number of responses that a purge has removed, once it has.
pub type PurgeReceipt = Pin<Box<dyn Future<Output = Result<u64, PurgeError>> + Send>>;

/// Where responses are purged.
pub trait CachePurges: fmt::Debug + Send + Sync {
    /// Purges the responses in every tier.
    fn purge(&self, request: PurgeRequest) -> PurgeReceipt;
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurgeQuery {
    route: Option<String>,
    key: Option<String>,
}

pub(super) async fn purge(
    State(pages): State<Arc<Pages>>,
    Extension(Peer(address)): Extension<Peer>,
    headers: HeaderMap,
    query: Result<Query<PurgeQuery>, QueryRejection>,
) -> Result<Response, DetailedProblem> {
    if !is_same_site(&headers) {
        return Err(Problem::ForeignOrigin.into());
    }
    let Query(query) = query.map_err(|rejection| invalid_query(&rejection))?;
    if let Some(key) = &query.key {
        let target = key.parse::<PurgeTarget>();
        target.map_err(|error| bad_request(format!("{error}")))?;
    }
    let request = PurgeRequest {
        route: query.route,
        key: query.key.map(|key| match key.contains('/') {
            true => key,
            // As the names of entries in Redis have it.
            false => key.to_ascii_lowercase(),
        }),
    };
    let receipt = pages.state.purges.purge(request.clone());
    // A task of its own: a client that leaves changes nothing about the line in the audit log.
    let purging = tokio::spawn(async move {
        let purged = receipt.await;
        if let Some(audit) = &pages.state.audit {
            audit.changed(change(&request, &purged), address);
        }
        purged
    });
    let purged = purging.await.unwrap_or_else(|_| {
        let reason = "the purge has been aborted".to_owned();
        Err(PurgeError::Incomplete { reason })
    });
    let purged = purged.map_err(problem)?;
    let body = json!({"purged": purged});
    Ok(typed("application/json", format!("{body}\n")))
}

fn bad_request(detail: String) -> DetailedProblem {
    DetailedProblem::new(StatusCode::BAD_REQUEST, detail)
}

fn invalid_query(rejection: &QueryRejection) -> DetailedProblem {
    let reason = rejection.body_text();
    let reason = reason.rsplit(": ").next().unwrap_or_default();
    bad_request(format!(
        "{reason}; supported are ?route=NAME and ?key=KEY, each at most once: DELETE /api/cache?route=chat"
    ))
}

fn problem(error: PurgeError) -> DetailedProblem {
    let status = match error {
        PurgeError::UnknownRoute { .. } => StatusCode::NOT_FOUND,
        PurgeError::Incomplete { .. } => StatusCode::SERVICE_UNAVAILABLE,
    };
    DetailedProblem::new(status, format!("{error}"))
}

/// The entry of the audit log.
fn change(request: &PurgeRequest, purged: &Result<u64, PurgeError>) -> AdminChange {
    AdminChange {
        action: "cache_purged",
        outcome: match purged {
            Ok(_) => ChangeOutcome::Success,
            Err(_) => ChangeOutcome::Failure,
        },
        what: json!({
            "route": request.route,
            "key": request.key,
            "purged": purged.as_ref().ok(),
        }),
    }
}
