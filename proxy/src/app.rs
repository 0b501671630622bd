//! Checked config -> running parts, in start order; and the stop order.
//!
//! pingora's listening service runs on pingora's runtimes, one a worker that never steals. weir
//! binds the sockets itself, so that an address in use is an error at start, and ends the process
//! itself, so that an idle one is gone at once.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use pingora::services::Service as _;
use pingora::services::listening::Service;
use pingora_runtime::Runtime;
use tokio::sync::watch;

use crate::admin::{Admin, AdminState, Readiness, ReadinessFlag, RouteSummary};
use crate::alert::tally::Tallies;
use crate::alert::{self, Alerts};
use crate::audit::Audit;
use crate::backend::Backend;
use crate::backend::connector::Connect;
use crate::body::Budget;
use crate::clock;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::gateway::lane::Lanes;
use crate::listener::Listener;
use crate::listener::connections::Connections;
use crate::listener::tls::Certificates;
use crate::record::metrics::Metrics;
use crate::record::{FlushOutcome, Links, Record};
use crate::ship::Ship;
use crate::system::{self, System};

mod housekeeping;
mod sockets;

use sockets::Sockets;

/// Of the drain time, what is left for writing down what was recorded.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// A running proxy.
pub struct App {
    /// The addresses that requests are taken on, in the order of the file.
    pub addresses: Vec<(SocketAddr, Scheme)>,
    pub admin: SocketAddr,
    runtime: Runtime,
    stop: watch::Sender<bool>,
    connections: Arc<Connections>,
    readiness: Arc<ReadinessFlag>,
    record: Arc<Record>,
    ship: Option<Arc<Ship>>,
    alerts: Arc<Alerts>,
    alert_ship: Option<Arc<Ship>>,
    audit: Option<Arc<Audit>>,
    admin_server: Admin,
    _system: System,
    drain: Duration,
    #[cfg(test)]
    metrics: Arc<Metrics>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

impl App {
    /// Starts every part: what can fail fails here, before the first request is taken.
    ///
    /// # Errors
    /// An address in use, an event file that cannot be opened, a certificate that cannot be read.
    pub fn start(config: &Config) -> anyhow::Result<Self> {
        // Two providers are in the tree; the process has to choose once. Another start in the same
        // process has chosen already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let sockets = Sockets::bind(&config.listen)?;
        let tallies = Arc::new(Tallies::new(config.alerts.needs()));
        let metrics = Arc::new(all_metrics(config, tallies.clone())?);
        let ship = ship(config, &metrics)?;
        let audit = audit(config, &metrics)?;
        let links = Links {
            ship: ship.as_deref(),
            audit: audit.clone(),
            paths: paths(config),
        };
        let record =
            Record::start(&config.events, metrics.clone(), links).context("cannot record")?;
        let connections = Connections::new(config.limits.connections);
        let gateway = Arc::new(Gateway::new(
            build_lanes(config),
            Budget::new(config.limits.buffered_bytes),
            record.clone(),
            metrics.gauges().clone(),
        ));
        ask_lanes(&metrics, &gateway);
        let (alerts, alert_ship) = alerts(config, &metrics, tallies, sockets.instance())?;
        let readiness = Arc::new(ReadinessFlag::new(Readiness::Starting));
        let state = AdminState {
            metrics: metrics.clone(),
            record: record.clone(),
            readiness: readiness.clone(),
            routes: RouteSummary::all(config),
            alerts: alerts.clone(),
            ships: ships(&ship, &alert_ship),
            audit: audit.clone(),
        };
        let admin_server = Admin::start(&config.admin, state)?;
        let (stop, stopping) = watch::channel(false);
        let certificates = config
            .listen
            .iter()
            .map(|listen| listen.tls.as_ref().map(Certificates::load).transpose())
            .collect::<anyhow::Result<Vec<_>>>()?;
        let listener = listener(config, &gateway, &metrics, &connections);
        let runtime = Runtime::new_no_steal(workers(), "weir");
        let addresses = sockets.addresses();
        serve(&runtime, listener, sockets, &certificates, stopping.clone())?;
        let certificates = named(&addresses, certificates);
        housekeeping::start(&runtime, gateway, certificates, &metrics, stopping)?;
        watch_lag(&runtime, &metrics);
        let system = System::start(metrics.reading(), metrics.worker("system")?)?;
        readiness.set(Readiness::Ready);
        Ok(App {
            addresses,
            admin: admin_server.address,
            runtime,
            stop,
            connections,
            readiness,
            record,
            ship,
            alerts,
            alert_ship,
            audit,
            admin_server,
            _system: system,
            drain: config.drain,
            #[cfg(test)]
            metrics,
        })
    }

