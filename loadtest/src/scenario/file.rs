//! Scenario files: a YAML list of weighted requests.
//!
//! ```yaml
//! - {name: ask, weight: 9, path: /v1/chat/completions, body: '{"messages":[]}', route: chat}
//! - {name: list, method: GET, path: /v1/models, expect: [200, 304]}
//! ```

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use rand::RngExt;
use rand::rngs::SmallRng;
use schemars::JsonSchema;
use serde::Deserialize;

use super::signed::{RequestError, signature};
use crate::request::{Expectation, RequestSpec, ResponseMode};
use crate::routes::TargetRoute;

/// A request of the scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "request")]
pub struct FileRequest {
    /// Name of the request in reports and thresholds, such as `ask:p99<1s`. Requests with the same name are counted
    /// together.
    #[schemars(length(min = 1))]
    pub name: String,
    /// Relative frequency of the request; 0 disables it.
    #[serde(default = "one")]
    weight: u32,
    /// HTTP method.
    #[serde(default = "post")]
    method: String,
    /// Path and query, in visible ASCII: /v1/chat/completions.
    #[schemars(regex(pattern = "^/[!-~]*$"))]
    path: String,
    /// Header fields, except those that the client sets: content-length, transfer-encoding, connection, host.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// Body. `{number}` is replaced by a number that is unique to the request.
    #[serde(default)]
    body: String,
    /// Route of --config whose first scheme signs the request. Without it, the request is unsigned.
    #[serde(default)]
    route: Option<String>,
    /// Expected statuses; any other is an error. Without it, 200 to 299. A request without a response is always an
    /// error.
    #[serde(default)]
    #[schemars(inner(range(min = 100, max = 599)), length(min = 1))]
    expect: Option<Vec<u16>>,
}

/// Why a scenario file is invalid. No message contains a header's value or a line of the file: either may hold a
/// credential.
#[derive(Debug, thiserror::Error)]
#[error("--scenario {path}: {problem}")]
pub struct FileError {
    path: String,
    problem: Problem,
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Unreadable(std::io::Error),
    #[error("{0}")]
    Syntax(String),
    #[error("no request has a weight above 0")]
    NoWeight,
    #[error("{0:?}: expected a name of visible characters")]
    Name(String),
    #[error("{name}: {problem}")]
    Request {
        name: String,
        problem: RequestProblem,
    },
}

#[derive(Debug, thiserror::Error)]
enum RequestProblem {
    #[error(transparent)]
    Path(#[from] PathError),
    #[error("{0:?} is not an HTTP method")]
    Method(String),
    #[error("{0:?} is not a header name")]
    HeaderName(String),
    #[error("the value of the header {0} is invalid")]
    HeaderValue(String),
    #[error("the header {0} is set by the client: remove it")]
    ReservedHeader(String),
    #[error("`expect` must be a list of statuses such as [200, 304]")]
    Expect,
    #[error("--config has no route {0} that weir-load can sign for")]
    UnknownRoute(String),
}

/// Why a path cannot be requested.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathError {
    #[error("expected a path that begins with /, found {0:?}")]
    Relative(String),
    #[error("{0:?} is not a valid path: percent-encode everything but visible ASCII")]
    Invalid(String),
}

/// The JSON Schema (2020-12) of a scenario file.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Vec<FileRequest>).to_value();
    schema["title"] = "weir-load scenario".into();
    schema["description"] =
        "Requests of a load test. Each request that is sent is drawn from the list by weight."
            .into();
    schema["minItems"] = 1.into();
    schema
}

fn one() -> u32 {
    1
}

fn post() -> String {
    "POST".to_owned()
}

/// Reads and checks a scenario file.
///
/// # Errors
/// What is invalid, and in which request.
pub fn read(path: &Path, routes: &[TargetRoute]) -> Result<Vec<FileRequest>, FileError> {
    parse(path, routes).map_err(|problem| FileError {
        path: path.display().to_string(),
        problem,
    })
}

