//! Series that were resolved once, so that a request only adds to them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus::{IntCounter, Result};

use super::exemplar::Traced;
use super::known::Known;
use super::{Families, NAMES_MAX};
use crate::alert::tally::Tally;
use crate::exchange::{CacheOutcome, CacheTier, LimitOutcome, SignatureOutcome};
use crate::refusal::ErrorCode;

/// Everything that is counted by route.
pub(super) struct RouteSeries {
    pub(super) duration: Traced,
    pub(super) overhead: Traced,
    pub(super) failed: IntCounter,
    /// In the order of [`ErrorCode::ALL`].
    pub(super) errors: Vec<IntCounter>,
    requests: RwLock<HashMap<(&'static str, u16), IntCounter>>,
    cache_lookups: RwLock<Vec<((CacheTier, CacheOutcome), IntCounter)>>,
    /// Where a rule looks at routes.
    pub(super) tally: Option<Arc<Tally>>,
    name: String,
    platform: String,
}

/// The method and status of most requests to a model.
const FIRST_SERIES: (&str, u16) = ("POST", 200);

impl RouteSeries {
    pub(super) fn new(
        families: &Families,
        name: &str,
        platform: &str,
        tally: Option<Arc<Tally>>,
    ) -> Result<Self> {
        let errors = ErrorCode::ALL
            .iter()
            .map(|code| families.errors.series(&[name, platform, code.as_str()]));
        // What dashboards choose routes and platforms from, before the first request.
        let (method, status) = FIRST_SERIES;
        let labels = [name, platform, method, &status.to_string()];
        let first = families.requests.series(&labels)?;
        Ok(RouteSeries {
            duration: families.request_duration.series(&[name, platform])?,
            overhead: families.overhead.series(&[name])?,
            failed: families.failed_requests.series(&[name, platform])?,
            errors: errors.collect::<Result<_>>()?,
            requests: RwLock::new(HashMap::from([(FIRST_SERIES, first)])),
            cache_lookups: RwLock::default(),
            tally,
            name: name.to_owned(),
            platform: platform.to_owned(),
        })
    }

    pub(super) fn count_request(&self, families: &Families, method: &'static str, status: u16) {
        // A backend may answer any three digits; what is no status of HTTP is one label.
        let status = if (100..600).contains(&status) {
            status
        } else {
            0
        };
        if let Some(counter) = self.requests.read().get(&(method, status)) {
            counter.inc();
            return;
        }
        let code = match status {
            0 => "other".to_owned(),
            status => status.to_string(),
        };
        let labels = [self.name.as_str(), &self.platform, method, &code];
        if let Ok(counter) = families.requests.series(&labels) {
            counter.inc();
            self.requests.write().insert((method, status), counter);
        }
    }

    pub(super) fn count_lookup(&self, families: &Families, tier: CacheTier, outcome: CacheOutcome) {
        let key = (tier, outcome);
        let counted = self
            .cache_lookups
            .read()
            .iter()
            .find(|(known, _)| *known == key)
            .map(|(_, counter)| counter.inc());
        if counted.is_some() {
            return;
        }
        let labels = [self.name.as_str(), tier.as_str(), outcome.as_str()];
        if let Ok(counter) = families.cache_lookups.series(&labels) {
            counter.inc();
            let mut lookups = self.cache_lookups.write();
            if !lookups.iter().any(|(known, _)| *known == key) {
                lookups.push((key, counter));
            }
        }
    }
}

/// How one try with a backend ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AttemptOutcome {
    Ok,
    ConnectError,
    Timeout,
    Reset,
    Status5xx,
    /// The request ended before the backend had a chance to answer, through no fault of its own.
    Abandoned,
}

impl AttemptOutcome {
    pub(super) const ALL: [AttemptOutcome; 6] = [
        AttemptOutcome::Ok,
        AttemptOutcome::ConnectError,
        AttemptOutcome::Timeout,
        AttemptOutcome::Reset,
        AttemptOutcome::Status5xx,
        AttemptOutcome::Abandoned,
    ];

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            AttemptOutcome::Ok => "ok",
            AttemptOutcome::ConnectError => "connect_error",
            AttemptOutcome::Timeout => "timeout",
            AttemptOutcome::Reset => "reset",
            AttemptOutcome::Status5xx => "status_5xx",
            AttemptOutcome::Abandoned => "abandoned",
        }
    }
}

