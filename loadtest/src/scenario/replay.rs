//! Replays a recording: weir's events give the arrival times, paths and body sizes of past requests.
//!
//! Bodies are not recorded; a prompt of the same size is sent instead.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use crate::schedule::Schedule;

mod elasticsearch;
mod event;

use event::Event;
pub(super) use event::RecordedRequest;

/// The recorded requests, sorted by time, and when each is due.
#[derive(Clone, Debug)]
pub struct Recording {
    pub requests: Vec<RecordedRequest>,
    pub schedule: Schedule,
}

/// Where the events are. Not `Debug`: a URL may contain a password.
#[derive(Clone)]
pub enum EventSource {
    /// A file with one event a line.
    File(PathBuf),
    /// A data stream or index: `http://127.0.0.1:9200/logs-weir.access-default`.
    Index {
        url: String,
        /// In `query_string` syntax.
        query: String,
        api_key: Option<String>,
    },
}

/// Reads the events of a source; `speed` 2.0 replays them in half the time.
///
/// # Errors
/// A source that cannot be read, or that contains something else than events; with its place.
pub async fn load_recording(source: &EventSource, speed: f64) -> anyhow::Result<Recording> {
    let (mut events, flag) = match source {
        EventSource::File(path) => {
            let flag = format!("--events {}", path.display());
            (read_file(path).with_context(|| flag.clone())?, flag)
        }
        EventSource::Index {
            url,
            query,
            api_key,
        } => {
            let flag = format!("--events {}", elasticsearch::without_password(url));
            let events = elasticsearch::events(url, query, api_key.as_deref()).await;
            (events.with_context(|| flag.clone())?, flag)
        }
    };
    // Events are written when a request ends, and carry the time when it began.
    events.sort_by_key(|(at, _)| *at);
    let (times, requests): (Vec<Duration>, _) = events
        .into_iter()
        .map(|(at, recorded)| (at.div_f64(speed), recorded))
        .unzip();
    let schedule = Schedule::recorded(times).context(flag)?;
    Ok(Recording { requests, schedule })
}

fn read_file(path: &Path) -> anyhow::Result<Vec<(Duration, RecordedRequest)>> {
    let file = std::fs::File::open(path)?;
    let mut events = Vec::new();
    for (line, number) in BufReader::new(file).lines().zip(1..) {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let event: Event = serde_json::from_str(&line)
            .with_context(|| format!("line {number} is not a weir event"))?;
        let recorded = event.into_request();
        events.extend(recorded.with_context(|| format!("line {number}"))?);
    }
    Ok(events)
}
