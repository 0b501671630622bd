//! Builds the running parts from a checked configuration, in start order, replaces a generation while they run,
//! and stops them (graceful shutdown, drain).
//!
//! Connections are served on pingora's runtimes: one per worker, without work stealing. weir binds the sockets
//! and accepts connections itself, so that an address in use is an error at the start, and it ends the process
//! itself, so that an idle one stops at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pingora_runtime::Runtime;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::admin::reload::ReloadReport;
use crate::admin::{Admin, AdminState, Readiness, ReadinessFlag, RouteList};
use crate::alert::counters::CounterRegistry;
use crate::alert::rule_set::LabelValues;
use crate::alert::{self, Alerts};
use crate::config::Config;
use crate::config::file::OpenedConfig;
use crate::exchange::Recorder;
use crate::gateway;
use crate::gateway::Gateway;
use crate::generation::Generation;
use crate::handover_flag::HandoverFlag;
use crate::http::budget::Budget;
use crate::http::connections::Connections;
use crate::http::connections::metrics::ConnectionCounts;
use crate::listener::handover::Replaces;
use crate::listener::tls::Certificates;
use crate::metrics::Metrics;
use crate::system::{self, System, SystemSample};

mod health_checks;
mod housekeeping;
mod inherited;
mod installer;
mod listening;
mod prepared;
mod purge;
mod recording;
mod redis;
mod reload;
mod sockets;
mod stop;
mod upgrade;

use housekeeping::Gauges;
use installer::Installer;
use listening::Listening;
use prepared::{PreparedStart, owners, readiness};
use recording::RunningRecorders;
use reload::{ReloadTrigger, Reloader};
use sockets::Sockets;
use upgrade::handing_over::HandoverParts;
use upgrade::waiting::WaitingRoom;
use upgrade::watch::{PredecessorWatch, SharedParts};
use upgrade::{HandedOverState, Succession};

pub use upgrade::HandoverStart;
pub use upgrade::handing_over::HandoverOutcome;
pub use upgrade::taking_over::Predecessor;

/// The first process of a container: the container ends with it, so no other process can take its place.
const CONTAINER_INIT: u32 = 1;

/// A running proxy.
pub struct App {
    /// The addresses of the listeners, in the order of the file.
    pub addresses: Vec<(SocketAddr, ListenScheme)>,
    pub admin: SocketAddr,
    runtime: Runtime,
    stop: watch::Sender<bool>,
    connections: Arc<Connections>,
    readiness: Arc<ReadinessFlag>,
    recording: RunningRecorders,
    alerts: Arc<Alerts>,
    installer: Arc<Installer>,
    reloader: Arc<Reloader>,
    /// `None` once it is stopped.
    admin_server: Option<Admin>,
    _system: System,
    drain: Duration,
    accept_loops: Vec<JoinHandle<()>>,
    succession: Succession,
    #[cfg(test)]
    metrics: Arc<Metrics>,
}

/// The protocol of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenScheme {
    Http,
    Https,
}

impl ListenScheme {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ListenScheme::Http => "http",
            ListenScheme::Https => "https",
        }
    }
}

/// Everything that runs before the first request is accepted.
struct StartedParts {
    sockets: Sockets,
    certificates: Vec<Option<Arc<Certificates>>>,
    metrics: Arc<Metrics>,
    reading: Arc<Mutex<SystemSample>>,
    recording: RunningRecorders,
    gauges: Gauges,
    connections: Arc<Connections>,
    alerts: Arc<Alerts>,
    routes: Arc<RouteList>,
    installer: Arc<Installer>,
    reloader: Arc<Reloader>,
    readiness: Arc<ReadinessFlag>,
}

impl StartedParts {
    fn admin_state(&self) -> AdminState {
        AdminState {
            metrics: self.metrics.clone(),
            in_flight: self.gauges.in_flight.clone(),
            connections: self.gauges.connections.clone(),
            events: self.recording.events.clone(),
            readiness: self.readiness.clone(),
            routes: self.routes.clone(),
            alerts: self.alerts.clone(),
            ship: self.recording.ship.clone(),
            audit: self.recording.audit.clone(),
            reloads: self.reloader.clone(),
            backends: self.installer.clone(),
            purges: self.installer.clone(),
        }
    }

