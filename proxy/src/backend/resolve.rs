//! The addresses of an endpoint's name (DNS), off the path of requests: only the first request waits for a
//! lookup. While the name is in use, it is looked up again every ten seconds. A lookup that fails changes
//! nothing: the last addresses stay in use.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::dial;
use crate::clock;
use crate::log_throttle::{LogDecision, LogThrottle};

/// The time between two lookups.
const PERIOD: Duration = Duration::from_secs(10);
/// After so many periods without a request, lookups pause until the next one.
const UNUSED_PERIODS_MAX: u32 = 6;
/// How long a name that could not be resolved is not looked up again.
const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// A lookup that fails for longer is logged once in this time.
const LOGGED_EVERY: Duration = Duration::from_secs(3600);

/// Looks the addresses of a name and a port up.
pub(super) type LookupFn = Box<dyn Fn(&str, u16) -> LookupFuture + Send + Sync>;
type LookupFuture = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

/// The addresses of a host.
pub(super) enum Addresses {
    /// An IP address.
    Literal(SocketAddr),
    Named(Arc<Name>),
}

/// A name that is looked up.
pub(super) struct Name {
    host: String,
    port: u16,
    lookup: LookupFn,
    latest: watch::Sender<LookupResult>,
    /// The address that the next connection begins with.
    turn: AtomicUsize,
    use_since_lookup: AtomicBool,
    schedule: Mutex<Schedule>,
    failures: Mutex<LogThrottle>,
}

/// The result of the last lookup.
#[derive(Clone, Default)]
struct LookupResult {
    /// Those of the last lookup that succeeded.
    addresses: Arc<[SocketAddr]>,
    failed: Option<(Instant, Arc<str>)>,
}

impl LookupResult {
    fn is_resolved(&self) -> bool {
        !self.addresses.is_empty()
    }

    /// Whether the name has never been resolved, and was not at the last lookup, [`FAILURE_KEPT`] ago at most.
    fn is_failed(&self, now: Instant) -> bool {
        let is_recent = |at: Instant| now.saturating_duration_since(at) < FAILURE_KEPT;
        !self.is_resolved() && self.failed.as_ref().is_some_and(|(at, _)| is_recent(*at))
    }
}

/// Whether a task looks the name up again and again.
enum Schedule {
    Paused,
    Running(AbortHandle),
}

impl Addresses {
    /// Of a host as it is written in a URI, with the system's resolver.
    pub(super) fn of(host: &str, port: u16) -> Self {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        match bare.parse() {
            Ok(address) => Addresses::Literal(SocketAddr::new(address, port)),
            Err(_) => Addresses::Named(Name::new(host, port, Box::new(system_lookup))),
        }
    }

    /// Notes a request over a connection that is open already.
    pub(super) fn note_use(&self) {
        if let Addresses::Named(name) = self
            && !name.use_since_lookup.load(Ordering::Relaxed)
        {
            name.use_since_lookup.store(true, Ordering::Relaxed);
        }
    }

    /// Those that are known now.
    pub(super) fn known(&self) -> Vec<SocketAddr> {
        match self {
            Addresses::Literal(address) => vec![*address],
            Addresses::Named(name) => name.latest.borrow().addresses.to_vec(),
        }
    }

    /// Connects to one of them. The caller ends it after `timeout`.
    ///
    /// # Errors
    /// The name was never resolved, or none of its addresses can be connected to.
    pub(super) async fn connect(&self, timeout: Duration) -> io::Result<TcpStream> {
        match self {
            Addresses::Literal(address) => dial::connect(&[*address], 0, timeout).await,
            Addresses::Named(name) => {
                let addresses = name.addresses().await?;
                let first = name.turn.fetch_add(1, Ordering::Relaxed);
                dial::connect(&addresses, first, timeout).await
            }
        }
    }
}

fn system_lookup(host: &str, port: u16) -> LookupFuture {
    let host = host.to_owned();
    Box::pin(async move {
        let found = tokio::net::lookup_host((host.as_str(), port)).await?;
        Ok(found.collect())
    })
}

