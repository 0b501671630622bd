//! The process that waits at the upgrade socket to become the successor; at most one at a time.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::process::PeerProcess;
use super::{HandoverStart, Hello, PROTOCOL, RESPONSE_MAX, Reply};
use crate::clock;
use crate::listener::handover::{HandoverChannel, Replaces, UpgradeSocket};

/// How long a request to hand over waits for a successor.
const REQUEST_LASTS: Duration = Duration::from_secs(10);
/// How many processes may be about to be accepted at once.
const ARRIVING_MAX: usize = 8;

/// A process that waits, and has been accepted.
#[derive(Debug)]
pub(super) struct WaitingProcess {
    pub(super) channel: HandoverChannel,
    process: Option<PeerProcess>,
}

impl WaitingProcess {
    /// As logs name it.
    pub(super) fn name(&self) -> String {
        match self.channel.peer {
            Some(id) => format!("process {id}"),
            None => "the waiting process".to_owned(),
        }
    }

    /// Waits until it has ended, and kills it after `patience`.
    pub(super) fn end(&self, patience: Duration) {
        if let Some(process) = &self.process {
            process.end(patience);
        }
    }
}

/// The upgrade socket, served by a task.
#[derive(Debug)]
pub(in crate::app) struct WaitingRoom {
    shared: Arc<Shared>,
    task: AbortHandle,
    socket: UpgradeSocket,
}

#[derive(Debug, Default)]
struct Shared {
    waiting: Mutex<Option<WaitingProcess>>,
    /// A process waits that was started to take over at once.
    requested: Notify,
    /// When a handover was requested while nobody waited.
    requested_at: Mutex<Option<Instant>>,
}

impl WaitingRoom {
    /// Serves the socket at `path` on a runtime. `None`, with a warning, where that is impossible: weir then runs
    /// without upgrades.
    pub(in crate::app) fn open(path: &Path, replaces: Replaces, runtime: &Handle) -> Option<Self> {
        let (socket, listener) = match UpgradeSocket::bind(path, replaces) {
            Ok(bound) => bound,
            Err(error) => {
                let path = path.display();
                log::warn!(
                    "shutdown.upgrade_socket: cannot listen on {path}: {error}; this process cannot be upgraded"
                );
                return None;
            }
        };
        let shared = Arc::new(Shared::default());
        let serving = shared.clone();
        let task = runtime.spawn(async move {
            match UnixListener::from_std(listener) {
                Ok(listener) => serve(&listener, &serving).await,
                Err(error) => log::error!("the upgrade socket cannot be served: {error}"),
            }
        });
        Some(WaitingRoom {
            shared,
            task: task.abort_handle(),
            socket,
        })
    }

    /// The process that waits, unless it has ended. If there is none, the next one takes over if it comes soon: signals and
    /// processes may overtake each other.
    pub(super) fn take(&self) -> Option<WaitingProcess> {
        let mut waiting = self.shared.waiting.lock();
        let found = waiting.take().filter(|waiting| waiting.channel.is_open());
        *self.shared.requested_at.lock() = match found {
            Some(_) => None,
            None => Some(clock::now()),
        };
        found
    }

    /// Leaves the path of the socket to the successor.
    pub(in crate::app) fn leave(&mut self) {
        self.socket.leave();
    }

    /// Resolves when a process waits that was started to take over at once. It may be cancelled at any time.
    pub(in crate::app) async fn requested(&self) {
        self.shared.requested.notified().await;
    }
}

impl Drop for WaitingRoom {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut arriving = JoinSet::new();
    loop {
        // One that sends nothing does not keep others waiting.
        while arriving.try_join_next().is_some() {}
        if arriving.len() >= ARRIVING_MAX {
            arriving.join_next().await;
        }
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                log::warn!("the upgrade socket cannot accept a connection: {error}");
                tokio::time::sleep(RESPONSE_MAX).await;
                continue;
            }
        };
        let shared = shared.clone();
        arriving.spawn(async move {
            if let Err(error) = admit(stream, &shared).await {
                // `weir upgrade` only looks which process listens.
                log::debug!("a connection to the upgrade socket was closed: {error}");
            }
        });
    }
}

/// Lets a process wait, unless another one does.
async fn admit(stream: UnixStream, shared: &Arc<Shared>) -> std::io::Result<()> {
    let mut channel = HandoverChannel::new(stream)?;
    channel.set_deadline(Some(RESPONSE_MAX));
    let received = tokio::task::spawn_blocking(move || {
        let hello = channel.receive_first::<Hello>()?;
        Ok::<_, std::io::Error>((channel, hello))
    });
    let (mut channel, hello) = received.await??;
    let mut waiting = shared.waiting.lock();
    let other = waiting.as_ref().filter(|other| other.channel.is_open());
    let objection = match (hello.protocol == PROTOCOL, other) {
        (false, _) => Some(format!(
            "weir {} cannot hand over to weir {}: stop it and start the other one",
            env!("CARGO_PKG_VERSION"),
            hello.version
        )),
        (true, Some(other)) => Some(format!("{} waits already to take over", other.name())),
        (true, None) => None,
    };
    if let Some(objection) = objection {
        drop(waiting);
        return channel.send(&Reply::Rejected(objection));
    }
    channel.send(&Reply::Waiting)?;
    let process = WaitingProcess {
        process: channel.peer.and_then(PeerProcess::open),
        channel,
    };
    log::info!("{} waits to take over", process.name());
    *waiting = Some(process);
    drop(waiting);
    let requested_at = shared.requested_at.lock().take();
    let is_requested =
        requested_at.is_some_and(|at| clock::now().saturating_duration_since(at) <= REQUEST_LASTS);
    if hello.start == HandoverStart::Now || is_requested {
        shared.requested.notify_one();
    }
    Ok(())
}
