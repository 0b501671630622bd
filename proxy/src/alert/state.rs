//! What outlives the process: alerts in force, silences, and what was told to whom. One small file of
//! JSON, written anew at each change by a thread of its own, and put in the place of the old one whole.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::late::Writing;
use super::silence::Silence;
use super::standing::{Key, Saved};
use super::tier::Tier;
use crate::alert::metrics::AlertWrites;
use crate::clock;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::rotated::directory;
use crate::worker::Worker;
use crate::worker::thread::{SharedState, State as Running, WorkerThread};

const VERSION: u32 = 1;
/// Far more than what can be in force.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
/// A disk that was full may have room again.
const RETRY: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(3600);

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    pub(super) version: u32,
    pub alerts: Vec<Saved>,
    pub silences: Vec<Silence>,
    /// By the name of a notifier.
    pub told: BTreeMap<String, Vec<Told>>,
}

impl Default for State {
    fn default() -> Self {
        State {
            version: VERSION,
            alerts: Vec::new(),
            silences: Vec::new(),
            told: BTreeMap::new(),
        }
    }
}

/// What a notifier told last of an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    #[serde(flatten, with = "super::standing::saved_key")]
    pub key: Key,
    pub tier: Tier,
}

/// What lay where the state is kept.
#[derive(Debug, PartialEq)]
pub enum Found {
    /// The state; empty where there was nothing.
    State(State),
    /// Something of somebody else's, which is left as it is: nothing is kept.
    Foreign(String),
}

/// How every state begins.
const BEGINNING: &str = "{\"version\":";

impl State {
    /// Reads the file. A state that is damaged is put aside with `.bad` at the end of its name, and told
    /// of: alerts work without a memory, too. What never was a state is not touched.
    #[must_use]
    pub fn read(path: &Path) -> Found {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Found::State(State::default());
            }
            Err(error) => return Found::Foreign(error.to_string()),
            Ok(meta) if !meta.is_file() => return Found::Foreign("it is no file".to_owned()),
            Ok(meta) if meta.len() == 0 => return Found::State(State::default()),
            Ok(_) => {}
        }
        let text = match text(path) {
            Ok(text) => text,
            Err(error) => return Found::Foreign(error.to_string()),
        };
        if !text.starts_with(BEGINNING.as_bytes()) {
            return Found::Foreign("it is something else than a state of alerts".to_owned());
        }
        let state = parse(&text).unwrap_or_else(|why| {
            put_aside(path, &why);
            State::default()
        });
        Found::State(state)
    }
}

fn text(path: &Path) -> io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn parse(text: &[u8]) -> Result<State, String> {
    let state: State = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    match state.version {
        VERSION => Ok(state),
        other => Err(format!(
            "it is of version {other}, and this weir reads version {VERSION}"
        )),
    }
}

fn put_aside(path: &Path, why: &str) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".bad");
    let kept = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it is kept as {}", PathBuf::from(aside).display()),
        Err(_) => "it is written over at the next change".to_owned(),
    };
    let path = path.display();
    log::error!("alerts.state: {path} cannot be read: {why}; {kept}; alerts begin anew");
}

/// Writes the file.
#[derive(Debug)]
pub struct Keeper {
    thread: WorkerThread<Option<Vec<u8>>>,
    writing: Writing,
}

impl Keeper {
    /// Starts the thread. The folder is made when there is something to write.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(path: PathBuf, worker: Worker, writes: AlertWrites) -> io::Result<Self> {
        let (on, writing) = (worker.clone(), Writing::new(writes));
        let theirs = writing.clone();
        // Not in `run`: it outlives a panic.
        let mut unwritten = None;
        let run = move |shared: &SharedState<Option<Vec<u8>>>| {
            run(shared, &path, &mut unwritten, (&theirs, &on));
        };
        let thread = WorkerThread::start(worker, None, run)?;
        Ok(Keeper { thread, writing })
    }

    /// Counts a write that takes too long.
    pub(super) fn snapshot(&self, now: Instant) {
        self.writing.snapshot(now);
    }

    /// The newest state takes the place of one that is not written yet.
    pub fn keep(&self, state: &State) {
        if let Ok(text) = serde_json::to_vec(state) {
            self.thread.lock().work = Some(text);
            self.thread.wake();
        }
    }

    /// Writes what is left.
    pub fn stop(&self, deadline: Instant) {
        if self.thread.stop(deadline).is_err() {
            log::warn!("alerts: their state could not be written in time");
        }
    }
}

