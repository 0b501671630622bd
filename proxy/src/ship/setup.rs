//! The set-up of the data streams: templates and retention.
//!
//! Retention depends on the server: index lifecycle management on Elasticsearch, or its data stream lifecycle where
//! that is missing (serverless); index state management on OpenSearch. All requests are idempotent and are sent at
//! every start.

use std::time::Duration;

use bytes::Bytes;
use elasticsearch::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Config;
use super::bulk::{self, RetryReason};
use super::condition::{self, Condition};
use super::dataset::Dataset;
use super::nodes::{Node, NodeError, Nodes, Payload};
use crate::outbound::is_retryable;

/// Above the built-in Elasticsearch template for `logs-*-*` (100).
const PRIORITY: u32 = 500;
const REASON_CHARACTERS_MAX: usize = 200;

/// The outcome of the set-up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SetUp {
    Done,
    /// The server permanently rejects it.
    Rejected(String),
    Unavailable(RetryReason),
}

fn unreachable(error: &NodeError) -> SetUp {
    let message = error.to_string();
    let condition = Condition::Unreachable;
    SetUp::Unavailable(RetryReason { condition, message })
}

/// The product of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Server {
    Elasticsearch,
    OpenSearch,
}

/// What enforces the retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retention {
    /// Index lifecycle management: the settings name the policy.
    Lifecycle,
    /// The lifecycle of the data stream, in the template.
    DataStream,
    /// A policy that matches indices by name, or nothing.
    Elsewhere,
}

/// One request of the set-up.
#[derive(Debug, PartialEq)]
struct SetUpRequest {
    path: String,
    body: Value,
}

/// Sends all requests to one node.
pub(super) async fn set_up(nodes: &Nodes, node: &Node, config: &Config, dataset: Dataset) -> SetUp {
    let stream = &DataStreamSpec::new(config, dataset);
    let server = match query_server(nodes, node).await {
        Ok(server) => server,
        Err(set_up) => return set_up,
    };
    let retention = match server {
        Server::Elasticsearch => match put(nodes, node, lifecycle_policy(stream)).await {
            SetUp::Done => Retention::Lifecycle,
            SetUp::Rejected(_) => Retention::DataStream,
            unavailable @ SetUp::Unavailable(_) => return unavailable,
        },
        Server::OpenSearch => match put_state_policy(nodes, node, stream).await {
            SetUp::Done => Retention::Elsewhere,
            SetUp::Rejected(why) => {
                log::warn!(
                    "events: {} has no index state management and never deletes them ({why})",
                    node.name
                );
                Retention::Elsewhere
            }
            unavailable @ SetUp::Unavailable(_) => return unavailable,
        },
    };
    for step in templates(stream, retention) {
        match put(nodes, node, step).await {
            SetUp::Done => {}
            other => return other,
        }
    }
    SetUp::Done
}

#[derive(Deserialize)]
struct RootResponse {
    version: ServerVersion,
}

#[derive(Deserialize)]
struct ServerVersion {
    distribution: Option<String>,
}

async fn query_server(nodes: &Nodes, node: &Node) -> Result<Server, SetUp> {
    let response = nodes.send(node, Method::Get, "/", Payload::None).await;
    let response = response.map_err(|error| unreachable(&error))?;
    match response.status {
        200..=299 => Ok(server_of(&response.body)),
        status => Err(outcome_of(status, &response.body)),
    }
}

/// OpenSearch identifies itself; any other server is treated as Elasticsearch.
fn server_of(body: &[u8]) -> Server {
    let root: Option<RootResponse> = serde_json::from_slice(body).ok();
    let distribution = root.and_then(|root| root.version.distribution);
    match distribution.as_deref() {
        Some("opensearch") => Server::OpenSearch,
        _ => Server::Elasticsearch,
    }
}

async fn put(nodes: &Nodes, node: &Node, step: SetUpRequest) -> SetUp {
    let body = Payload::Json(Bytes::from(step.body.to_string()));
    match nodes.send(node, Method::Put, &step.path, body).await {
        Ok(response) => match outcome_of(response.status, &response.body) {
            SetUp::Rejected(why) => SetUp::Rejected(format!("{}: {why}", step.path)),
            other => other,
        },
        Err(error) => unreachable(&error),
    }
}

/// An existing policy of index state management.
#[derive(Deserialize)]
struct ExistingPolicy {
    #[serde(rename = "_seq_no")]
    sequence: u64,
    #[serde(rename = "_primary_term")]
    term: u64,
    policy: PolicyDescription,
}

#[derive(Deserialize)]
struct PolicyDescription {
    description: String,
}

