//! Builds the running parts from a checked configuration, in start order, replaces a generation while they run,
//! and stops them (graceful shutdown, drain).
//!
//! Connections are served on pingora's runtimes: one per worker, without work stealing. weir binds the sockets
//! and accepts connections itself, so that an address in use is an error at the start, and it ends the process
//! itself, so that an idle one stops at once.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pingora_runtime::Runtime;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};

use crate::admin::reload::ReloadReport;
use crate::admin::{Admin, AdminState, Readiness, ReadinessFlag, RouteList};
use crate::alert::counters::CounterRegistry;
use crate::alert::rule_set::LabelValues;
use crate::alert::{self, Alerts};
use crate::clock;
use crate::config::Config;
use crate::config::file::OpenedConfig;
use crate::exchange::Recorder;
use crate::gateway;
use crate::gateway::Gateway;
use crate::generation::Generation;
use crate::http::budget::Budget;
use crate::http::connections::Connections;
use crate::http::connections::metrics::ConnectionCounts;
use crate::listener::Listener;
use crate::listener::accept::Accepting;
use crate::listener::descriptors::Descriptors;
use crate::listener::tls::Certificates;
use crate::metrics::Metrics;
use crate::system::{self, System};

mod health_checks;
mod housekeeping;
mod installer;
mod recording;
mod reload;
mod sockets;

use housekeeping::{Gauges, NamedCertificates};
use installer::Installer;
use recording::RunningRecorders;
use reload::{ReloadTrigger, Reloader};
use sockets::Sockets;

/// The part of the drain time that is reserved for writing what was recorded.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// The addresses of the listeners, in the order of the file.
type BoundAddresses = Vec<(SocketAddr, ListenScheme)>;

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
    admin_server: Admin,
    _system: System,
    drain: Duration,
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

impl App {
    /// Starts every part, without a file that could be loaded again. Whatever can fail fails here, before the first
    /// request is accepted.
    ///
    /// # Errors
    /// When an address is in use, the event file cannot be opened, or a certificate cannot be read.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        App::start_with(config, None)
    }

    /// As [`App::start`], and loads the file again when it changes.
    ///
    /// # Errors
    /// As [`App::start`].
    pub fn start_from(opened: OpenedConfig) -> anyhow::Result<Self> {
        let config = opened.loaded.config.clone();
        App::start_with(&config, Some(opened))
    }

    fn start_with(config: &Config, opened: Option<OpenedConfig>) -> anyhow::Result<Self> {
        // The dependencies bring two providers, so a process must choose one. An error means that an earlier
        // start in this process did.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sockets = Sockets::bind(&config.listen)?;
        let counters = Arc::new(CounterRegistry::new(config.alerts.needs()));
        let metrics = Arc::new(Metrics::new()?);
        let reading = system::metrics::register(&metrics)?;
        let recording = RunningRecorders::start(config, &metrics, counters.clone())?;
        let counts = ConnectionCounts::register(&metrics)?;
        let gauges = Gauges {
            in_flight: gateway::metrics::in_flight(&metrics)?,
            connections: counts.open.clone(),
        };
        let connections = Connections::new(config.limits.connections, counts);
        let gateway = gateway(config, recording.recorder.clone(), &metrics)?;
        let sources = alert::Sources {
            metrics: metrics.clone(),
            counters,
            labels: alert_labels(config),
            snapshots: recording.snapshots(&metrics, reading.clone(), &gateway),
            ship: recording.ship.clone(),
            environment: config.events.environment.clone(),
            instance: sockets.instance(),
        };
        let alerts = Alerts::start(&config.alerts, sources)?;
        let routes = Arc::new(RouteList::new(config));
        let changing = (recording.requests.clone(), routes.clone());
        let installer = Arc::new(Installer::new(gateway.clone(), alerts.clone(), changing));
        let reloader = Reloader::start(opened, installer.clone(), &metrics)?;
        let readiness = Arc::new(ReadinessFlag::new(Readiness::Starting));
        let state = AdminState {
            metrics: metrics.clone(),
            in_flight: gauges.in_flight.clone(),
            connections: gauges.connections.clone(),
            events: recording.events.clone(),
            readiness: readiness.clone(),
            routes,
            alerts: alerts.clone(),
            ship: recording.ship.clone(),
            audit: recording.audit.clone(),
            reloads: reloader.clone(),
            backends: installer.clone(),
        };
        let admin_server = Admin::start(&config.admin, state)?;
        let (stop, shutdown) = watch::channel(false);
        let served = (gateway.clone(), connections.clone());
        let (runtime, addresses, certificates) = listen(config, sockets, served, &shutdown)?;
        health_checks::start(&runtime, gateway.clone(), &metrics, shutdown.clone())?;
        let maintained = (gateway, certificates, gauges);
        housekeeping::start(&runtime, maintained, &metrics, shutdown)?;
        let system = System::start(reading, metrics.worker("system")?)?;
        readiness.set(Readiness::Ready);
        Ok(App {
            addresses,
            admin: admin_server.address,
            runtime,
            stop,
            connections,
            readiness,
            recording,
            alerts,
            installer,
            reloader,
            admin_server,
            _system: system,
            drain: config.drain,
            #[cfg(test)]
            metrics,
        })
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

    /// Stops gracefully: accepts no new connection, closes idle ones, gives requests in flight the drain time,
    /// and writes what was recorded.
    pub async fn stop(self) {
        let begun = clock::now();
        let deadline = begun + self.drain;
        let flush = FLUSH_MAX.min(self.drain / 10);
        self.readiness.set(Readiness::Draining);
        // It fails only when every receiver has ended already.
        let _ = self.stop.send(true);
        let until = self.drain.saturating_sub(flush);
        if tokio::time::timeout(until, self.connections.wait_for_none())
            .await
            .is_err()
        {
            let (open, detached) = (self.connections.open(), self.connections.detached());
            log::warn!("{}", drain_is_over(open, detached));
        }
        let ended = tokio::task::spawn_blocking(move || {
            // Requests that are cut off are recorded when their tasks are dropped.
            self.runtime.shutdown_timeout(Duration::from_millis(200));
            self.reloader.stop(deadline);
            let recording = self.recording;
            let soon = || deadline.max(clock::now() + Duration::from_millis(100));
            if recording.stop(soon()).is_err() {
                log::warn!("some events could not be written in time");
            }
            self.alerts.stop(deadline);
            let stopped = recording.ship.map(|ship| ship.stop(deadline));
            if stopped.is_some_and(|stopped| stopped.is_err()) {
                log::warn!("shipping did not stop in time; the remaining events wait in the spool");
            }
            self.admin_server.stop();
            if let Some(audit) = recording.audit {
                audit.stop(soon());
            }
        });
        let left = remaining(deadline) + Duration::from_millis(500);
        if tokio::time::timeout(left, ended).await.is_err() {
            log::warn!("the shutdown took too long: not everything that was recorded is written");
        }
    }
}

