//! The side of the predecessor.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::feed::SuccessorFeed;
use super::waiting::{WaitingProcess, WaitingRoom};
use super::{
    HandedOverState, OfferedSocket, Preparation, START_MAX, SocketOffer, Started, comparable,
};
use crate::alert::Alerts;
use crate::app::recording::RunningRecorders;
use crate::audit::LogOwners;
use crate::clock;
use crate::gateway::Gateway;

/// How long the event file may take to be handed over, and the alerts.
const RELEASE_MAX: Duration = Duration::from_secs(2);
/// How long a successor that has reported a failure may take to end.
const END_MAX: Duration = Duration::from_secs(2);
/// How long the files of a successor that has failed may take to be free again.
const TAKE_BACK_MAX: Duration = Duration::from_secs(5);
const TAKE_BACK_PAUSE: Duration = Duration::from_millis(20);

/// The outcome of a request to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverOutcome {
    /// The successor serves. This process has to drain and to exit.
    Done {
        /// Its process id, if it is visible here.
        successor: Option<i32>,
    },
    /// This process goes on; the reason has been logged.
    NotDone,
}

/// Why a successor does not serve.
#[derive(Debug, thiserror::Error)]
enum HandoverError {
    #[error("{0}")]
    Reported(String),
    #[error("{0}")]
    Channel(#[from] io::Error),
    #[error("cannot free the spool: {0}")]
    Spool(io::Error),
}

/// The parts that change hands.
pub(in crate::app) struct HandoverParts<'a> {
    pub(in crate::app) sockets: &'a [OfferedSocket],
    pub(in crate::app) recording: &'a RunningRecorders,
    pub(in crate::app) alerts: &'a Alerts,
    pub(in crate::app) gateway: &'a Arc<Gateway>,
}

/// Hands over to the process that waits, if there is one. Returns the connection to it as well.
pub(in crate::app) fn hand_over(
    room: &WaitingRoom,
    parts: &HandoverParts<'_>,
) -> (HandoverOutcome, Option<SuccessorFeed>) {
    let Some(mut successor) = room.take() else {
        log::warn!(
            "SIGQUIT, but no process waits to take over: start `weir run --upgrade` within 10 s, or use `weir upgrade`"
        );
        return (HandoverOutcome::NotDone, None);
    };
    let name = successor.name();
    log::info!("handing over to {name}");
    let since_s = clock::unix_now().as_secs().saturating_sub(1);
    let mut released = Released::default();
    match try_to(&mut successor, parts, &mut released) {
        Ok(taken) => {
            for (socket, taken) in parts.sockets.iter().zip(taken) {
                if taken {
                    socket.is_passed_on.set();
                }
            }
            log::info!("{name} serves; draining");
            let done = HandoverOutcome::Done {
                successor: successor.channel.peer,
            };
            let feed = SuccessorFeed::start(successor.channel, parts.gateway.clone(), since_s);
            let feed = feed.inspect_err(|error| log::error!("cannot start a thread: {error}"));
            (done, feed.ok())
        }
        Err(error) => {
            log::error!("{name} cannot take over: {error}; this process goes on");
            end(&successor, &error);
            take_back(parts, released);
            (HandoverOutcome::NotDone, None)
        }
    }
}

/// Lets a successor that has failed end, and kills one that hangs: it may have got further than it reported.
fn end(successor: &WaitingProcess, error: &HandoverError) {
    successor.end(match error {
        HandoverError::Reported(_) => END_MAX,
        // It has closed the connection, and is ending.
        HandoverError::Channel(error) if error.kind() == ErrorKind::UnexpectedEof => END_MAX,
        HandoverError::Channel(_) | HandoverError::Spool(_) => Duration::ZERO,
    });
}

/// What has been given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Released {
    #[default]
    Nothing,
    AllButSpool,
    All,
}

/// Returns which sockets the successor uses.
fn try_to(
    successor: &mut WaitingProcess,
    parts: &HandoverParts<'_>,
    released: &mut Released,
) -> Result<Vec<bool>, HandoverError> {
    let channel = &mut successor.channel;
    channel.set_deadline(Some(START_MAX));
    let addresses = parts.sockets.iter().map(|socket| socket.addresses);
    channel.send(&SocketOffer {
        sockets: addresses.collect(),
    })?;
    for socket in parts.sockets {
        channel.send_socket(&socket.socket)?;
    }
    let (taken, spool) = match channel.receive()? {
        Preparation::Ready { taken, spool } => (taken, spool),
        Preparation::Failed(why) => return Err(HandoverError::Reported(why)),
    };
    let state = release(parts, spool.as_deref(), released)?;
    channel.send(&state)?;
    match channel.receive()? {
        Started::Serving => Ok(taken),
        Started::Failed(why) => Err(HandoverError::Reported(why)),
    }
}

/// Gives up what only one process may have. This process goes on serving and recording.
fn release(
    parts: &HandoverParts<'_>,
    spool: Option<&Path>,
    released: &mut Released,
) -> Result<HandedOverState, HandoverError> {
    *released = Released::AllButSpool;
    parts.recording.events.hand_over(clock::now() + RELEASE_MAX);
    let alerts = parts.alerts.hand_over(clock::now() + RELEASE_MAX);
    if let Some(audit) = &parts.recording.audit {
        audit.set_owners(LogOwners::Two);
    }
    if let Some(ship) = &parts.recording.ship {
        let is_same = spool.is_some_and(|path| comparable(ship.spool.directory()) == path);
        if is_same {
            ship.hand_over().map_err(HandoverError::Spool)?;
            *released = Released::All;
        }
    }
    let seen = parts.gateway.generation().replay_stores().seen_since(0);
    Ok(HandedOverState { alerts, seen })
}

fn take_back(parts: &HandoverParts<'_>, released: Released) {
    if released == Released::Nothing {
        return;
    }
    parts.recording.events.take_back();
    // Before the spool, which may be large.
    parts.alerts.take_back();
    if let Some(audit) = &parts.recording.audit {
        audit.set_owners(LogOwners::One);
    }
    if let (Released::All, Some(ship)) = (released, &parts.recording.ship) {
        let until = clock::now() + TAKE_BACK_MAX;
        while let Err(error) = ship.take_back() {
            if error.kind() != ErrorKind::ResourceBusy || is_over(until) {
                log::error!(
                    "spool: cannot take back the events in it: {error}; they wait for the next start"
                );
                break;
            }
            std::thread::sleep(TAKE_BACK_PAUSE);
        }
    }
}

fn is_over(until: Instant) -> bool {
    clock::now() >= until
}