/// Index state management replaces a policy only if the request has the numbers of the existing one (OpenSearch
/// documentation, "ISM API", "Update policy"). An identical policy is not replaced.
async fn put_state_policy(nodes: &Nodes, node: &Node, stream: &DataStreamSpec) -> SetUp {
    let mut step = state_policy(stream);
    let body = Payload::Json(Bytes::from(step.body.to_string()));
    let response = match nodes.send(node, Method::Put, &step.path, body).await {
        Ok(response) => response,
        Err(error) => return unreachable(&error),
    };
    if response.status != 409 {
        return outcome_of(response.status, &response.body);
    }
    let response = match nodes
        .send(node, Method::Get, &step.path, Payload::None)
        .await
    {
        Ok(response) => response,
        Err(error) => return unreachable(&error),
    };
    let Ok(existing) = serde_json::from_slice::<ExistingPolicy>(&response.body) else {
        return outcome_of(response.status, &response.body);
    };
    if step.body["policy"]["description"] == existing.policy.description {
        return SetUp::Done;
    }
    let (sequence, term) = (existing.sequence, existing.term);
    step.path
        .push_str(&format!("?if_seq_no={sequence}&if_primary_term={term}"));
    put(nodes, node, step).await
}

fn outcome_of(status: u16, body: &[u8]) -> SetUp {
    let text = String::from_utf8_lossy(body);
    let text: String = text.chars().take(REASON_CHARACTERS_MAX).collect();
    // 409: another instance of weir was faster.
    if matches!(status, 200..=299 | 409) {
        return SetUp::Done;
    }
    let may_pass = status == 401 || is_retryable(status);
    let condition = condition::of(status, "", "").filter(|_| may_pass);
    let Some(condition) = condition else {
        return SetUp::Rejected(format!("{status} {text}"));
    };
    let message = bulk::explained(format!("it responded with {status}"), condition, &text);
    SetUp::Unavailable(RetryReason { condition, message })
}

/// The data stream to set up.
struct DataStreamSpec {
    name: String,
    mappings: &'static str,
    retention: Duration,
}

impl DataStreamSpec {
    fn new(config: &Config, dataset: Dataset) -> Self {
        DataStreamSpec {
            name: dataset.data_stream(&config.data_stream),
            mappings: dataset.mappings(),
            retention: config.retention,
        }
    }

    /// `logs-weir.access-default` is set up as `weir.access`, for every namespace.
    fn dataset(&self) -> &str {
        self.name.split('-').nth(1).unwrap_or_default()
    }

    fn pattern(&self) -> String {
        let kind = self.name.split('-').next().unwrap_or("logs");
        format!("{kind}-{}-*", self.dataset())
    }
}

/// The time format of both servers: whole days, otherwise hours, rounded up.
fn age(time: Duration) -> String {
    let hours = time.as_secs().div_ceil(3600).max(1);
    if hours.is_multiple_of(24) {
        format!("{}d", hours / 24)
    } else {
        format!("{hours}h")
    }
}

fn lifecycle_policy(stream: &DataStreamSpec) -> SetUpRequest {
    let retention = age(stream.retention);
    let rollover = json!({"max_age": "1d", "max_primary_shard_size": "50gb"});
    SetUpRequest {
        path: format!("/_ilm/policy/{}", stream.dataset()),
        body: json!({"policy": {"phases": {
            "hot": {"min_age": "0ms", "actions": {"rollover": rollover}},
            "delete": {"min_age": retention, "actions": {"delete": {}}},
        }}}),
    }
}

fn state_policy(stream: &DataStreamSpec) -> SetUpRequest {
    let retention = age(stream.retention);
    let rollover = json!({"min_index_age": "1d", "min_primary_shard_size": "30gb"});
    // Counted from the rollover, as in Elasticsearch: retention begins with the last event of an index.
    let to_delete = json!({"state_name": "delete", "conditions": {"min_rollover_age": retention}});
    SetUpRequest {
        path: format!("/_plugins/_ism/policies/{}", stream.dataset()),
        body: json!({"policy": {
            "description": format!("{} for {retention}", stream.name),
            "default_state": "hot",
            "states": [
                {"name": "hot", "actions": [{"rollover": rollover}], "transitions": [to_delete]},
                {"name": "delete", "actions": [{"delete": {}}], "transitions": []},
            ],
            "ism_template": [{"index_patterns": [stream.pattern()], "priority": 100}],
        }}),
    }
}

/// The component templates, and the index template that joins them.
fn templates(stream: &DataStreamSpec, retention: Retention) -> Vec<SetUpRequest> {
    let name = stream.dataset();
    let mappings = serde_json::from_str(stream.mappings).unwrap_or_default();
    let mut settings =
        json!({"index.auto_expand_replicas": "0-1", "index.codec": "best_compression"});
    if retention == Retention::Lifecycle {
        settings["index.lifecycle.name"] = json!(name);
    }
    let mut template = json!({
        "index_patterns": [stream.pattern()],
        "data_stream": {},
        "priority": PRIORITY,
        "composed_of": [format!("{name}-mappings"), format!("{name}-settings")],
        "_meta": {"managed_by": "weir"},
    });
    if retention == Retention::DataStream {
        template["template"] = json!({"lifecycle": {"data_retention": age(stream.retention)}});
    }
    vec![
        SetUpRequest {
            path: format!("/_component_template/{name}-mappings"),
            body: mappings,
        },
        SetUpRequest {
            path: format!("/_component_template/{name}-settings"),
            body: json!({"template": {"settings": settings}, "_meta": {"managed_by": "weir"}}),
        },
        SetUpRequest {
            path: format!("/_index_template/{name}"),
            body: template,
        },
    ]
}

#[cfg(test)]
mod tests;
