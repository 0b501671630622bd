//! What survives a restart: firing alerts, silences, and what each notifier has sent. One small JSON file,
//! rewritten after each change by a thread of its own, and replaced atomically.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::silence::Silence;
use super::slow_write::WriteWatch;
use super::state::{AlertKey, Saved};
use super::tier::Tier;
use crate::alert::metrics::AlertWrites;
use crate::clock;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::rotated::directory;
use crate::worker::Worker;
use crate::worker::thread::{LockedState, SharedState, State as Running, WorkerThread};

const VERSION: u32 = 1;
/// Far more than all alerts that can fire.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const LOG_INTERVAL: Duration = Duration::from_secs(60);
/// After a write that failed: the disk may have room again.
const RETRY: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(3600);

/// The content of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersistedState {
    pub(super) version: u32,
    pub alerts: Vec<Saved>,
    pub silences: Vec<Silence>,
    /// By the name of the notifier.
    #[serde(rename = "told")]
    pub notified: BTreeMap<String, Vec<Notified>>,
}

impl Default for PersistedState {
    fn default() -> Self {
        PersistedState {
            version: VERSION,
            alerts: Vec::new(),
            silences: Vec::new(),
            notified: BTreeMap::new(),
        }
    }
}

/// The tier of an alert that a notifier sent last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notified {
    #[serde(flatten, with = "super::state::saved_key")]
    pub key: AlertKey,
    pub tier: Tier,
}

/// Why a state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is not a file")]
    NotAFile,
    #[error("it is not a state file of alerts")]
    NotAState,
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
    #[error("it has version {0}, but this weir reads version {VERSION}")]
    Version(u32),
}

/// What is at the path of the state file.
#[derive(Debug)]
pub enum LoadedState {
    /// The state; empty when there is no file.
    State(PersistedState),
    /// Not a state file. It is left alone, and nothing is saved.
    Foreign(LoadError),
}

/// The first bytes of every state file.
const BEGINNING: &str = "{\"version\":";

impl PersistedState {
    /// Reads the file. A damaged state file is renamed to `.bad` and logged, and alerts start without it. A file
    /// that is something else is not touched.
    #[must_use]
    pub fn read(path: &Path) -> LoadedState {
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return LoadedState::State(PersistedState::default());
            }
            Err(error) => return LoadedState::Foreign(error.into()),
            Ok(meta) if !meta.is_file() => return LoadedState::Foreign(LoadError::NotAFile),
            Ok(meta) if meta.len() == 0 => return LoadedState::State(PersistedState::default()),
            Ok(_) => {}
        }
        let text = match text(path) {
            Ok(text) => text,
            Err(error) => return LoadedState::Foreign(error.into()),
        };
        if !text.starts_with(BEGINNING.as_bytes()) {
            return LoadedState::Foreign(LoadError::NotAState);
        }
        let state = parse(&text).unwrap_or_else(|error| {
            put_aside(path, &error);
            PersistedState::default()
        });
        LoadedState::State(state)
    }
}

fn text(path: &Path) -> io::Result<Vec<u8>> {
    let file = std::fs::File::open(path)?;
    let mut text = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut text)?;
    Ok(text)
}

fn parse(text: &[u8]) -> Result<PersistedState, LoadError> {
    let state: PersistedState = serde_json::from_slice(text)?;
    match state.version {
        VERSION => Ok(state),
        other => Err(LoadError::Version(other)),
    }
}

fn put_aside(path: &Path, error: &LoadError) {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".bad");
    let outcome = match std::fs::rename(path, &aside) {
        Ok(()) => format!("it is renamed to {}", PathBuf::from(aside).display()),
        Err(_) => "it is overwritten at the next change".to_owned(),
    };
    let path = path.display();
    log::error!(
        "alerts.state: cannot read {path}: {error}; {outcome}; firing alerts and silences are forgotten"
    );
}

/// Writes the state file on a thread of its own.
#[derive(Debug)]
pub struct StateWriter {
    thread: WorkerThread<WriterWork>,
    watch: WriteWatch,
}

/// What the thread has to do.
#[derive(Debug, Default)]
struct WriterWork {
    /// The state to write.
    text: Option<Vec<u8>>,
    activity: WriterActivity,
    ownership: FileOwnership,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum WriterActivity {
    #[default]
    Idle,
    /// It is writing, or has to retry.
    Writing,
}

/// Which process writes the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FileOwnership {
    #[default]
    Here,
    /// A successor.
    Elsewhere,
}

impl StateWriter {
    /// Starts the thread. The directory is created with the first write.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub(super) fn start(path: PathBuf, worker: Worker, writes: AlertWrites) -> io::Result<Self> {
        let (on, watch) = (worker.clone(), WriteWatch::new(writes));
        let theirs = watch.clone();
        // Not in `run`: it must survive a panic.
        let mut unwritten = None;
        let run = move |shared: &SharedState<WriterWork>| {
            run(shared, &path, &mut unwritten, (&theirs, &on));
        };
        let thread = WorkerThread::start(worker, WriterWork::default(), run)?;
        Ok(StateWriter { thread, watch })
    }

    /// Counts a write that takes too long.
    pub(super) fn check(&self, now: Instant) {
        self.watch.check(now);
    }

    /// Writes this state soon. It replaces one that is not written yet.
    pub fn write(&self, state: &PersistedState) {
        if let Ok(text) = serde_json::to_vec(state) {
            self.thread.lock().work.text = Some(text);
            self.thread.wake();
        }
    }

    /// Lets another process write the file, or writes it again. Waits for a write in progress, but not for a disk that
    /// hangs.
    pub(super) fn set_ownership(&self, ownership: FileOwnership, deadline: Instant) {
        let mut inner = self.thread.lock();
        inner.work.ownership = ownership;
        self.thread.wake();
        let is_writing = |inner: &LockedState<WriterWork>| {
            inner.work.activity == WriterActivity::Writing && inner.state != Running::Ended
        };
        if ownership == FileOwnership::Elsewhere
            && self
                .thread
                .wait_while(&mut inner, deadline, is_writing)
                .is_err()
        {
            log::warn!("alerts: the state file is still being written");
        }
    }

    /// Writes what is not written yet, and stops.
    pub fn stop(&self, deadline: Instant) {
        if self.thread.stop(deadline).is_err() {
            log::warn!("alerts: the state was not written before the stop");
        }
    }
}

