//! Scenarios of somebody's own, in YAML: a list of requests with their weights.
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
use ulid::Ulid;
use weir::clock;

use super::Wants;
use crate::door::Door;
use crate::wanted::{Expect, Wanted};

/// A request of the scenario.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "request")]
pub struct Request {
    /// The name that its figures stand under in every report, and that a threshold can ask for: `ask:p99<1s`. Requests
    /// with the same name are counted together.
    #[schemars(length(min = 1))]
    pub name: String,
    /// How often it is sent, beside the weights of the others; one with 0 is never sent.
    #[serde(default = "one")]
    weight: u32,
    /// The HTTP method.
    #[serde(default = "post")]
    method: String,
    /// Path and query, in visible ASCII: /v1/chat/completions.
    #[schemars(regex(pattern = "^/[!-~]*$"))]
    path: String,
    /// Header fields. Not those that the client makes itself: content-length, transfer-encoding, connection, host.
    #[serde(default)]
    headers: std::collections::BTreeMap<String, String>,
    /// The body. `{number}` in it becomes a number that no other request has.
    #[serde(default)]
    body: String,
    /// The route of --config whose first scheme signs the request; left out: it is sent unsigned.
    #[serde(default)]
    route: Option<String>,
    /// The statuses that are no error; left out: 200 to 299. No answer is always an error.
    #[serde(default)]
    #[schemars(inner(range(min = 100, max = 599)), length(min = 1))]
    expect: Option<Vec<u16>>,
}

/// The JSON Schema (2020-12) of a scenario file.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Vec<Request>).to_value();
    schema["title"] = "a scenario of weir-load".into();
    schema["description"] =
        "The requests of a load test; each one that is due is drawn from them by weight.".into();
    schema["minItems"] = 1.into();
    schema
}

fn one() -> u32 {
    1
}

fn post() -> String {
    "POST".to_owned()
}

/// Reads a file.
///
/// # Errors
/// What is wrong with it, with its place.
pub fn read(path: &Path, doors: &[Door]) -> Result<Vec<Request>, String> {
    let told = |why: String| format!("--scenario {}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| told(error.to_string()))?;
    let requests: Vec<Request> =
        // Without the line itself: a credential may stand in it.
        serde_saphyr::from_str(&text).map_err(|error| told(error.without_snippet().to_string()))?;
    check(&requests, doors).map_err(told)?;
    Ok(requests)
}

/// What its requests are counted under; those that are never sent are left out.
pub(super) fn names(requests: &[Request]) -> impl Iterator<Item = Arc<str>> {
    let sent = requests.iter().filter(|request| request.weight > 0);
    sent.map(|request| Arc::from(&*request.name))
}

fn check(requests: &[Request], doors: &[Door]) -> Result<(), String> {
    if requests.iter().all(|request| request.weight == 0) {
        return Err("no request has a weight above 0".to_owned());
    }
    for request in requests {
        let name = &request.name;
        if name.is_empty() || name.chars().any(char::is_control) {
            return Err(format!("{name:?}: a name has visible characters"));
        }
        let told = |why: String| format!("{name}: {why}");
        check_path(&request.path).map_err(told)?;
        if Method::from_bytes(request.method.as_bytes()).is_err() {
            return Err(format!("{name}: {:?} is no method", request.method));
        }
        request
            .headers
            .iter()
            .try_for_each(|(header, value)| check_header(header, value))
            .map_err(told)?;
        if let Some(expect) = &request.expect
            && (expect.is_empty() || expect.iter().any(|status| !(100..600).contains(status)))
        {
            return Err(format!(
                "{name}: `expect` lists statuses such as [200, 304]"
            ));
        }
        if let Some(route) = &request.route
            && !doors.iter().any(|door| *door.route == **route)
        {
            return Err(format!(
                "{name}: --config has no route {route} that weir can sign for"
            ));
        }
    }
    Ok(())
}

/// That a path is one, and asks nobody else: what stands before the first slash would be the host.
pub(super) fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err(format!("a path begins with /, and {path:?} does not"));
    }
    let is_path = path.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_path || path.parse::<http::uri::PathAndQuery>().is_err() {
        return Err(format!(
            "{path:?} is no path: encode what is not visible ASCII"
        ));
    }
    Ok(())
}

/// The value is not told: it may be a credential.
fn check_header(name: &str, value: &str) -> Result<(), String> {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        return Err(format!("{name:?} is no name of a header"));
    }
    if http::HeaderValue::from_str(value).is_err() {
        return Err(format!(
            "the header {name} has a value that no header can have"
        ));
    }
    let set_by_client = ["content-length", "transfer-encoding", "connection", "host"];
    if set_by_client
        .iter()
        .any(|set| name.eq_ignore_ascii_case(set))
    {
        return Err(format!("the header {name} is made by the client itself"));
    }
    Ok(())
}

/// One of the requests, by their weights.
pub(super) fn wanted(
    requests: &[Request],
    doors: &[Door],
    random: &mut SmallRng,
) -> Result<Wanted, String> {
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
    let request = request.ok_or_else(|| "the scenario is empty".to_owned())?;
    let number = random.random_range(0..u64::MAX).to_string();
    let body = Bytes::from(request.body.replace("{number}", &number));
    let mut headers: Vec<(String, String)> = request.headers.clone().into_iter().collect();
    let door = request.route.as_ref();
    let door = door.and_then(|route| doors.iter().find(|door| *door.route == **route));
    if let Some(signer) = door.and_then(Door::signer) {
        let at_s = clock::unix_now().as_secs();
        let signed = signer.headers(at_s, &Ulid::generate().to_string(), &body);
        headers.extend(signed.map_err(|error| error.to_string())?);
    }
    Ok(Wanted {
        name: Arc::from(&*request.name),
        method: Method::from_bytes(request.method.as_bytes()).map_err(|error| error.to_string())?,
        path: request.path.clone(),
        headers,
        body,
        wants: Wants::Whole,
        expect: match &request.expect {
            None => Expect::Success,
            Some(statuses) => Expect::Status(statuses.clone()),
        },
    })
}
