//! What outlives the process: alerts in force, silences, and what was told to whom. One small file of
//! JSON, written anew at each change by a thread of its own, and put in the place of the old one whole.

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::silence::Silence;
use super::standing::{Key, Saved};
use super::tier::Tier;
use crate::clock;
use crate::complaint::{Complaint, Telling};
use crate::record::rotated::directory;
use crate::side_thread::{Desk, SideThread, State as Running};

const VERSION: u32 = 1;
/// Far more than what can be in force.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);
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

impl State {
    /// Reads the file. One that is not there is an empty one; one that cannot be read is put aside with
    /// `.bad` at the end of its name, and told of: alerts work without a memory, too.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        match read(path) {
            Ok(state) => state,
            Err(error) if error.kind() == io::ErrorKind::NotFound => State::default(),
            Err(error) => {
                let mut aside = path.as_os_str().to_owned();
                aside.push(".bad");
                let moved = std::fs::rename(path, &aside);
                let kept = match moved {
                    Ok(()) => format!("it is kept as {}", PathBuf::from(aside).display()),
                    Err(_) => "it is written over at the next change".to_owned(),
                };
                log::error!(
                    "alerts.state: {} cannot be read: {error}; {kept}; alerts begin anew",
                    path.display()
                );
                State::default()
            }
        }
    }
}

fn read(path: &Path) -> io::Result<State> {
    let file = std::fs::File::open(path)?;
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(file, FILE_BYTES_MAX), &mut text)?;
    let state: State = serde_json::from_str(&text)?;
    if state.version != VERSION {
        return Err(io::Error::other(format!(
            "it is of version {}, and this weir reads version {VERSION}",
            state.version
        )));
    }
    Ok(state)
}

/// Writes the file.
#[derive(Debug)]
pub struct Keeper {
    thread: SideThread<Option<Vec<u8>>>,
}

impl Keeper {
    /// Starts the thread. The folder is made when there is something to write.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn start(path: PathBuf) -> io::Result<Self> {
        let run = move |desk: &Desk<Option<Vec<u8>>>| run(desk, &path);
        let thread = SideThread::start("alert-state", None, run)?;
        Ok(Keeper { thread })
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

fn run(desk: &Desk<Option<Vec<u8>>>, path: &Path) {
    let mut complaint = Complaint::every(COMPLAINT_INTERVAL);
    loop {
        let mut inner = desk.lock();
        desk.wait_until(&mut inner, clock::now() + IDLE, Option::is_some);
        let (text, running) = (inner.work.take(), inner.state);
        drop(inner);
        if let Some(text) = text {
            match replace(path, &text) {
                Ok(()) => {
                    complaint.over();
                }
                Err(error) if complaint.note(clock::now()) == Telling::Due => {
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

    #[test]
    fn what_was_kept_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("deep/alerts.json");
        assert_eq!(State::read(&path), State::default());
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
        let keeper = Keeper::start(path.clone()).expect("a thread");
        keeper.keep(&State::default());
        keeper.keep(&state);
        keeper.stop(clock::now() + Duration::from_secs(60));
        assert_eq!(State::read(&path), state);
    }

    #[test]
    fn a_file_that_is_none_is_put_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("alerts.json");
        for text in [
            "",
            "{",
            "[]",
            r#"{"version":2,"alerts":[],"silences":[],"told":{}}"#,
            r#"{"version":1,"alerts":[{"rule":"A","labels":{"x":"y"}}],"silences":[],"told":{}}"#,
        ] {
            std::fs::write(&path, text).expect("a file");
            assert_eq!(State::read(&path), State::default(), "{text}");
            let aside = folder.path().join("alerts.json.bad");
            assert_eq!(std::fs::read_to_string(aside).expect("kept"), text);
        }
    }
}
