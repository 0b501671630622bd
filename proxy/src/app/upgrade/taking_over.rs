//! The side of the successor.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tokio::net::UnixStream;

use super::process::PeerProcess;
use super::{
    HandedOverState, HandoverStart, Hello, PROTOCOL, Preparation, RESPONSE_MAX, Reply, START_MAX,
    SocketOffer, Started, comparable,
};
use crate::app::inherited::InheritedSockets;
use crate::config::Config;
use crate::listener::handover::HandoverChannel;

/// How long a predecessor that has closed its connections may take to be gone.
const ENDING_MAX: Duration = Duration::from_secs(2);

/// The running process that this one takes over from.
#[derive(Debug)]
pub struct Predecessor {
    channel: HandoverChannel,
    step: StartStep,
}

impl Predecessor {
    /// Finds the process that listens on the upgrade socket, and asks it to hand over.
    ///
    /// # Errors
    /// When there is none, or it rejects this one.
    pub async fn find(path: &Path, start: HandoverStart) -> anyhow::Result<Self> {
        let connected = UnixStream::connect(path).await.map_err(|error| {
            let why = match error.kind() {
                ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                    "no running weir listens there; start this one without --upgrade".to_owned()
                }
                _ => error.to_string(),
            };
            anyhow::anyhow!("shutdown.upgrade_socket: {}: {why}", path.display())
        });
        let mut channel = HandoverChannel::new(connected?)?;
        channel.set_deadline(Some(RESPONSE_MAX));
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let hello = Hello {
            protocol: PROTOCOL,
            version,
            start,
        };
        let reply = channel
            .send(&hello)
            .and_then(|()| channel.receive::<Reply>());
        match reply.context("the running weir does not respond")? {
            Reply::Waiting => Ok(Predecessor {
                channel,
                step: StartStep::Preparing,
            }),
            Reply::Rejected(why) => anyhow::bail!("the running weir refuses to hand over: {why}"),
        }
    }

    /// Its process id, if it is visible here.
    #[must_use]
    pub fn id(&self) -> Option<i32> {
        self.channel.peer
    }

    /// Waits until the handover begins. It may be cancelled at any time.
    ///
    /// # Errors
    /// When the running process has ended without it.
    pub async fn begins(&self) -> anyhow::Result<()> {
        self.channel.readable().await?;
        anyhow::ensure!(
            self.channel.is_open(),
            "the running weir has ended without handing over; start this one without --upgrade"
        );
        Ok(())
    }

    pub(in crate::app) fn receive_sockets(&mut self) -> io::Result<InheritedSockets> {
        self.channel.set_deadline(Some(START_MAX));
        let offer = self.channel.receive::<SocketOffer>()?;
        let mut sockets = InheritedSockets::default();
        for addresses in offer.sockets {
            sockets.push(addresses, self.channel.receive_socket()?);
        }
        Ok(sockets)
    }

    /// The configuration is valid and every address is bound: the predecessor gives up what only one process may have.
    /// `None` if it has ended by itself: everything but its sockets is free then, and its state is lost.
    pub(in crate::app) fn prepared(
        &mut self,
        sockets: &InheritedSockets,
        config: &Config,
    ) -> io::Result<Option<HandedOverState>> {
        let taken = sockets.taken();
        let spool = config
            .ship
            .as_ref()
            .map(|ship| comparable(&ship.spool.path));
        let sent = self.channel.send(&Preparation::Ready { taken, spool });
        self.step = StartStep::Starting;
        match sent.and_then(|()| self.channel.receive()) {
            Err(error) if has_ended(&error) => {
                log::warn!(
                    "the previous process has ended while it handed over: its state is lost"
                );
                // Its files are free once it is gone as a whole.
                if let Some(process) = self.channel.peer.and_then(PeerProcess::open) {
                    process.wait(ENDING_MAX);
                }
                Ok(None)
            }
            received => received.map(Some),
        }
    }

    /// This process serves: from now on the predecessor drains.
    pub(in crate::app) fn started(&mut self) -> io::Result<()> {
        match self.channel.send(&Started::Serving) {
            Err(error) if has_ended(&error) => Ok(()),
            sent => sent,
        }
    }

    /// The connection to the predecessor while it drains.
    pub(in crate::app) fn into_channel(self) -> HandoverChannel {
        self.channel
    }

    /// Reports why this process cannot start. The predecessor goes on.
    pub fn failed(&mut self, error: &anyhow::Error) {
        let why = format!("{error:#}");
        // If it cannot be sent, the end of this process says the same.
        let _ = match self.step {
            StartStep::Preparing => self.channel.send(&Preparation::Failed(why)),
            StartStep::Starting => self.channel.send(&Started::Failed(why)),
        };
    }
}

/// Whether the predecessor has ended: only this process has the sockets now.
fn has_ended(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
    )
}

/// How far the start has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum StartStep {
    Preparing,
    Starting,
}
