//! A recording: weir's events say when what was asked, and how large it was.
//!
//! Texts are not in them; a question of the same size takes their place.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

use super::Wants;
use super::file::check_path;
use super::prompt::BYTES_MAX;
use crate::schedule::Schedule;

mod elasticsearch;

/// One request of the recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub route: String,
    pub body_bytes: usize,
    pub wants: Wants,
    /// What it was answered with.
    pub status: u16,
}

/// What was recorded, in the order of its times, and when each is due.
#[derive(Clone, Debug)]
pub struct Recording {
    pub requests: Vec<Recorded>,
    pub schedule: Schedule,
}

/// Where the events are. It can hold a password, so it cannot be printed.
#[derive(Clone)]
pub enum Source {
    /// A file of lines.
    File(PathBuf),
    /// A data stream or index: `http://127.0.0.1:9200/logs-weir.access-default`.
    Index {
        url: String,
        /// In the syntax of `query_string`.
        query: String,
        api_key: Option<String>,
    },
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "@timestamp")]
    at: Timestamp,
    route: String,
    http: Http,
    url: Url,
    #[serde(default)]
    gen_ai: GenAi,
}

#[derive(Deserialize)]
struct Http {
    request: Request,
    response: Response,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    body: Option<Body>,
}

#[derive(Deserialize)]
struct Response {
    status_code: u16,
}

#[derive(Deserialize)]
struct Body {
    bytes: usize,
}

#[derive(Deserialize)]
struct Url {
    path: String,
}

#[derive(Default, Deserialize)]
struct GenAi {
    #[serde(default)]
    request: Asked,
}

#[derive(Default, Deserialize)]
struct Asked {
    #[serde(default)]
    stream: bool,
}

/// Reads the events of a source; `speed` 2.0 asks them in half of their time.
///
/// # Errors
/// A source that cannot be read, or something in it that is no event; with its place.
pub async fn recorded(source: &Source, speed: f64) -> anyhow::Result<Recording> {
    let (mut events, told) = match source {
        Source::File(path) => (
            of_file(path).with_context(|| format!("--events {}", path.display()))?,
            format!("--events {}", path.display()),
        ),
        Source::Index {
            url,
            query,
            api_key,
        } => {
            let told = format!("--events {}", elasticsearch::without_password(url));
            let found = elasticsearch::events(url, query, api_key.as_deref()).await;
            (found.with_context(|| told.clone())?, told)
        }
    };
    // An event is written at the end of its request, and its time is that of the beginning.
    events.sort_by_key(|(at, _)| *at);
    let (times, requests): (Vec<Duration>, _) = events
        .into_iter()
        .map(|(at, recorded)| (at.div_f64(speed), recorded))
        .unzip();
    let schedule = Schedule::recorded(times).map_err(|why| anyhow::anyhow!("{told}: {why}"))?;
    Ok(Recording { requests, schedule })
}

fn of_file(path: &Path) -> anyhow::Result<Vec<(Duration, Recorded)>> {
    let file = std::fs::File::open(path)?;
    let mut events = Vec::new();
    for (line, number) in BufReader::new(file).lines().zip(1..) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let event: Event = serde_json::from_str(&line)
            .with_context(|| format!("line {number} is no event of weir's"))?;
        events.extend(read(event).with_context(|| format!("line {number}"))?);
    }
    Ok(events)
}

/// When it was, since 1970, and what. `None` where nothing can be asked again: the request had no path.
fn read(event: Event) -> anyhow::Result<Option<(Duration, Recorded)>> {
    if event.url.path.is_empty() {
        return Ok(None);
    }
    check_path(&event.url.path).map_err(anyhow::Error::msg)?;
    let at = Duration::try_from(event.at.duration_since(Timestamp::UNIX_EPOCH));
    let at = at.ok().context("a time before 1970")?;
    let body_bytes = event.http.request.body.map_or(0, |body| body.bytes);
    anyhow::ensure!(
        body_bytes <= BYTES_MAX,
        "a body of {body_bytes} bytes, and more than {BYTES_MAX} are not sent"
    );
    let method = event.http.request.method;
    anyhow::ensure!(
        http::Method::from_bytes(method.as_bytes()).is_ok(),
        "{method:?} is no method"
    );
    anyhow::ensure!(
        !event.route.chars().any(char::is_control),
        "{:?} is no name of a route",
        event.route
    );
    let recorded = Recorded {
        method,
        path: event.url.path,
        route: event.route,
        body_bytes,
        wants: match event.gen_ai.request.stream {
            true => Wants::Stream,
            false => Wants::Whole,
        },
        status: event.http.response.status_code,
    };
    Ok(Some((at, recorded)))
}