impl Name {
    pub(super) fn new(host: &str, port: u16, lookup: LookupFn) -> Arc<Self> {
        Arc::new(Name {
            host: host.to_owned(),
            port,
            lookup,
            latest: watch::Sender::new(LookupResult::default()),
            turn: AtomicUsize::new(0),
            use_since_lookup: AtomicBool::new(false),
            schedule: Mutex::new(Schedule::Paused),
            failures: Mutex::new(LogThrottle::every(LOGGED_EVERY)),
        })
    }

    /// The addresses that were found last. The first caller waits for them.
    async fn addresses(self: &Arc<Self>) -> io::Result<Arc<[SocketAddr]>> {
        self.use_since_lookup.store(true, Ordering::Relaxed);
        let now = clock::now();
        let mut results = self.latest.subscribe();
        if !self.latest.borrow().is_failed(now) {
            self.resume();
        }
        // Evaluates the current result as well: a lookup may have ended since.
        let result = results
            .wait_for(|result| result.is_resolved() || result.is_failed(now))
            .await
            .map_err(io::Error::other)?
            .clone();
        match result.failed {
            Some((_, error)) if result.addresses.is_empty() => Err(io::Error::other(&*error)),
            _ => Ok(result.addresses),
        }
    }

    /// Starts the lookups, unless they are running.
    fn resume(self: &Arc<Self>) {
        let mut schedule = self.schedule.lock();
        let is_running = match &*schedule {
            Schedule::Paused => false,
            // It has ended with its runtime.
            Schedule::Running(task) => !task.is_finished(),
        };
        if !is_running {
            let task = tokio::spawn(look_up_on_schedule(Arc::downgrade(self)));
            *schedule = Schedule::Running(task.abort_handle());
        }
    }

    fn pause(&self) {
        *self.schedule.lock() = Schedule::Paused;
    }

    /// Looks the name up once.
    async fn look_up(&self) {
        // The system's resolver has no deadline of its own.
        let looking_up = clock::timeout(PERIOD, (self.lookup)(&self.host, self.port)).await;
        let found = match looking_up.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(found) if found.is_empty() => Err(io::Error::other("it has no address")),
            found => found,
        };
        let host = &self.host;
        match found {
            Ok(addresses) => {
                if self.failures.lock().recovered() {
                    log::info!("the name {host} of an endpoint is resolved again");
                }
                self.latest.send_replace(LookupResult {
                    addresses: addresses.into(),
                    failed: None,
                });
            }
            Err(error) => {
                let now = clock::now();
                if self.failures.lock().failed(now) == LogDecision::Log {
                    log::warn!("the name {host} of an endpoint cannot be resolved: {error}");
                }
                if !self.is_resolved() {
                    // Before the result is known: whoever learns it may start the next lookup.
                    self.pause();
                }
                let error = format!("{host} cannot be resolved: {error}");
                self.latest
                    .send_modify(|latest| latest.failed = Some((now, error.into())));
            }
        }
    }

    fn is_resolved(&self) -> bool {
        self.latest.borrow().is_resolved()
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if let Schedule::Running(task) = &*self.schedule.lock() {
            task.abort();
        }
    }
}

/// Looks a name up while it is in use.
async fn look_up_on_schedule(name: Weak<Name>) {
    let mut unused_periods = 0;
    loop {
        let Some(current) = name.upgrade() else {
            return;
        };
        current.look_up().await;
        if !current.is_resolved() {
            return;
        }
        unused_periods = match current.use_since_lookup.swap(false, Ordering::Relaxed) {
            true => 0,
            false => unused_periods + 1,
        };
        if unused_periods > UNUSED_PERIODS_MAX {
            current.pause();
            return;
        }
        drop(current);
        tokio::time::sleep(PERIOD).await;
    }
}

#[cfg(test)]
#[path = "resolve_tests.rs"]
mod tests;