fn run(
    shared: &SharedState<WriterWork>,
    path: &Path,
    unwritten: &mut Option<Vec<u8>>,
    (watch, worker): (&WriteWatch, &Worker),
) {
    let mut throttle = LogThrottle::every(LOG_INTERVAL);
    loop {
        let pause = match &*unwritten {
            Some(_) => RETRY,
            None => IDLE,
        };
        let mut inner = shared.lock();
        let is_due =
            |work: &WriterWork| work.text.is_some() && work.ownership == FileOwnership::Here;
        shared.wait_until(&mut inner, clock::now() + pause, is_due);
        *unwritten = inner.work.text.take().or(unwritten.take());
        if inner.work.ownership == FileOwnership::Elsewhere {
            *unwritten = None;
        }
        let running = inner.state;
        inner.work.activity = match unwritten {
            Some(_) => WriterActivity::Writing,
            None => WriterActivity::Idle,
        };
        drop(inner);
        if let Some(text) = &*unwritten {
            worker.fault_point();
            match watch.time(|| replace(path, text)) {
                Ok(()) => {
                    throttle.recovered();
                    *unwritten = None;
                }
                Err(error) if throttle.failed(clock::now()) == LogDecision::Log => {
                    let path = path.display();
                    log::error!(
                        "alerts.state: cannot write {path}: {error}; a restart would forget firing alerts and silences"
                    );
                }
                Err(_) => {}
            }
        }
        if unwritten.is_none() {
            shared.lock().work.activity = WriterActivity::Idle;
            shared.notify();
        }
        if running == Running::Stopping {
            return;
        }
    }
}

/// Replaces the file atomically.
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

    fn read(path: &Path) -> Option<PersistedState> {
        match PersistedState::read(path) {
            LoadedState::State(state) => Some(state),
            LoadedState::Foreign(_) => None,
        }
    }

    #[test]
    fn a_saved_state_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/alerts.json");
        assert_eq!(read(&path), Some(PersistedState::default()));
        let standing = fixture::alert("ErrorRate", Tier::Critical);
        let state = PersistedState {
            alerts: vec![standing.to_save().expect("in force")],
            notified: BTreeMap::from([(
                "feishu".to_owned(),
                vec![Notified {
                    key: standing.key.clone(),
                    tier: Tier::Warning,
                }],
            )]),
            ..PersistedState::default()
        };
        let metrics = Metrics::new().expect("metrics");
        let alerts = AlertMetrics::register(&metrics).expect("metrics");
        let writes = alerts.writes("state").expect("counters");
        let worker = Worker::unexposed("alert-state");
        // It panics before the write, and writes it after the restart.
        worker.fail(1);
        let writer = StateWriter::start(path.clone(), worker.clone(), writes).expect("a thread");
        writer.write(&PersistedState::default());
        writer.write(&state);
        writer.stop(clock::now() + Duration::from_secs(60));
        assert_eq!(read(&path), Some(state));
        assert!(worker.seen().0 > 0);
    }

    #[test]
    fn a_state_without_identities_from_an_older_version_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.json");
        let text = r#"{"version":1,"alerts":[{"rule":"ErrorRate","labels":{"route":"chat"},"tier":"critical",
            "figure":0.5,"last_at":{"secs":5,"nanos":0},"since":{"secs":4,"nanos":0},
            "raised_at":{"secs":3,"nanos":0},"critical_at":{"secs":4,"nanos":0},"ended_at":null}],
            "silences":[],"told":{"webhook":[{"rule":"ErrorRate","labels":{"route":"chat"},"tier":"critical"}]}}"#;
        std::fs::write(&path, text).expect("a file");
        let LoadedState::State(state) = PersistedState::read(&path) else {
            panic!("a state");
        };
        assert_eq!(state.alerts[0].identity, None);
        assert_eq!(state.notified["webhook"][0].tier, Tier::Critical);
    }

    #[test]
    fn a_damaged_state_is_renamed_and_a_foreign_file_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.json");
        for text in [
            r#"{"version":1,"al"#,
            r#"{"version":2,"alerts":[],"silences":[],"told":{}}"#,
            r#"{"version":1,"alerts":[{"rule":"A","labels":{"x":"y"}}],"silences":[],"told":{}}"#,
        ] {
            std::fs::write(&path, text).expect("a file");
            assert_eq!(read(&path), Some(PersistedState::default()), "{text}");
            let aside = folder.path().join("alerts.json.bad");
            assert_eq!(std::fs::read_to_string(aside).expect("kept"), text);
        }
        std::fs::write(&path, "").expect("a file");
        assert_eq!(read(&path), Some(PersistedState::default()));
        let foreign = |path: &Path| matches!(PersistedState::read(path), LoadedState::Foreign(_));
        std::fs::write(&path, "{\"@timestamp\":1}\n").expect("a file");
        assert!(foreign(&path) && foreign(folder.path()) && foreign(Path::new("/dev/null")));
        let text = std::fs::read_to_string(&path).expect("untouched");
        assert_eq!(text, "{\"@timestamp\":1}\n");
    }
}