fn parse(path: &Path, routes: &[TargetRoute]) -> Result<Vec<FileRequest>, Problem> {
    let text = std::fs::read_to_string(path).map_err(Problem::Unreadable)?;
    let requests: Vec<FileRequest> = serde_saphyr::from_str(&text)
        .map_err(|error| Problem::Syntax(error.without_snippet().to_string()))?;
    if requests.iter().all(|request| request.weight == 0) {
        return Err(Problem::NoWeight);
    }
    for request in &requests {
        let name = &request.name;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(Problem::Name(name.clone()));
        }
        request.check(routes).map_err(|problem| Problem::Request {
            name: name.clone(),
            problem,
        })?;
    }
    Ok(requests)
}

/// The names of its requests, without those that are disabled.
pub(super) fn names(requests: &[FileRequest]) -> impl Iterator<Item = Arc<str>> {
    let sent = requests.iter().filter(|request| request.weight > 0);
    sent.map(|request| Arc::from(&*request.name))
}

impl FileRequest {
    fn check(&self, routes: &[TargetRoute]) -> Result<(), RequestProblem> {
        check_path(&self.path)?;
        if Method::from_bytes(self.method.as_bytes()).is_err() {
            return Err(RequestProblem::Method(self.method.clone()));
        }
        let mut headers = self.headers.iter();
        headers.try_for_each(|(name, value)| check_header(name, value))?;
        if let Some(expect) = &self.expect
            && (expect.is_empty() || expect.iter().any(|status| !(100..600).contains(status)))
        {
            return Err(RequestProblem::Expect);
        }
        if let Some(name) = &self.route
            && !routes.iter().any(|route| *route.name == **name)
        {
            return Err(RequestProblem::UnknownRoute(name.clone()));
        }
        Ok(())
    }
}

/// A path must begin with a slash: what precedes the first slash would become part of the host.
pub(super) fn check_path(path: &str) -> Result<(), PathError> {
    if !path.starts_with('/') {
        return Err(PathError::Relative(path.to_owned()));
    }
    let is_visible = path.bytes().all(|byte| byte.is_ascii_graphic());
    match is_visible && path.parse::<http::uri::PathAndQuery>().is_ok() {
        true => Ok(()),
        false => Err(PathError::Invalid(path.to_owned())),
    }
}

fn check_header(name: &str, value: &str) -> Result<(), RequestProblem> {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(RequestProblem::HeaderName(name.to_owned()));
    }
    if http::HeaderValue::from_str(value).is_err() {
        return Err(RequestProblem::HeaderValue(name.to_owned()));
    }
    let mut reserved = ["content-length", "transfer-encoding", "connection", "host"].into_iter();
    match reserved.any(|reserved| name.eq_ignore_ascii_case(reserved)) {
        true => Err(RequestProblem::ReservedHeader(name.to_owned())),
        false => Ok(()),
    }
}

/// Draws one of the requests by weight.
pub(super) fn draw(
    requests: &[FileRequest],
    routes: &[TargetRoute],
    random: &mut SmallRng,
) -> Result<RequestSpec, RequestError> {
    let weights: u64 = requests
        .iter()
        .map(|request| u64::from(request.weight))
        .sum();
    let mut drawn = random.random_range(0..weights.max(1));
    let request = requests.iter().find(|request| {
        let weight = u64::from(request.weight);
        let is_it = drawn < weight;
        drawn = drawn.saturating_sub(weight);
        is_it
    });
    let request = request.ok_or(RequestError::Empty)?;
    let number = random.random_range(0..u64::MAX).to_string();
    let body = Bytes::from(request.body.replace("{number}", &number));
    let mut headers: Vec<(String, String)> = request.headers.clone().into_iter().collect();
    let route = request
        .route
        .as_ref()
        .and_then(|name| routes.iter().find(|route| *route.name == **name));
    headers.extend(signature(route.and_then(TargetRoute::signer), &body, 0)?);
    Ok(RequestSpec {
        name: Arc::from(&*request.name),
        method: Method::from_bytes(request.method.as_bytes())
            .map_err(|_| RequestError::Method(request.method.clone()))?,
        path: request.path.clone(),
        headers,
        body,
        mode: ResponseMode::Whole,
        expected: match &request.expect {
            None => Expectation::Success,
            Some(statuses) => Expectation::Status(statuses.clone()),
        },
    })
}
