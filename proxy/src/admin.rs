//! The admin API: a listener and runtime of its own, so that `/readyz` and `/metrics` respond even when the
//! request pipeline is saturated. It reads snapshots, requests reloads, and never reaches into the gateway.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus::IntGauge;

use self::auth::Auth;
use self::backends::BackendSnapshots;
use self::purge::CachePurges;
use self::reload::ReloadRequests;
use crate::alert::Alerts;
use crate::audit::Audit;
use crate::metrics::Metrics;
use crate::record::EventRecorder;
use crate::ship::Ship;
use crate::worker::runtime::RuntimeThread;
use crate::{clock, config};

mod accept;
mod alerts;
mod auth;
pub mod backends;
mod pages;
mod problem;
pub mod purge;
pub mod reload;
mod router;
mod serve;

/// The longest that its end is waited for.
const STOP_MAX: Duration = Duration::from_secs(2);

/// What the pages show.
#[derive(Clone, Debug)]
pub struct AdminState {
    pub metrics: Arc<Metrics>,
    pub in_flight: IntGauge,
    /// Open connections of clients.
    pub connections: IntGauge,
    pub events: Arc<EventRecorder>,
    pub readiness: Arc<ReadinessFlag>,
    pub routes: Arc<RouteList>,
    pub alerts: Arc<Alerts>,
    /// Where events are shipped.
    pub ship: Option<Arc<Ship>>,
    /// Records rejected requests.
    pub audit: Option<Arc<Audit>>,
    pub reloads: Arc<dyn ReloadRequests>,
    pub backends: Arc<dyn BackendSnapshots>,
    pub purges: Arc<dyn CachePurges>,
}

/// The routes in use.
#[derive(Debug)]
pub struct RouteList(Mutex<Arc<[RouteSummary]>>);

impl RouteList {
    #[must_use]
    pub fn new(config: &config::Config) -> Self {
        RouteList(Mutex::new(RouteSummary::all(config)))
    }

    #[must_use]
    pub fn get(&self) -> Arc<[RouteSummary]> {
        self.0.lock().clone()
    }

    /// Replaces them by those of a new configuration.
    pub fn set(&self, config: &config::Config) {
        *self.0.lock() = RouteSummary::all(config);
    }
}

/// A route as `/api/status` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSummary {
    pub name: Arc<str>,
    /// As configured: a trailing `*` marks a prefix.
    pub path: Arc<str>,
    pub platform: Arc<str>,
    pub backend: Arc<str>,
}

impl RouteSummary {
    /// The routes of a configuration, in its order.
    #[must_use]
    pub fn all(config: &config::Config) -> Arc<[Self]> {
        let summary = |route: &Arc<config::Route>| RouteSummary {
            name: route.name.clone(),
            path: route.path.clone(),
            platform: route.platform.clone(),
            backend: config
                .backends
                .get(route.backend)
                .map_or_else(|| Arc::from(""), |backend| backend.name.clone()),
        };
        config.routes.iter().map(summary).collect()
    }
}

/// Whether the proxy accepts new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// The listeners are not open yet.
    Starting,
    Ready,
    /// Requests in flight finish; new ones should go elsewhere.
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

/// The readiness, shared by all threads.
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

/// The running listener. Dropping it stops it.
#[derive(Debug)]
pub struct Admin {
    /// With the port that the system assigned for port 0.
    pub address: SocketAddr,
    thread: RuntimeThread,
}

impl Admin {
    /// Binds the address.
    ///
    /// # Errors
    /// When that fails; the message names the address.
    pub fn bind(config: &config::AdminApi) -> io::Result<TcpListener> {
        TcpListener::bind(config.address).map_err(|error| {
            let address = config.address;
            io::Error::new(
                error.kind(),
                format!("admin.address: cannot listen on {address}: {error}"),
            )
        })
    }

    /// Serves the listener in a thread of its own.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(
        config: &config::AdminApi,
        listener: TcpListener,
        state: AdminState,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let auth = Auth::new(
            config.token.as_ref().map(config::SecretText::expose_secret),
            address,
        );
        let worker = state.metrics.worker("admin").map_err(io::Error::other)?;
        let router = router::router(state, auth, clock::now());
        let serving = worker.clone();
        let thread = RuntimeThread::start(worker, |stopping| {
            move || {
                // The socket stays open: connections wait in its backlog meanwhile.
                let listener = listener.try_clone();
                let (router, stopping) = (router.clone(), stopping.clone());
                let worker = serving.clone();
                async move {
                    let served = serve::serve(listener?, router, stopping, &worker).await;
                    served.map_err(|error| {
                        io::Error::new(error.kind(), format!("its listener stopped: {error}"))
                    })
                }
            }
        })?;
        Ok(Admin { address, thread })
    }

    /// Stops the listener. Responses in flight have a second to finish.
    pub fn stop(self) {
        if self.thread.stop(clock::now(), STOP_MAX).is_err() {
            log::warn!("the admin API did not stop in time");
        }
    }
}

#[cfg(test)]
mod tests;
