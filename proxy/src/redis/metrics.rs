//! The metrics of Redis.

use prometheus::{IntCounter, Result};

use super::RedisUser;
use crate::metrics::{Metrics, catalog};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CommandOutcome {
    Ok,
    Error,
    Timeout,
    /// The circuit is open.
    Skipped,
}

impl CommandOutcome {
    const ALL: [CommandOutcome; 4] = [
        CommandOutcome::Ok,
        CommandOutcome::Error,
        CommandOutcome::Timeout,
        CommandOutcome::Skipped,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            CommandOutcome::Ok => "ok",
            CommandOutcome::Error => "error",
            CommandOutcome::Timeout => "timeout",
            CommandOutcome::Skipped => "skipped",
        }
    }
}

/// The counters of each user. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct RedisMetrics {
    /// By user, then by outcome, in the order of their lists.
    commands: Vec<IntCounter>,
    degraded: Vec<IntCounter>,
}

impl RedisMetrics {
    /// Registers all of them; they are at zero without a Redis.
    ///
    /// # Errors
    /// Only when the catalog has an invalid or a duplicate name.
    pub(crate) fn register(metrics: &Metrics) -> Result<Self> {
        let commands = metrics.counter(catalog::REDIS_COMMANDS)?;
        let degraded = metrics.counter(catalog::REDIS_DEGRADED)?;
        let users = RedisUser::ALL.iter();
        let series = users.clone().flat_map(|user| {
            let outcomes = CommandOutcome::ALL.iter();
            outcomes.map(|outcome| commands.series(&[user.as_str(), outcome.as_str()]))
        });
        Ok(RedisMetrics {
            commands: series.collect::<Result<_>>()?,
            degraded: users
                .map(|user| degraded.series(&[user.as_str()]))
                .collect::<Result<_>>()?,
        })
    }

    pub(super) fn command(&self, user: RedisUser, outcome: CommandOutcome) {
        let at = user as usize * CommandOutcome::ALL.len() + outcome as usize;
        if let Some(counter) = self.commands.get(at) {
            counter.inc();
        }
    }

    pub(super) fn degraded(&self, user: RedisUser) {
        if let Some(counter) = self.degraded.get(user as usize) {
            counter.inc();
        }
    }
}
