//! The fields of weir's events that a replay needs.

use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

use crate::request::ResponseMode;
use crate::scenario::file::check_path;
use crate::scenario::prompt::BYTES_MAX;

/// One request of the recording.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRequest {
    pub method: String,
    pub path: String,
    pub route: String,
    pub body_bytes: usize,
    pub mode: ResponseMode,
    /// The status of the recorded response.
    pub status: u16,
}

#[derive(Deserialize)]
pub(super) struct Event {
    #[serde(rename = "@timestamp")]
    at: Timestamp,
    route: String,
    http: HttpFields,
    url: UrlFields,
    #[serde(default)]
    gen_ai: GenAiFields,
}

#[derive(Deserialize)]
struct HttpFields {
    request: RequestFields,
    response: ResponseFields,
}

#[derive(Deserialize)]
struct RequestFields {
    method: String,
    body: Option<BodyFields>,
}

#[derive(Deserialize)]
struct ResponseFields {
    status_code: u16,
}

#[derive(Deserialize)]
struct BodyFields {
    bytes: usize,
}

#[derive(Deserialize)]
struct UrlFields {
    path: String,
}

#[derive(Default, Deserialize)]
struct GenAiFields {
    #[serde(default)]
    request: GenAiRequestFields,
}

#[derive(Default, Deserialize)]
struct GenAiRequestFields {
    #[serde(default)]
    stream: bool,
}

impl Event {
    /// The request, and its time since 1970. `None` for a request without a path, which cannot be replayed.
    pub(super) fn into_request(self) -> anyhow::Result<Option<(Duration, RecordedRequest)>> {
        if self.url.path.is_empty() {
            return Ok(None);
        }
        check_path(&self.url.path)?;
        let at = Duration::try_from(self.at.duration_since(Timestamp::UNIX_EPOCH));
        let at = at.ok().context("the time is before 1970")?;
        let body_bytes = self.http.request.body.map_or(0, |body| body.bytes);
        anyhow::ensure!(
            body_bytes <= BYTES_MAX,
            "the body has {body_bytes} bytes, and the maximum is {BYTES_MAX}"
        );
        let method = self.http.request.method;
        anyhow::ensure!(
            http::Method::from_bytes(method.as_bytes()).is_ok(),
            "{method:?} is not an HTTP method"
        );
        anyhow::ensure!(
            !self.route.chars().any(char::is_control),
            "{:?} is not a route name",
            self.route
        );
        let recorded = RecordedRequest {
            method,
            path: self.url.path,
            route: self.route,
            body_bytes,
            mode: match self.gen_ai.request.stream {
                true => ResponseMode::Stream,
                false => ResponseMode::Whole,
            },
            status: self.http.response.status_code,
        };
        Ok(Some((at, recorded)))
    }
}