fn drain_is_over(connections: usize, detached: usize) -> String {
    let counted = |count: usize, noun: &str| match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    };
    let closing = counted(connections, "connection");
    let ending = match detached {
        0 => String::new(),
        count => format!(
            " and ending {} whose clients have left",
            counted(count, "request")
        ),
    };
    format!("shutdown.drain is over: closing {closing}{ending}")
}

/// The file descriptors of the process. Logs a warning when they do not suffice.
fn descriptors(config: &Config) -> Descriptors {
    let descriptors = Descriptors::raise();
    if let Some(warning) = descriptors.warning(config.limits.connections) {
        log::warn!("{warning}");
    }
    descriptors
}

/// The gateway, with its metrics.
fn gateway(
    config: &Config,
    recorder: Arc<dyn Recorder>,
    metrics: &Metrics,
) -> anyhow::Result<Arc<Gateway>> {
    let gateway = Arc::new(Gateway::new(
        Generation::first(config),
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

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::now())
}

/// The runtime of each worker.
fn each_worker(runtime: &Runtime) -> Vec<Handle> {
    match runtime {
        Runtime::NoSteal(each) => (0..workers())
            .map(|worker| each.get_runtime_at(worker).clone())
            .collect(),
        Runtime::Steal { runtime, .. } => vec![runtime.handle().clone()],
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn listener(config: &Config, gateway: &Arc<Gateway>, connections: &Arc<Connections>) -> Listener {
    Listener::new(
        gateway.clone(),
        connections.clone(),
        &config.limits,
        config.drain,
    )
}

/// Accepts connections on the bound sockets. Returns the runtime, the addresses, and the certificates.
fn listen(
    config: &Config,
    sockets: Sockets,
    (gateway, connections): (Arc<Gateway>, Arc<Connections>),
    shutdown: &watch::Receiver<bool>,
) -> anyhow::Result<(Runtime, BoundAddresses, NamedCertificates)> {
    let certificates = certificates(config)?;
    let listening = Listening {
        listener: Arc::new(listener(config, &gateway, &connections)),
        // Counted now: most descriptors that are not connections are open.
        descriptors: descriptors(config),
        shutdown: shutdown.clone(),
    };
    let runtime = Runtime::new_no_steal(workers(), "weir");
    let addresses = sockets.addresses();
    listening.serve(&runtime, sockets, &certificates);
    let certificates = named(&addresses, certificates);
    Ok((runtime, addresses, certificates))
}

/// What all listening sockets share.
struct Listening {
    listener: Arc<Listener>,
    descriptors: Descriptors,
    shutdown: watch::Receiver<bool>,
}

impl Listening {
    /// Accepts on each of the bound sockets.
    fn serve(
        &self,
        runtime: &Runtime,
        sockets: Sockets,
        certificates: &[Option<Arc<Certificates>>],
    ) {
        let workers: Arc<[Handle]> = each_worker(runtime).into();
        for (socket, certificates) in sockets.into_listeners().zip(certificates) {
            let accepting = Accepting::new(
                socket,
                certificates.clone().map(sockets::tls_acceptor),
                self.listener.clone(),
                self.descriptors,
                self.shutdown.clone(),
                workers.clone(),
            );
            runtime.get_handle().spawn(accepting.run());
        }
    }
}

/// The certificates of the listeners, in the order of the file.
fn certificates(config: &Config) -> anyhow::Result<Vec<Option<Arc<Certificates>>>> {
    let listen = config.listen.iter();
    let certificates = listen.map(|listen| listen.tls.as_ref().map(Certificates::load));
    certificates.map(Option::transpose).collect()
}

/// Each certificate with the address of its listener.
fn named(
    addresses: &[(SocketAddr, ListenScheme)],
    certificates: Vec<Option<Arc<Certificates>>>,
) -> NamedCertificates {
    let each = addresses.iter().zip(certificates);
    each.filter_map(|((address, _), pair)| Some((address.to_string(), pair?)))
        .collect()
}

#[cfg(test)]
#[path = "app/tests.rs"]
mod tests;