fn run(
    shared: &SharedState<Option<Vec<u8>>>,
    path: &Path,
    unwritten: &mut Option<Vec<u8>>,
    (writing, worker): (&Writing, &Worker),
) {
    let mut complaint = LogThrottle::every(COMPLAINT_INTERVAL);
    loop {
        let pause = match &*unwritten {
            Some(_) => RETRY,
            None => IDLE,
        };
        let mut inner = shared.lock();
        shared.wait_until(&mut inner, clock::now() + pause, Option::is_some);
        let (newer, running) = (inner.work.take(), inner.state);
        drop(inner);
        *unwritten = newer.or(unwritten.take());
        if let Some(text) = &*unwritten {
            worker.fault_point();
            match writing.time(|| replace(path, text)) {
                Ok(()) => {
                    complaint.recovered();
                    *unwritten = None;
                }
                Err(error) if complaint.failed(clock::now()) == LogDecision::Log => {
                    let path = path.display();
                    log::error!(
                        "alerts.state: {path} cannot be written: {error}; a restart forgets what is in force"
                    );
                }
                Err(_) => {}
            }
        }
        if running == Running::Stopping {
            return;
        }
    }
}

/// Puts a whole file in the place of the old one.
fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    std::fs::create_dir_all(directory(path))?;
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let mut file = std::fs::File::create(&new)?;
    file.write_all(text)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::alert::fixture;
    use crate::alert::metrics::AlertMetrics;
    use crate::metrics::Metrics;

    #[test]
    fn what_was_kept_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/alerts.json");
        assert_eq!(State::read(&path), Found::State(State::default()));
        let standing = fixture::standing("ErrorRate", Tier::Critical);
        let state = State {
            alerts: vec![standing.to_save().expect("in force")],
            told: BTreeMap::from([(
                "feishu".to_owned(),
                vec![Told {
                    key: standing.key.clone(),
                    tier: Tier::Warning,
                }],
            )]),
            ..State::default()
        };
        let metrics = Metrics::new().expect("metrics");
        let alerts = AlertMetrics::register(&metrics).expect("metrics");
        let writes = alerts.writes("state").expect("counters");
        let worker = Worker::unseen("alert-state");
        // It panics with the state in hand, and writes it all the same.
        worker.fail(1);
        let keeper = Keeper::start(path.clone(), worker.clone(), writes).expect("a thread");
        keeper.keep(&State::default());
        keeper.keep(&state);
        keeper.stop(clock::now() + Duration::from_secs(60));
        assert_eq!(State::read(&path), Found::State(state));
        assert!(worker.seen().0 > 0);
    }

    #[test]
    fn a_state_from_before_alerts_said_who_raised_them_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.json");
        let text = r#"{"version":1,"alerts":[{"rule":"ErrorRate","labels":{"route":"chat"},"tier":"critical",
            "figure":0.5,"last_at":{"secs":5,"nanos":0},"since":{"secs":4,"nanos":0},
            "raised_at":{"secs":3,"nanos":0},"critical_at":{"secs":4,"nanos":0},"ended_at":null}],
            "silences":[],"told":{"webhook":[{"rule":"ErrorRate","labels":{"route":"chat"},"tier":"critical"}]}}"#;
        std::fs::write(&path, text).expect("a file");
        let Found::State(state) = State::read(&path) else {
            panic!("a state");
        };
        assert_eq!(state.alerts[0].identity, None);
        assert_eq!(state.told["webhook"][0].tier, Tier::Critical);
    }

    #[test]
    fn a_damaged_state_is_put_aside_and_what_is_none_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.json");
        for text in [
            r#"{"version":1,"al"#,
            r#"{"version":2,"alerts":[],"silences":[],"told":{}}"#,
            r#"{"version":1,"alerts":[{"rule":"A","labels":{"x":"y"}}],"silences":[],"told":{}}"#,
        ] {
            std::fs::write(&path, text).expect("a file");
            assert_eq!(State::read(&path), Found::State(State::default()), "{text}");
            let aside = folder.path().join("alerts.json.bad");
            assert_eq!(std::fs::read_to_string(aside).expect("kept"), text);
        }
        std::fs::write(&path, "").expect("a file");
        assert_eq!(State::read(&path), Found::State(State::default()));
        let foreign = |path: &Path| matches!(State::read(path), Found::Foreign(_));
        std::fs::write(&path, "{\"@timestamp\":1}\n").expect("a file");
        assert!(foreign(&path) && foreign(folder.path()) && foreign(Path::new("/dev/null")));
        let text = std::fs::read_to_string(&path).expect("untouched");
        assert_eq!(text, "{\"@timestamp\":1}\n");
    }
}