    /// Stops: no new connection is taken, idle ones are closed, what runs may end within the drain
    /// time, and what was recorded is written down.
    pub async fn stop(self) {
        let begun = clock::now();
        let deadline = begun + self.drain;
        let flush = FLUSH_MAX.min(self.drain / 10);
        self.readiness.set(Readiness::Draining);
        // Nobody listens any more only when every service has ended already.
        let _ = self.stop.send(true);
        let until = self.drain.saturating_sub(flush);
        if tokio::time::timeout(until, self.connections.wait_for_none())
            .await
            .is_err()
        {
            log::warn!(
                "{} connections did not end in time and are cut",
                self.connections.open()
            );
        }
        let record = self.record;
        let ended = tokio::task::spawn_blocking(move || {
            // Cut requests are recorded when their tasks are dropped.
            self.runtime.shutdown_timeout(Duration::from_millis(200));
            let flushed = record.stop(deadline.max(clock::now() + Duration::from_millis(100)));
            if flushed == FlushOutcome::TimedOut {
                log::warn!("some events could not be written down in time");
            }
            self.alerts.stop(deadline);
            for ship in [self.ship, self.alert_ship].into_iter().flatten() {
                if ship.stop(deadline) == FlushOutcome::TimedOut {
                    log::warn!("shipping could not be ended in time; events wait in the spool");
                }
            }
            self.admin_server.stop();
            if let Some(audit) = self.audit {
                audit.stop(deadline.max(clock::now() + Duration::from_millis(100)));
            }
        });
        let left = remaining(deadline) + Duration::from_millis(500);
        if tokio::time::timeout(left, ended).await.is_err() {
            log::warn!("not everything that was recorded could be written down in time");
        }
    }
}

fn remaining(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(clock::now())
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn all_metrics(config: &Config, tallies: Arc<Tallies>) -> prometheus::Result<Metrics> {
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|route| (&*route.name, &*route.platform))
        .collect();
    let backends: Vec<_> = config
        .backends
        .iter()
        .map(|backend| &*backend.name)
        .collect();
    Metrics::new(&routes, &backends, tallies)
}

/// The path of each route as the file has it, by name.
fn paths(config: &Config) -> HashMap<Arc<str>, Arc<str>> {
    let paths = RouteSummary::all(config).into_iter();
    paths
        .map(|route| (route.name, Arc::from(route.path)))
        .collect()
}

/// Starts shipping, where the configuration says where to.
fn ship(config: &Config, metrics: &Metrics) -> anyhow::Result<Option<Arc<Ship>>> {
    let Some(config) = &config.events.ship else {
        return Ok(None);
    };
    let ship = Ship::start(config, metrics.shipping()?, metrics.worker("ship")?)?;
    metrics.watch(&ship);
    Ok(Some(ship))
}

/// Starts the audit log, where there is to be one.
fn audit(config: &Config, metrics: &Metrics) -> anyhow::Result<Option<Arc<Audit>>> {
    let Some(config) = &config.events.audit else {
        return Ok(None);
    };
    let audit = Audit::start(config, metrics.audit()?, metrics.worker("audit")?)?;
    Ok(Some(audit))
}

/// Starts alerts, and where events are shipped the shipping of their changes.
fn alerts(
    config: &Config,
    metrics: &Arc<Metrics>,
    tallies: Arc<Tallies>,
    instance: String,
) -> anyhow::Result<(Arc<Alerts>, Option<Arc<Ship>>)> {
    let ship = match &config.events.ship {
        None => None,
        Some(ship) => Some(Ship::start(
            &ship.of_alerts(),
            metrics.shipping_of_alerts()?,
            metrics.worker("ship-alerts")?,
        )?),
    };
    let sources = alert::Sources {
        metrics: metrics.clone(),
        tallies,
        ship: ship.clone(),
        environment: config.events.environment.clone(),
        instance,
    };
    Ok((Alerts::start(&config.alerts, sources)?, ship))
}

/// What the lanes count by themselves is asked for at each scrape.
fn ask_lanes(metrics: &Metrics, gateway: &Arc<Gateway>) {
    metrics.set_cache_bytes_source({
        let gateway = gateway.clone();
        Box::new(move || gateway.lanes().cache_bytes())
    });
    metrics.replay_dropped().set_source({
        let gateway = gateway.clone();
        Box::new(move || gateway.lanes().replay_dropped())
    });
}

/// What the admin side shows of shipping.
fn ships(events: &Option<Arc<Ship>>, alerts: &Option<Arc<Ship>>) -> Vec<(&'static str, Arc<Ship>)> {
    let both = [("events", events), ("alerts", alerts)];
    both.into_iter()
        .filter_map(|(name, ship)| Some((name, ship.clone()?)))
        .collect()
}

fn build_lanes(config: &Config) -> Lanes {
    let connect = Connect::with_system_roots();
    let backends: Vec<_> = config
        .backends
        .iter()
        .map(|backend| Arc::new(Backend::new(backend.clone(), connect.clone())))
        .collect();
    Lanes::new(config, &backends)
}

fn listener(
    config: &Config,
    gateway: &Arc<Gateway>,
    metrics: &Metrics,
    connections: &Arc<Connections>,
) -> Listener {
    let gauges = metrics.gauges();
    Listener::new(gateway.clone(), connections.clone(), gauges, &config.limits)
}

/// Hands the listener and the bound sockets to pingora's service.
fn serve(
    runtime: &Runtime,
    listener: Listener,
    sockets: Sockets,
    certificates: &[Option<Arc<Certificates>>],
    stopping: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let mut service = Service::new("weir".to_owned(), listener);
    for ((address, _), certificates) in sockets.addresses().iter().zip(certificates) {
        match certificates {
            None => service.add_tcp(&address.to_string()),
            Some(certificates) => {
                let settings = sockets::tls_settings(certificates.clone())?;
                service.add_tls_with_settings(&address.to_string(), None, settings);
            }
        }
    }
    let table = sockets.into_table();
    runtime.get_handle().spawn(async move {
        service.start_service(Some(table), stopping, 1).await;
    });
    Ok(())
}

/// Looks at each worker by itself.
fn watch_lag(runtime: &Runtime, metrics: &Metrics) {
    match runtime {
        Runtime::NoSteal(each) => {
            for worker in 0..workers() {
                let lag = metrics.runtime_lag().clone();
                each.get_runtime_at(worker).spawn(system::lag::watch(lag));
            }
        }
        Runtime::Steal { runtime, .. } => {
            runtime.spawn(system::lag::watch(metrics.runtime_lag().clone()));
        }
    }
}

/// Each certificate with the address that shows it.
fn named(
    addresses: &[(SocketAddr, Scheme)],
    certificates: Vec<Option<Arc<Certificates>>>,
) -> Vec<(String, Arc<Certificates>)> {
    let each = addresses.iter().zip(certificates);
    each.filter_map(|((address, _), pair)| Some((address.to_string(), pair?)))
        .collect()
}

#[cfg(test)]
#[path = "app/tests.rs"]
mod tests;