    /// Opens the admin API and accepts connections.
    fn serve(self, config: &Config) -> anyhow::Result<App> {
        let state = self.admin_state();
        let (metrics, sockets) = (self.metrics, self.sockets);
        let gateway = self.installer.gateway.clone();
        let (stop, shutdown) = watch::channel(false);
        let handed_over = Arc::new(HandoverFlag::default());
        let offered = sockets.offer(config)?;
        let addresses = sockets.addresses();
        let admin_server = Admin::start(&config.admin, sockets.admin, state)?;
        let served = (gateway.clone(), self.connections.clone());
        let listening = Listening::new(config, served, shutdown.clone(), handed_over.clone());
        let (runtime, accept_loops) =
            listening.serve(sockets.listeners, &offered, &self.certificates);
        let certificates = listening::named(&addresses, self.certificates);
        health_checks::start(&runtime, gateway.clone(), &metrics, shutdown.clone())?;
        redis::start(&runtime, gateway.clone(), &metrics, shutdown.clone())?;
        let maintained = (gateway.clone(), certificates, self.gauges);
        housekeeping::start(&runtime, maintained, &metrics, shutdown)?;
        let system = System::start(self.reading, metrics.worker("system")?)?;
        self.readiness.set(Readiness::Ready);
        Ok(App {
            accept_loops,
            succession: Succession {
                offered,
                handed_over,
                ..Succession::default()
            },
            addresses,
            admin: admin_server.address,
            runtime,
            stop,
            connections: self.connections,
            readiness: self.readiness,
            recording: self.recording,
            alerts: self.alerts,
            installer: self.installer,
            reloader: self.reloader,
            admin_server: Some(admin_server),
            _system: system,
            drain: config.drain,
            #[cfg(test)]
            metrics,
        })
    }
}

