//! Active health checks: when their results make an endpoint unhealthy, and healthy again (hysteresis).
//!
//! Until its first check, an endpoint is unknown, and is used. The first result decides at once, since nothing else is
//! known; after that, `unhealthy_after` failures in a row make it unhealthy, and `healthy_after` successes in a row
//! make it healthy again.
//!
//! Pure: the results and the time are passed in. `checker.rs` makes the checks.

use std::time::Duration;

use http::StatusCode;
use http::uri::PathAndQuery;

/// How the endpoints of a backend are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheckConfig {
    /// As it is requested: without the backend's `path_prefix`.
    pub path: PathAndQuery,
    pub interval: Duration,
    /// Of the whole check.
    pub timeout: Duration,
    /// Successes in a row.
    pub healthy_after: u32,
    /// Failures in a row.
    pub unhealthy_after: u32,
    pub expected: ExpectedStatus,
}

/// The statuses of a healthy endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExpectedStatus {
    Below500,
    OneOf(Box<[u16]>),
}

impl ExpectedStatus {
    /// What a response with this status proves.
    #[must_use]
    pub fn verdict(&self, status: StatusCode) -> CheckVerdict {
        let is_expected = match self {
            // An unsolicited 101 is no response.
            ExpectedStatus::Below500 => (200..500).contains(&status.as_u16()),
            ExpectedStatus::OneOf(statuses) => statuses.contains(&status.as_u16()),
        };
        match is_expected {
            true => CheckVerdict::Passed,
            false => CheckVerdict::Failed,
        }
    }
}

/// Whether a check succeeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckVerdict {
    Passed,
    Failed,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckResult {
    pub verdict: CheckVerdict,
    /// The status, or why there was no response: `status 503`.
    pub detail: Box<str>,
    /// When it ended, since the Unix epoch.
    pub at: Duration,
}

/// What the checks have found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthStatus {
    /// There was no check yet.
    #[default]
    Unknown,
    Healthy,
    Unhealthy,
}

/// A change of the status, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthChange {
    pub from: HealthStatus,
    pub to: HealthStatus,
}

/// The health of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    status: HealthStatus,
    /// Results in a row that contradict the status.
    contradictions: u32,
    last: Option<CheckResult>,
}

impl Health {
    #[must_use]
    pub fn status(&self) -> HealthStatus {
        self.status
    }

    #[must_use]
    pub fn is_unhealthy(&self) -> bool {
        self.status == HealthStatus::Unhealthy
    }

    /// The result of the last check.
    #[must_use]
    pub fn last(&self) -> Option<&CheckResult> {
        self.last.as_ref()
    }

    /// Records the result of a check.
    pub fn record(
        &mut self,
        result: CheckResult,
        config: &HealthCheckConfig,
    ) -> Option<HealthChange> {
        let from = self.status;
        let found = match result.verdict {
            CheckVerdict::Passed => HealthStatus::Healthy,
            CheckVerdict::Failed => HealthStatus::Unhealthy,
        };
        self.last = Some(result);
        if found == from {
            self.contradictions = 0;
            return None;
        }
        self.contradictions = self.contradictions.saturating_add(1);
        let required = match from {
            HealthStatus::Unknown => 1,
            HealthStatus::Healthy => config.unhealthy_after,
            HealthStatus::Unhealthy => config.healthy_after,
        };
        if self.contradictions < required {
            return None;
        }
        self.contradictions = 0;
        self.status = found;
        Some(HealthChange { from, to: found })
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
