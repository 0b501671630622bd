//! The side of the predecessor.

use std::io;

use super::waiting::{WaitingProcess, WaitingRoom};
use super::{Offer, OfferedSocket, Prepared, START_MAX, Started, State};

/// The outcome of a request to hand over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoverOutcome {
    /// The successor serves. This process has to drain and to exit.
    Done,
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
}

/// Hands over to the process that waits, if there is one.
pub(in crate::app) fn hand_over(room: &WaitingRoom, sockets: &[OfferedSocket]) -> HandoverOutcome {
    let Some(mut successor) = room.take() else {
        log::warn!(
            "SIGQUIT, but no process waits to take over: start `weir run --upgrade` first, or use `weir upgrade`"
        );
        return HandoverOutcome::NotDone;
    };
    log::info!("handing over to {}", successor.name());
    match try_to(&mut successor, sockets) {
        Ok(taken) => {
            for (socket, taken) in sockets.iter().zip(taken) {
                if taken {
                    socket.is_passed_on.set();
                }
            }
            log::info!("{} serves; draining", successor.name());
            HandoverOutcome::Done
        }
        Err(error) => {
            log::error!(
                "{} cannot take over: {error}; this process goes on",
                successor.name()
            );
            // It may hang, or have got further than it reported.
            successor.kill();
            HandoverOutcome::NotDone
        }
    }
}

/// Returns which sockets the successor uses.
fn try_to(
    successor: &mut WaitingProcess,
    sockets: &[OfferedSocket],
) -> Result<Vec<bool>, HandoverError> {
    let channel = &mut successor.channel;
    channel.set_deadline(Some(START_MAX));
    let addresses = sockets.iter().map(|socket| socket.addresses);
    channel.send(&Offer {
        sockets: addresses.collect(),
    })?;
    for socket in sockets {
        channel.send_socket(&socket.socket)?;
    }
    let taken = match channel.receive()? {
        Prepared::Ready { taken } => taken,
        Prepared::Failed(why) => return Err(HandoverError::Reported(why)),
    };
    channel.send(&State {})?;
    match channel.receive()? {
        Started::Serving => Ok(taken),
        Started::Failed(why) => Err(HandoverError::Reported(why)),
    }
}
