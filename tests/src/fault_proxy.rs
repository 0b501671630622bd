//! A TCP proxy that injects faults between two peers: between weir and a backend, or between a client and weir.
//!
//! Faults are set for each direction and for new connections, and can be changed while connections are open:
//!
//! | fault | how |
//! |---|---|
//! | latency, jitter, bandwidth, slicing | [`Faults`] of a direction |
//! | reset or truncation after some bytes; half-open (one direction dies without FIN) | [`Faults::cut`] |
//! | reset before the first byte of the response | [`FaultProxy::reset_responses`] |
//! | stall, loss without FIN | [`Delivery`] |
//! | reset at once, blackhole (accepted, nothing is forwarded) | [`Admission`] |
//! | refused connections | [`FaultProxy::refuse`], [`FaultProxy::reopen`] on the same port |
//! | a process that is killed, and started again | [`FaultProxy::kill`], [`FaultProxy::reopen`] |
//! | an address that does not respond to SYN | [`UnreachableAddress`] |
//!
//! Only the timers of the proxy itself delay bytes; the jitter comes from a seed.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::watch;
use tokio::task::JoinHandle;

mod connection;
mod faults;
mod pump;
mod unreachable;

pub use faults::{Admission, Cut, CutKind, Delivery, Direction, Faults, Slices};
pub use unreachable::UnreachableAddress;

use faults::FaultPlan;

/// How many connections may wait to be accepted.
const BACKLOG: u32 = 1024;

/// The seed of the jitter, unless the test chooses one.
const SEED: u64 = 18;

/// A proxy that forwards connections to a target until it is dropped. Without faults it is transparent: ends and resets
/// are forwarded too.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    plan: watch::Sender<FaultPlan>,
    traffic: Arc<Traffic>,
    seed: u64,
    accepting: Mutex<Option<JoinHandle<()>>>,
    /// Bound and never listening: keeps the port while connections are refused.
    _reservation: TcpSocket,
}

/// What has passed through a proxy.
#[derive(Debug, Default)]
struct Traffic {
    accepted: AtomicU64,
    open: AtomicU64,
    to_target: AtomicU64,
    to_client: AtomicU64,
}

/// A reading of the counters of a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrafficCounts {
    /// Connections since the start.
    pub accepted: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Bytes forwarded to the target.
    pub to_target: u64,
    /// Bytes forwarded to the clients.
    pub to_client: u64,
}

impl FaultProxy {
    /// Forwards to `target` without faults, on a port chosen by the system.
    ///
    /// # Panics
    /// There is no port.
    #[must_use]
    pub fn start(target: SocketAddr) -> Self {
        Self::with_seed(target, SEED)
    }

    /// As [`FaultProxy::start`]; the jitter follows from `seed`.
    ///
    /// # Panics
    /// There is no port.
    #[must_use]
    pub fn with_seed(target: SocketAddr, seed: u64) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let reservation = socket(any);
        let address = reservation.local_addr().expect("its address");
        let (plan, _) = watch::channel(FaultPlan::transparent(target));
        let proxy = FaultProxy {
            address,
            plan,
            traffic: Arc::default(),
            seed,
            accepting: Mutex::new(None),
            _reservation: reservation,
        };
        proxy.reopen();
        proxy
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, for an endpoint in a configuration.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the faults of one direction, also of open connections. [`Faults::cut`] counts from here.
    pub fn set(&self, direction: Direction, faults: Faults) {
        self.plan.send_modify(|plan| plan.set(direction, faults));
    }

    /// Sets what happens to new connections.
    pub fn admit(&self, admission: Admission) {
        self.plan.send_modify(|plan| plan.admission = admission);
    }

    /// Resets each connection when the target begins to respond, before the first byte of the response.
    pub fn reset_responses(&self) {
        let faults = Faults {
            cut: Some(Cut::after(0, CutKind::Reset)),
            ..Faults::default()
        };
        self.set(Direction::ToClient, faults);
    }

    /// Removes all faults but refused connections. What a cut has ended stays ended.
    pub fn heal(&self) {
        self.plan.send_modify(FaultPlan::heal);
    }

    /// Ends all open connections.
    pub fn cut_open(&self, kind: CutKind) {
        self.plan.send_modify(|plan| plan.cut_open(kind));
    }

    /// Refuses new connections. Open ones stay.
    pub async fn refuse(&self) {
        let accepting = self.accepting().take();
        if let Some(accepting) = accepting {
            accepting.abort();
            // The listener is closed when the task has ended.
            let _ = accepting.await;
        }
    }

    /// Accepts connections again, on the same port. Does nothing if it does.
    ///
    /// # Panics
    /// The port is lost.
    pub fn reopen(&self) {
        let mut accepting = self.accepting();
        if accepting.is_some() {
            return;
        }
        let listener = socket(self.address)
            .listen(BACKLOG)
            .expect("its port is reserved");
        let plan = self.plan.subscribe();
        let serving = accept(listener, plan, self.traffic.clone(), self.seed);
        *accepting = Some(tokio::spawn(serving));
    }

    /// As the SIGKILL of a server: resets open connections, and refuses new ones until [`FaultProxy::reopen`].
    pub async fn kill(&self) {
        self.refuse().await;
        self.cut_open(CutKind::Reset);
    }

    #[must_use]
    pub fn counts(&self) -> TrafficCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        TrafficCounts {
            accepted: read(&self.traffic.accepted),
            open: read(&self.traffic.open),
            to_target: read(&self.traffic.to_target),
            to_client: read(&self.traffic.to_client),
        }
    }

    fn accepting(&self) -> std::sync::MutexGuard<'_, Option<JoinHandle<()>>> {
        self.accepting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FaultProxy {
    /// Open connections end too: they wait for the plan, whose sender is dropped.
    fn drop(&mut self) {
        if let Some(accepting) = self.accepting().take() {
            accepting.abort();
        }
    }
}

/// A bound socket. Several may be bound to one port while at most one of them listens.
fn socket(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("SO_REUSEADDR");
    socket.bind(address).expect("a port");
    socket
}

/// Accepts connections until it is aborted; each is served by a task of its own, which goes on when new connections are
/// refused.
async fn accept(
    listener: TcpListener,
    plan: watch::Receiver<FaultPlan>,
    traffic: Arc<Traffic>,
    seed: u64,
) {
    while let Ok((client, _)) = listener.accept().await {
        let number = traffic.accepted.fetch_add(1, Ordering::SeqCst);
        let open = OpenConnection::new(traffic.clone());
        let plan = plan.clone();
        // Before its task runs, so that a kill also ends it.
        let last_cut = plan.borrow().last_open_cut();
        tokio::spawn(async move {
            let seed = seed.wrapping_add(number);
            connection::serve(client, plan, last_cut, &open.0, seed).await;
        });
    }
}

/// Counts a connection as open until it is dropped.
struct OpenConnection(Arc<Traffic>);

impl OpenConnection {
    fn new(traffic: Arc<Traffic>) -> Self {
        traffic.open.fetch_add(1, Ordering::SeqCst);
        OpenConnection(traffic)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Traffic {
    /// The bytes forwarded in one direction.
    fn bytes(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToTarget => &self.to_target,
            Direction::ToClient => &self.to_client,
        }
    }
}

#[cfg(test)]
mod tests;
