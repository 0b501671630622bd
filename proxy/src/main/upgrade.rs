//! Upgrades: a new process takes over from a running one.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::UnixStream;
use weir::app::{App, HandoverStart, Predecessor};
use weir::clock;

use crate::terminal::note;
use crate::{ReceivedSignal, Signals, announce, block_on, load, serve};

/// Longer than a handover and its failure may take.
const TAKES_OVER_WITHIN: Duration = Duration::from_secs(45);
/// How often the new process is looked for.
const POLL: Duration = Duration::from_millis(20);

/// Runs the proxy in place of a running one.
pub(crate) fn run(path: Option<&Path>, start: HandoverStart) -> anyhow::Result<ExitCode> {
    // An invalid configuration is reported at once.
    let socket = socket(path)?;
    block_on(async {
        let mut signals = Signals::register()?;
        let mut predecessor = Predecessor::find(&socket, start).await?;
        if start == HandoverStart::Signal {
            note(waiting(predecessor.id()));
        }
        loop {
            tokio::select! {
                begun = predecessor.begins() => break begun?,
                received = signals.next() => if received != ReceivedSignal::Hangup {
                    note("weir: stopped before the running weir has handed over");
                    return Ok(ExitCode::SUCCESS);
                },
            }
        }
        // It may have changed in the meantime.
        let opened = load(path).inspect_err(|error| predecessor.failed(error))?;
        let app = App::take_over(opened, predecessor)?;
        announce(&app);
        serve(app, signals).await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Where the running weir listens.
fn socket(path: Option<&Path>) -> anyhow::Result<PathBuf> {
    let socket = load(path)?.loaded.config.upgrade_socket;
    socket.context("shutdown.upgrade_socket is empty: weir cannot be upgraded")
}

fn waiting(running: Option<i32>) -> String {
    match running {
        Some(id) => format!("weir: waiting; to hand over, run: kill -QUIT {id}"),
        None => "weir: waiting for a SIGQUIT to the running weir".to_owned(),
    }
}

/// Starts a process that takes over at once, and waits until it serves.
pub(crate) fn upgrade(path: Option<&Path>) -> anyhow::Result<ExitCode> {
    let socket = socket(path)?;
    let program = std::env::current_exe().context("cannot find the binary")?;
    let mut command = Command::new(&program);
    command.args(["run", "--upgrade=now"]);
    if let Some(path) = path {
        command.arg("--config").arg(path);
    }
    // It outlives this process and its terminal's Ctrl-C.
    command.process_group(0);
    block_on(async {
        log_like(running(&socket).await, &mut command);
        let child = command.spawn();
        let mut child = child.with_context(|| format!("cannot start {}", program.display()))?;
        let until = clock::now() + TAKES_OVER_WITHIN;
        loop {
            if let Some(ended) = child.try_wait()? {
                anyhow::bail!(
                    "the new process has not taken over ({ended}); the running one goes on, and the log has the reason"
                );
            }
            if listens(&socket, &child).await {
                note(format_args!("weir: process {} has taken over", child.id()));
                return Ok(ExitCode::SUCCESS);
            }
            anyhow::ensure!(
                clock::now() < until,
                "process {} does not listen on {}; see its log",
                child.id(),
                socket.display()
            );
            tokio::time::sleep(POLL).await;
        }
    })
}

/// Lets a new process write to the output of the running one, as far as it can be opened; a socket, such as that of the
/// journal, cannot. With the output of this command it would keep a caller waiting that captures it.
fn log_like(running: Option<i32>, command: &mut Command) {
    command.stdin(Stdio::null());
    let Some(id) = running else {
        return;
    };
    let open = |descriptor: u8| {
        let path = format!("/proc/{id}/fd/{descriptor}");
        OpenOptions::new().append(true).open(path)
    };
    if let Ok(output) = open(1) {
        command.stdout(output);
    }
    if let Ok(errors) = open(2) {
        command.stderr(errors);
    }
}

/// The process that listens on the upgrade socket.
async fn running(socket: &Path) -> Option<i32> {
    let stream = UnixStream::connect(socket).await.ok()?;
    stream.peer_cred().ok()?.pid()
}

/// Whether the new process listens on the upgrade socket, as it does once it has taken over.
async fn listens(socket: &Path, child: &Child) -> bool {
    let listening = running(socket).await;
    listening.is_some_and(|id| id.unsigned_abs() == child.id())
}