impl App {
    /// Starts every part, without a file that could be loaded again. Whatever can fail fails here, before the first
    /// request is accepted.
    ///
    /// # Errors
    /// When an address is in use, the event file cannot be opened, or a certificate cannot be read.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        App::start_with(config, None, None)
    }

    /// As [`App::start`], and loads the file again when it changes.
    ///
    /// # Errors
    /// As [`App::start`].
    pub fn start_from(opened: OpenedConfig) -> anyhow::Result<Self> {
        let config = opened.loaded.config.clone();
        let mut app = App::start_with(&config, Some(opened), None)?;
        app.await_successor(&config, Replaces::Nothing);
        Ok(app)
    }

    /// As [`App::start_from`], in place of a running process, which drains once this one serves.
    ///
    /// # Errors
    /// As [`App::start`]; then the running process goes on.
    pub fn take_over(opened: OpenedConfig, mut predecessor: Predecessor) -> anyhow::Result<Self> {
        let config = opened.loaded.config.clone();
        let started = App::start_with(&config, Some(opened), Some(&mut predecessor));
        let started = started.and_then(|app| {
            predecessor.started()?;
            Ok(app)
        });
        let mut app = started.inspect_err(|error| predecessor.failed(error))?;
        app.await_successor(&config, Replaces::Predecessor);
        let shared = SharedParts {
            gateway: app.installer.gateway.clone(),
            audit: app.recording.audit.clone(),
            ship: app.recording.ship.clone(),
        };
        // The predecessor is draining: from here on, nothing may end this process.
        let watch = PredecessorWatch::start(predecessor.into_channel(), shared);
        let watch = watch.inspect_err(|error| log::error!("cannot start a thread: {error}"));
        app.succession.predecessor = watch.ok();
        Ok(app)
    }

    fn await_successor(&mut self, config: &Config, replaces: Replaces) {
        let Some(path) = &config.upgrade_socket else {
            return;
        };
        if std::process::id() == CONTAINER_INIT {
            return;
        }
        let runtime = self.runtime.get_handle();
        self.succession.waiting_room = WaitingRoom::open(path, replaces, runtime);
    }

    fn start_with(
        config: &Config,
        opened: Option<OpenedConfig>,
        predecessor: Option<&mut Predecessor>,
    ) -> anyhow::Result<Self> {
        // The dependencies bring two providers, so a process must choose one. An error means that an earlier
        // start in this process did.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let PreparedStart {
            sockets,
            certificates,
            inherited,
        } = PreparedStart::new(config, predecessor)?;
        let readiness = readiness(&inherited);
        let counters = Arc::new(CounterRegistry::new(config.alerts.needs()));
        let metrics = Arc::new(Metrics::new()?);
        let reading = system::metrics::register(&metrics)?;
        let recording =
            RunningRecorders::start(config, owners(&inherited), &metrics, counters.clone())?;
        let counts = ConnectionCounts::register(&metrics)?;
        let gauges = Gauges {
            in_flight: gateway::metrics::in_flight(&metrics)?,
            connections: counts.open.clone(),
        };
        let connections = Connections::new(config.limits.connections, counts);
        let gateway = gateway(
            config,
            inherited.as_ref(),
            recording.recorder.clone(),
            &metrics,
        )?;
        let sources = alert::Sources {
            metrics: metrics.clone(),
            counters,
            labels: alert_labels(config),
            snapshots: recording.snapshots(&metrics, reading.clone(), &gateway),
            ship: recording.ship.clone(),
            environment: config.events.environment.clone(),
            instance: sockets.instance(),
        };
        let inherited = inherited.map(|state| state.alerts);
        let alerts = Alerts::start(&config.alerts, sources, inherited)?;
        let routes = Arc::new(RouteList::new(config));
        let changing = (recording.requests.clone(), routes.clone());
        let installer = Arc::new(Installer::new(gateway.clone(), alerts.clone(), changing));
        let reloader = Reloader::start(opened, installer.clone(), &metrics)?;
        let parts = StartedParts {
            sockets,
            certificates,
            metrics,
            reading,
            recording,
            gauges,
            connections,
            alerts,
            routes,
            installer,
            reloader,
            readiness: Arc::new(ReadinessFlag::new(readiness)),
        };
        parts.serve(config)
    }

    /// Loads the file again, on a thread of its own; the receiver gets the report.
    pub fn reload(&self) -> oneshot::Receiver<ReloadReport> {
        self.reloader.request(ReloadTrigger::Hangup)
    }

    /// Replaces what requests meet by what `config` builds, which has been checked. Keys that need a restart are not
    /// read.
    pub fn install(&self, config: &Config) {
        self.installer.install(config);
    }

    /// Resolves when a process waits that was started to take over at once. It may be cancelled at any time.
    pub async fn upgrade_requested(&self) {
        match &self.succession.waiting_room {
            Some(room) => room.requested().await,
            None => std::future::pending().await,
        }
    }

    /// Hands over to the process that waits at the upgrade socket, if there is one. Blocks until that one serves, or
    /// has failed.
    pub fn hand_over(&mut self) -> HandoverOutcome {
        let Some(room) = &self.succession.waiting_room else {
            log::warn!("SIGQUIT, but this process cannot be upgraded: it has no upgrade socket");
            return HandoverOutcome::NotDone;
        };
        let parts = HandoverParts {
            sockets: &self.succession.offered,
            recording: &self.recording,
            alerts: &self.alerts,
            gateway: &self.installer.gateway,
        };
        let (outcome, feed) = upgrade::handing_over::hand_over(room, &parts);
        self.succession.feed = feed;
        if outcome != HandoverOutcome::NotDone {
            if let Some(room) = &mut self.succession.waiting_room {
                room.leave();
            }
            self.succession.handed_over.set();
        }
        outcome
    }
}

/// The gateway, with its metrics.
fn gateway(
    config: &Config,
    inherited: Option<&HandedOverState>,
    recorder: Arc<dyn Recorder>,
    metrics: &Metrics,
) -> anyhow::Result<Arc<Gateway>> {
    let gateway = Arc::new(Gateway::new(
        match inherited {
            Some(state) => Generation::first_after(config, &state.seen),
            None => Generation::first(config),
        },
        Budget::new(config.limits.buffered_bytes),
        recorder,
        gateway::metrics::in_flight(metrics)?,
    ));
    gateway::metrics::expose(&gateway, metrics)?;
    Ok(gateway)
}

/// The routes and backends of a configuration, as alerts name them.
fn alert_labels(config: &Config) -> LabelValues {
    let routes = config.routes.iter();
    LabelValues::new(
        routes.map(|route| (&*route.name, &*route.platform)),
        config.backends.iter().map(|backend| &*backend.name),
    )
}

#[cfg(test)]
#[path = "app/tests.rs"]
mod tests;
