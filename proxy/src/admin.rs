//! The operator's side: an own listener and runtime, so that `/readyz` and `/metrics` answer also
//! when the way of requests is busy. It reads snapshots and never reaches into the gateway.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use self::door::Door;
use crate::alert::Alerts;
use crate::audit::Audit;
use crate::metrics::Metrics;
use crate::record::Record;
use crate::ship::Ship;
use crate::worker::Pause;
use crate::{clock, config, route};

mod accept;
mod alerts;
mod door;
mod pages;
mod problem;
mod router;
mod serve;

/// How often a pause looks for the stop.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// What the pages show.
#[derive(Clone, Debug)]
pub struct AdminState {
    pub metrics: Arc<Metrics>,
    pub record: Arc<Record>,
    pub readiness: Arc<ReadinessFlag>,
    pub routes: Vec<RouteSummary>,
    pub alerts: Arc<Alerts>,
    /// The ways of events to the index, by what goes there.
    pub ships: Vec<(&'static str, Arc<Ship>)>,
    /// Is told of who was not let in.
    pub audit: Option<Arc<Audit>>,
}

/// A route as `/api/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSummary {
    pub name: Arc<str>,
    /// As in the file: with a trailing `*` a prefix.
    pub path: String,
    pub platform: Arc<str>,
    pub backend: Arc<str>,
}

impl RouteSummary {
    /// The routes of a configuration, in its order.
    #[must_use]
    pub fn all(config: &config::Config) -> Vec<Self> {
        let summary = |route: &Arc<config::Route>| RouteSummary {
            name: route.name.clone(),
            path: match &route.matching.path {
                route::PathPattern::Exact(path) => path.clone(),
                route::PathPattern::Prefix(path) => format!("{path}*"),
            },
            platform: route.platform.clone(),
            backend: config
                .backends
                .get(route.backend)
                .map_or_else(|| Arc::from(""), |backend| backend.name.clone()),
        };
        config.routes.iter().map(summary).collect()
    }
}

/// Whether the proxy takes new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The listeners are not open yet.
    Starting,
    Ready,
    /// Running requests end; new ones should go elsewhere.
    Draining,
}

impl Readiness {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Readiness::Starting => "starting",
            Readiness::Ready => "ready",
            Readiness::Draining => "draining",
        }
    }
}

/// The readiness that all threads see.
#[derive(Debug)]
pub struct ReadinessFlag(AtomicU8);

impl ReadinessFlag {
    #[must_use]
    pub fn new(readiness: Readiness) -> Self {
        ReadinessFlag(AtomicU8::new(readiness as u8))
    }

    #[must_use]
    pub fn get(&self) -> Readiness {
        match self.0.load(Ordering::Acquire) {
            value if value == Readiness::Starting as u8 => Readiness::Starting,
            value if value == Readiness::Ready as u8 => Readiness::Ready,
            _ => Readiness::Draining,
        }
    }

    pub fn set(&self, readiness: Readiness) {
        self.0.store(readiness as u8, Ordering::Release);
    }
}

/// The running listener. It ends when this is dropped.
#[derive(Debug)]
pub struct Admin {
    /// With the port that the system chose for port 0.
    pub address: SocketAddr,
    stop: watch::Sender<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    NotYet,
    Now,
}

impl Admin {
    /// Opens the listener and serves it in a thread of its own.
    ///
    /// # Errors
    /// When the address cannot be bound (the message names it), or the system has no thread to give.
    pub fn start(config: &config::Admin, state: AdminState) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).map_err(|error| {
            let address = config.address;
            io::Error::new(
                error.kind(),
                format!("admin.address: cannot listen on {address}: {error}"),
            )
        })?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let door = Door::new(config.token.as_deref(), address);
        let worker = state.metrics.worker("admin").map_err(io::Error::other)?;
        let router = router::router(state, door, clock::now());
        // What cannot be had is an error at the start, not only a failing worker.
        let mut first = Some(runtime()?);
        let (stop, stopped) = watch::channel(Stop::NotYet);
        let thread = std::thread::Builder::new()
            .name(worker.name().to_owned())
            .spawn(move || {
                let run = || {
                    let runtime = match first.take() {
                        Some(runtime) => runtime,
                        None => runtime().map_err(told)?,
                    };
                    // The socket itself stays open: who connects meanwhile waits.
                    let listener = listener.try_clone().map_err(told)?;
                    let serving = serve::serve(listener, router.clone(), stopped.clone(), &worker);
                    runtime.block_on(serving).map_err(told)
                };
                worker.keep(run, |wait| pause(wait, &stopped));
            })?;
        Ok(Admin {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Ends the listener; an answer that is on its way has a second to get there.
    pub fn stop(mut self) {
        self.tell_stop();
        if let Some(thread) = self.thread.take() {
            // A panic in it has been reported by itself.
            drop(thread.join());
        }
    }

    fn tell_stop(&self) {
        self.stop.send_replace(Stop::Now);
    }
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

fn told(error: io::Error) -> String {
    format!("its listener has ended: {error}")
}

/// Waits before a new start, until the stop at most.
fn pause(wait: Duration, stopped: &watch::Receiver<Stop>) -> Pause {
    let until = clock::now() + wait;
    while *stopped.borrow() == Stop::NotYet {
        let left = until.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Pause::Over;
        }
        std::thread::park_timeout(left.min(STOP_LOOK));
    }
    Pause::Stopping
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.tell_stop();
    }
}

#[cfg(test)]
mod tests;
