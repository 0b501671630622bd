//! The faults of a proxy: those of each direction, those of new connections, and the requests to end open ones.

use std::net::SocketAddr;
use std::time::Duration;

/// One of the two directions of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    ToTarget,
    ToClient,
}

/// The faults of one direction. The default has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// The delay of every byte. It does not limit the bandwidth.
    pub latency: Duration,
    /// Added to the latency: a random time between zero and this.
    pub jitter: Duration,
    pub bytes_per_second: Option<u64>,
    pub slices: Option<Slices>,
    pub cut: Option<Cut>,
    pub delivery: Delivery,
}

/// Forwards in pieces, each in a packet of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slices {
    pub bytes: usize,
    /// Between two pieces; without it, the kernel may merge them.
    pub pause: Duration,
}

/// An end of the direction after some bytes: it happens when a further byte is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Counted on each connection, from when the fault was set.
    pub after_bytes: u64,
    pub kind: CutKind,
}

impl Cut {
    #[must_use]
    pub fn after(bytes: u64, kind: CutKind) -> Self {
        Cut {
            after_bytes: bytes,
            kind,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutKind {
    /// RST to both peers.
    Reset,
    /// FIN, as if the sender had closed the connection.
    Close,
    /// Half-open: further bytes and the FIN are lost.
    Silence,
}

/// What happens to the bytes of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    #[default]
    Forwarded,
    /// Nothing is read (backpressure) and nothing forwarded until this changes.
    Stalled,
    /// Bytes and FIN are lost, and the sender does not notice.
    Lost,
}

/// What happens to a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    #[default]
    Forwarded,
    /// Accepted and reset.
    Reset,
    /// Accepted, and nothing is forwarded in either direction; the target is not contacted.
    Blackhole,
}

/// All faults of a proxy.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultPlan {
    pub(super) target: SocketAddr,
    pub(super) admission: Admission,
    to_target: DirectionPlan,
    to_client: DirectionPlan,
    cut_open: Option<OpenCut>,
}

/// The faults of a direction, and how often they were set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DirectionPlan {
    pub(super) revision: u64,
    pub(super) faults: Faults,
}

/// A request to end the connections that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenCut {
    number: u64,
    pub(super) kind: CutKind,
}

impl FaultPlan {
    pub(super) fn transparent(target: SocketAddr) -> Self {
        FaultPlan {
            target,
            admission: Admission::Forwarded,
            to_target: DirectionPlan::default(),
            to_client: DirectionPlan::default(),
            cut_open: None,
        }
    }

    pub(super) fn direction(&self, direction: Direction) -> DirectionPlan {
        match direction {
            Direction::ToTarget => self.to_target,
            Direction::ToClient => self.to_client,
        }
    }

    pub(super) fn set(&mut self, direction: Direction, faults: Faults) {
        let plan = match direction {
            Direction::ToTarget => &mut self.to_target,
            Direction::ToClient => &mut self.to_client,
        };
        plan.revision += 1;
        plan.faults = faults;
    }

    pub(super) fn heal(&mut self) {
        self.admission = Admission::Forwarded;
        self.set(Direction::ToTarget, Faults::default());
        self.set(Direction::ToClient, Faults::default());
    }

    pub(super) fn cut_open(&mut self, kind: CutKind) {
        let number = self.cut_open.map_or(0, |cut| cut.number) + 1;
        self.cut_open = Some(OpenCut { number, kind });
    }

    /// The last request to end connections: one that differs from the one at its start concerns a connection.
    pub(super) fn last_open_cut(&self) -> Option<OpenCut> {
        self.cut_open
    }
}