/// Everything that is counted by backend.
pub(super) struct BackendSeries {
    /// In the order of [`AttemptOutcome::ALL`].
    attempts: Vec<IntCounter>,
    pub(super) duration: Traced,
    /// Where a rule looks at backends.
    pub(super) tally: Option<Arc<Tally>>,
}

impl BackendSeries {
    pub(super) fn new(families: &Families, name: &str, tally: Option<Arc<Tally>>) -> Result<Self> {
        let attempts = AttemptOutcome::ALL
            .iter()
            .map(|outcome| families.upstream_attempts.series(&[name, outcome.as_str()]));
        Ok(BackendSeries {
            attempts: attempts.collect::<Result<_>>()?,
            duration: families.upstream_duration.series(&[name])?,
            tally,
        })
    }

    pub(super) fn count_attempts(&self, outcome: AttemptOutcome, count: u64) {
        if let Some(counter) = self.attempts.get(outcome as usize) {
            counter.inc_by(count);
        }
    }
}

/// What is counted by signature scheme, in the order of [`SignatureOutcome::ALL`].
pub(super) struct SignatureSeries(pub(super) Vec<IntCounter>);

impl SignatureSeries {
    pub(super) fn new(families: &Families, scheme: &str) -> Result<Self> {
        let outcomes = SignatureOutcome::ALL.iter().map(|outcome| {
            families
                .signature_checks
                .series(&[scheme, outcome.as_str()])
        });
        Ok(SignatureSeries(outcomes.collect::<Result<_>>()?))
    }
}

/// What is counted by rate limit.
pub(super) struct LimitSeries {
    admitted: IntCounter,
    limited: IntCounter,
}

impl LimitSeries {
    pub(super) fn new(families: &Families, policy: &str) -> Result<Self> {
        let series = |outcome: LimitOutcome| {
            families
                .rate_limit_decisions
                .series(&[policy, outcome.as_str()])
        };
        Ok(LimitSeries {
            admitted: series(LimitOutcome::Admitted)?,
            limited: series(LimitOutcome::Limited)?,
        })
    }

    pub(super) fn of(&self, outcome: LimitOutcome) -> &IntCounter {
        match outcome {
            LimitOutcome::Admitted => &self.admitted,
            LimitOutcome::Limited => &self.limited,
        }
    }
}

/// Everything that is counted by model.
pub(super) struct ModelSeries {
    pub(super) input_tokens: IntCounter,
    pub(super) output_tokens: IntCounter,
    pub(super) time_to_first_token: Traced,
    pub(super) time_per_output_token: Traced,
    /// Where a rule looks at models.
    pub(super) tally: Option<Arc<Tally>>,
    calls: Known<CallSeries>,
    label: String,
}

impl ModelSeries {
    pub(super) fn new(families: &Families, label: &str, tally: Option<Arc<Tally>>) -> Result<Self> {
        Ok(ModelSeries {
            input_tokens: families.tokens.series(&[label, "input"])?,
            output_tokens: families.tokens.series(&[label, "output"])?,
            time_to_first_token: families.time_to_first_token.series(&[label])?,
            time_per_output_token: families.time_per_output_token.series(&[label])?,
            tally,
            calls: Known::new(NAMES_MAX),
            label: label.to_owned(),
        })
    }

    pub(super) fn count_call(&self, families: &Families, backend: &str, outcome: CallOutcome) {
        self.calls.with_or_learn(
            backend,
            || CallSeries::new(families, &self.label, backend),
            |calls| calls.of(outcome).inc(),
        );
    }
}

/// Whether a model answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallOutcome {
    Success,
    Failure,
}

struct CallSeries {
    success: IntCounter,
    failure: IntCounter,
}

impl CallSeries {
    fn new(families: &Families, model: &str, backend: &str) -> Result<Self> {
        let series = |outcome| families.model_calls.series(&[model, backend, outcome]);
        Ok(CallSeries {
            success: series("success")?,
            failure: series("failure")?,
        })
    }

    fn of(&self, outcome: CallOutcome) -> &IntCounter {
        match outcome {
            CallOutcome::Success => &self.success,
            CallOutcome::Failure => &self.failure,
        }
    }
}
