//! A recording: the event file of a weir says when what was asked, and how large it was.
//!
//! Texts are not in it; a question of the same size takes their place.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;

use crate::schedule::Schedule;

/// One request of the recording.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub method: String,
    pub path: String,
    pub route: String,
    pub body_bytes: usize,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "@timestamp")]
    at: Timestamp,
    route: String,
    http: Http,
    url: Url,
}

#[derive(Deserialize)]
struct Http {
    request: Request,
}

#[derive(Deserialize)]
struct Request {
    method: String,
    body: Option<Body>,
}

#[derive(Deserialize)]
struct Body {
    bytes: usize,
}

#[derive(Deserialize)]
struct Url {
    path: String,
}

/// Reads an event file: its requests in the order of their times, and when each is due.
///
/// # Errors
/// A file that cannot be read, or a line that is no event; with its number.
pub fn recorded(path: &Path) -> Result<(Vec<Recorded>, Schedule), String> {
    let told = |why: String| format!("--events {}: {why}", path.display());
    let file = std::fs::File::open(path).map_err(|error| told(error.to_string()))?;
    let mut requests = Vec::new();
    for (line, number) in BufReader::new(file).lines().zip(1..) {
        let line = line.map_err(|error| told(error.to_string()))?;
        if line.trim().is_empty() {
            continue;
        }
        let event: Event = serde_json::from_str(&line)
            .map_err(|error| told(format!("line {number} is no event of weir's: {error}")))?;
        let at = Duration::try_from(event.at.duration_since(Timestamp::UNIX_EPOCH));
        let at = at.map_err(|_| told(format!("line {number} is from before 1970")))?;
        requests.push((
            at,
            Recorded {
                method: event.http.request.method,
                path: event.url.path,
                route: event.route,
                body_bytes: event.http.request.body.map_or(0, |body| body.bytes),
            },
        ));
    }
    requests.sort_by_key(|(at, _)| *at);
    let (times, requests) = requests.into_iter().unzip();
    let schedule = Schedule::recorded(times).map_err(told)?;
    Ok((requests, schedule))
}
