//! Upgrades (hot restart): a running process, the predecessor, hands over to a new one, its successor.
//!
//! The successor connects to the upgrade socket of the predecessor, with its configuration loaded, and waits. SIGQUIT
//! begins the handover:
//!
//! ```text
//! successor                        predecessor
//! Hello              ->
//!                    <-  Reply::Waiting
//!                                  SIGQUIT
//!                    <-  SocketOffer, then each listening socket
//! Preparation        ->            the configuration is valid, and every address is bound
//!                                  gives up what only one process may write, and goes on serving
//!                    <-  HandedOverState
//! Started            ->            everything runs, and connections are accepted
//!                                  stops accepting, and drains
//!                    <-  Meanwhile, as often as there is news
//!                                  exits
//! ```
//!
//! Until `Started`, the predecessor goes on as if nothing had happened when its successor fails, ends or hangs: it takes
//! back what it gave up.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use self::feed::SuccessorFeed;
use self::waiting::WaitingRoom;
use self::watch::PredecessorWatch;
use super::inherited::SocketAddresses;
use crate::alert::HandedOverAlerts;
use crate::handover_flag::HandoverFlag;
use crate::signature::shared_stores::SeenElsewhere;

pub(super) mod feed;
pub(super) mod handing_over;
mod process;
pub(super) mod taking_over;
pub(super) mod waiting;
pub(super) mod watch;

/// Of the messages below. Another number means that the two versions cannot replace each other.
const PROTOCOL: u32 = 1;
/// For a message that the peer has ready.
const RESPONSE_MAX: Duration = Duration::from_secs(5);
/// From the offer until the successor serves. A successor that takes longer is killed.
const START_MAX: Duration = Duration::from_secs(30);

/// When the handover begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HandoverStart {
    /// When the predecessor receives SIGQUIT.
    Signal,
    Now,
}

#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    protocol: u32,
    version: String,
    start: HandoverStart,
}

#[derive(Debug, Serialize, Deserialize)]
enum Reply {
    Waiting,
    Rejected(String),
}

/// The listening sockets, which follow in this order.
#[derive(Debug, Serialize, Deserialize)]
struct SocketOffer {
    sockets: Vec<SocketAddresses>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Preparation {
    Ready {
        /// For each offered socket, whether the successor uses it.
        taken: Vec<bool>,
        /// Its spool, if it ships events.
        spool: Option<PathBuf>,
    },
    Failed(String),
}

/// What the successor continues from. The spool, the audit log and the event file are free as well.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct HandedOverState {
    pub(super) alerts: HandedOverAlerts,
    pub(super) seen: SeenElsewhere,
}

#[derive(Debug, Serialize, Deserialize)]
enum Started {
    Serving,
    Failed(String),
}

/// Sent by the predecessor while it drains, until it ends.
#[derive(Debug, Serialize, Deserialize)]
struct Meanwhile {
    seen: SeenElsewhere,
}

/// What a running process needs for its successor, and has of its predecessor.
#[derive(Debug, Default)]
pub(super) struct Succession {
    /// The listening sockets, for a successor.
    pub(super) offered: Vec<OfferedSocket>,
    /// Set once a successor serves.
    pub(super) handed_over: Arc<HandoverFlag>,
    /// The connection to a successor that serves.
    pub(super) feed: Option<SuccessorFeed>,
    /// `None` without a predecessor.
    pub(super) predecessor: Option<PredecessorWatch>,
    /// Where a successor waits; `None` if this process cannot be upgraded.
    pub(super) waiting_room: Option<WaitingRoom>,
}

/// A listening socket of this process, as it is offered to a successor.
#[derive(Debug)]
pub(super) struct OfferedSocket {
    pub(super) addresses: SocketAddresses,
    pub(super) socket: TcpListener,
    /// Set once a successor accepts on it.
    pub(super) is_passed_on: Arc<HandoverFlag>,
}

/// A path that both processes can compare.
fn comparable(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
