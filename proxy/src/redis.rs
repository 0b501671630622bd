//! Redis: one connection facility for everything that replicas share.
//!
//! Redis is optional, and never a reason for a request to fail or to wait for long: each command has a deadline, and a
//! circuit breaker (`redis/breaker.rs`) skips commands after a few failures until a probe in the background succeeds
//! (`redis/keeper.rs`). So a Redis that hangs delays the first few requests by `redis.timeout`, and no request after
//! them. A user of Redis that goes on without it is counted as degraded.
//!
//! Nothing connects while weir starts: the circuit is open until the background task has connected. Each worker has
//! a connection of its own, driven by its own runtime: a command wakes no other thread, which would cost more than
//! the command. All connections are opened together, and replaced together when the circuit has been open.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use ::redis::aio::ConnectionManager;
use ::redis::{Cmd, FromRedisValue, IntoConnectionInfo as _, RedisError, Value};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock;
use crate::log_throttle::{LogDecision, ReasonThrottle};
use crate::settings::secret::SecretText;

mod breaker;
pub(crate) mod connections;
pub(crate) mod keeper;
pub(crate) mod metrics;
mod reason;
mod reports;
pub(crate) mod script;

use breaker::{BreakerChange, CommandBreaker};
use connections::WorkerConnections;
use metrics::{CommandOutcome, RedisMetrics};
use reason::{Severity, describe, severity};
use reports::ConnectionReports;

/// A reason for which Redis rejects commands, or cannot be used, is logged at most this often.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// The checked `redis` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// A `redis://`, `rediss://` or `unix://` URL, which may contain a password.
    pub url: SecretText,
    /// The deadline of one command.
    pub timeout: Duration,
}

/// Who uses Redis: the label of its metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RedisUser {
    Cache,
    Purge,
    /// The probe of the connection.
    Probe,
}

impl RedisUser {
    pub(crate) const ALL: [RedisUser; 3] = [RedisUser::Cache, RedisUser::Purge, RedisUser::Probe];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            RedisUser::Cache => "cache",
            RedisUser::Purge => "purge",
            RedisUser::Probe => "probe",
        }
    }
}

/// Why a command has no reply.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    #[error("it is not connected")]
    Skipped,
    #[error("it did not reply within `redis.timeout`")]
    TimedOut,
    #[error("{}", describe(.0))]
    Failed(RedisError),
}

/// A Redis. A new generation of the configuration keeps it where its [`Config`] is equal.
pub struct Redis {
    config: Config,
    breaker: CommandBreaker,
    connections: ArcSwap<WorkerConnections>,
    /// Notified when the circuit opens.
    opened: Notify,
    rejected: Mutex<ReasonThrottle>,
    reports: Mutex<ConnectionReports>,
    /// Set when the background task starts; nothing is connected before.
    metrics: OnceLock<RedisMetrics>,
}

impl Redis {
    #[must_use]
    pub(crate) fn new(config: &Config) -> Arc<Self> {
        Arc::new(Redis {
            config: config.clone(),
            breaker: CommandBreaker::new(),
            connections: ArcSwap::from_pointee(WorkerConnections::default()),
            opened: Notify::new(),
            rejected: Mutex::new(ReasonThrottle::every(LOGGED_EVERY)),
            reports: Mutex::new(ConnectionReports::every(LOGGED_EVERY)),
            metrics: OnceLock::new(),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Host and port, or the path of a socket: without the user and the password.
    fn address(&self) -> String {
        let info = self.config.url.expose_secret().into_connection_info();
        info.map_or_else(|_| "`redis.url`".to_owned(), |info| info.addr().to_string())
    }

    /// Exposes the metrics from now on.
    pub(crate) fn expose(&self, metrics: RedisMetrics) {
        // The metrics of an earlier call are the same series.
        let _ = self.metrics.set(metrics);
    }

    /// Whether commands are sent at present.
    pub(crate) fn is_available(&self) -> bool {
        self.breaker.is_closed()
    }

    /// Why a command has no reply, with why Redis is not connected.
    pub(crate) fn explained(&self, error: &Unavailable) -> String {
        match (error, self.reports.lock().reason()) {
            (Unavailable::Skipped, Some(reason)) => format!("{error}: {reason}"),
            _ => error.to_string(),
        }
    }

    /// Counts that `user` goes on without Redis.
    pub(crate) fn count_degraded(&self, user: RedisUser) {
        if let Some(metrics) = self.metrics.get() {
            metrics.degraded(user);
        }
    }

    /// Sends a command, unless the circuit is open, and waits for its reply until the deadline.
    ///
    /// # Errors
    /// There is no reply.
    pub(crate) async fn command<T: FromRedisValue>(
        &self,
        user: RedisUser,
        command: &Cmd,
    ) -> Result<T, Unavailable> {
        let send = async |connection: &mut ConnectionManager| {
            connection.send_packed_command(command).await
        };
        self.exchange(user, send).await
    }

    /// Runs `exchange` on the connection of this worker, with the deadline of one command.
    async fn exchange<T: FromRedisValue>(
        &self,
        user: RedisUser,
        exchange: impl AsyncFnOnce(&mut ConnectionManager) -> Result<Value, RedisError>,
    ) -> Result<T, Unavailable> {
        let connection = match self.breaker.is_closed() {
            true => self.connections.load().of_this_worker(),
            false => None,
        };
        let Some(mut connection) = connection else {
            self.count(user, CommandOutcome::Skipped);
            return Err(Unavailable::Skipped);
        };
        let reply = tokio::time::timeout(self.config.timeout, exchange(&mut connection)).await;
        let reply = match reply {
            Ok(reply) => reply.and_then(Value::extract_error),
            Err(_) => {
                self.count(user, CommandOutcome::Timeout);
                let late = Unavailable::TimedOut;
                self.note(self.breaker.failed(), &late.to_string());
                return Err(late);
            }
        };
        let value = reply.and_then(|value| Ok(::redis::from_redis_value(value)?));
        match value {
            Ok(value) => {
                self.count(user, CommandOutcome::Ok);
                self.breaker.succeeded();
                Ok(value)
            }
            Err(error) => {
                self.count(user, CommandOutcome::Error);
                self.failed(user, &error);
                Err(Unavailable::Failed(error))
            }
        }
    }

    fn failed(&self, user: RedisUser, error: &RedisError) {
        match severity(error) {
            Severity::Command => {
                self.breaker.succeeded();
                self.log_rejected(user, error);
            }
            Severity::Connection => self.note(self.breaker.failed(), &describe(error)),
            Severity::Server => self.note(self.breaker.trip(), &describe(error)),
        }
    }

    /// Such as the writes to a Redis that is full: nothing else shows why nothing is stored.
    fn log_rejected(&self, user: RedisUser, error: &RedisError) {
        let (user, reason) = (user.as_str(), describe(error));
        let decision = self.rejected.lock().failed(&reason, clock::now());
        if decision == LogDecision::Log {
            log::warn!("redis rejects a command ({user}): {reason}; requests continue without it");
        }
    }

    fn note(&self, transition: BreakerChange, reason: &str) {
        if transition == BreakerChange::Opened {
            let decision = self.reports.lock().failed(reason, clock::now());
            if decision == LogDecision::Log {
                log::warn!("redis is unavailable: {reason}; requests continue without it");
            }
            self.opened.notify_one();
        }
    }

    fn count(&self, user: RedisUser, outcome: CommandOutcome) {
        if let Some(metrics) = self.metrics.get() {
            metrics.command(user, outcome);
        }
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Redis")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
