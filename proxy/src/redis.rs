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
use ::redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::clock;
use crate::log_throttle::{LogDecision, LogThrottle};
use crate::settings::secret::SecretText;

mod breaker;
pub(crate) mod connections;
pub(crate) mod keeper;
pub(crate) mod metrics;
pub(crate) mod script;

use breaker::{BreakerChange, CommandBreaker};
use connections::WorkerConnections;
use metrics::{CommandOutcome, RedisMetrics};

/// How often a command that Redis rejects is logged.
const REJECTED_EVERY: Duration = Duration::from_secs(60);

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
    #[error("it did not reply in time")]
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
    rejected: Mutex<LogThrottle>,
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
            rejected: Mutex::new(LogThrottle::every(REJECTED_EVERY)),
            metrics: OnceLock::new(),
        })
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
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
                self.note(self.breaker.failed(), "it did not reply in time");
                return Err(Unavailable::TimedOut);
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
        if self.rejected.lock().failed(clock::now()) == LogDecision::Log {
            let (user, reason) = (user.as_str(), describe(error));
            log::warn!("redis rejects a command ({user}): {reason}; requests continue without it");
        }
    }

    fn note(&self, transition: BreakerChange, reason: &str) {
        if transition == BreakerChange::Opened {
            log::warn!("redis is unavailable: {reason}; requests continue without it");
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

/// What an error says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Severity {
    /// This command failed; the server works.
    Command,
    /// The connection broke off, or the server is not ready.
    Connection,
    /// The server does not accept writes: after a failover another server has the address.
    Server,
}

fn severity(error: &RedisError) -> Severity {
    match error.kind() {
        ErrorKind::Server(
            ServerErrorKind::ReadOnly
            | ServerErrorKind::BusyLoading
            | ServerErrorKind::MasterDown
            | ServerErrorKind::ClusterDown,
        ) => Severity::Server,
        ErrorKind::Server(_) | ErrorKind::Extension | ErrorKind::UnexpectedReturnType => {
            Severity::Command
        }
        _ => Severity::Connection,
    }
}

/// The error in one line, without a detail that might contain an argument of the command.
fn describe(error: &RedisError) -> String {
    let detail = error.detail().unwrap_or_default();
    let text = match (error.code(), error.kind()) {
        // Before Redis 7, it is in the detail of an error of a script.
        (Some(_), _) if error.code() == Some("OOM") || detail.contains("-OOM ") => {
            "it replied OOM: its memory is full (set its `maxmemory-policy` to `allkeys-lru`, or raise `maxmemory`)"
        }
        (Some(_), _) if detail.contains("DB index is out of range") => {
            "it has no database with the number at the end of `redis.url`"
        }
        (Some(code), _) => return format!("it replied {code}"),
        (None, ErrorKind::AuthenticationFailed) => "it rejected the user or the password",
        // The error quotes the reply.
        (None, ErrorKind::Parse | ErrorKind::UnexpectedReturnType) => {
            "its reply is not that of a Redis; is `redis.url` the address of another server?"
        }
        (None, _) => return crate::outbound::root_cause(error),
    };
    text.to_owned()
}
