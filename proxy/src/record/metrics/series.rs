//! Series that are resolved once, so that a request only increments them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::RwLock;
use prometheus::{IntCounter, Result};

use super::RequestFamilies;
use super::known::BoundedTable;
use crate::exchange::{
    AttemptOutcome, CacheOutcome, CacheTier, LimitOutcome, Recorder, SignatureOutcome,
};
use crate::metrics::NAMES_MAX;
use crate::metrics::exemplar::ExemplarHistogram;
use crate::metrics::family::Family;
use crate::model::usage::{Origin, Usage};
use crate::refusal::ErrorCode;

/// The series of one route, by platform: a reload can change the platform of a route.
pub(super) struct PlatformSeries {
    /// Of the platform that the route had first: found without a second lookup.
    first: RouteSeries,
    others: BoundedTable<RouteSeries>,
}

impl PlatformSeries {
    pub(super) fn new(first: RouteSeries) -> Self {
        PlatformSeries {
            first,
            others: BoundedTable::new(PLATFORMS_MAX),
        }
    }

    /// Creates the series of a platform if there are none.
    pub(super) fn add(
        &self,
        platform: &str,
        make: impl FnOnce() -> Result<RouteSeries>,
    ) -> Result<()> {
        match self.first.platform == platform {
            true => Ok(()),
            false => self.others.add(platform, make),
        }
    }

    pub(super) fn with_or_add(
        &self,
        platform: &str,
        make: impl FnOnce() -> Result<RouteSeries>,
        found: impl Fn(&RouteSeries),
    ) {
        match self.first.platform == platform {
            true => found(&self.first),
            false => self.others.with_or_add(platform, make, found),
        }
    }
}

/// The series of one route and platform.
pub(super) struct RouteSeries {
    pub(super) duration: ExemplarHistogram,
    pub(super) overhead: ExemplarHistogram,
    pub(super) failed: IntCounter,
    /// Indexed by [`ErrorCode`].
    pub(super) errors: Vec<IntCounter>,
    requests: RwLock<HashMap<(&'static str, u16), IntCounter>>,
    cache_lookups: RwLock<Vec<((CacheTier, CacheOutcome), IntCounter)>>,
    /// What else records the requests of this subject.
    pub(super) subject: Option<Arc<dyn Recorder>>,
    name: String,
    platform: String,
}

/// How many further platforms of one route are counted.
const PLATFORMS_MAX: usize = 16;

/// The method and status of most requests to a model.
const FIRST_SERIES: (&str, u16) = ("POST", 200);

impl RouteSeries {
    pub(super) fn new(
        families: &RequestFamilies,
        name: &str,
        platform: &str,
        subject: Option<Arc<dyn Recorder>>,
    ) -> Result<Self> {
        let errors = ErrorCode::ALL
            .iter()
            .map(|code| families.errors.series(&[name, platform, code.as_str()]));
        // Lets dashboards list routes and platforms before the first request.
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
            subject,
            name: name.to_owned(),
            platform: platform.to_owned(),
        })
    }

    pub(super) fn count_request(
        &self,
        families: &RequestFamilies,
        method: &'static str,
        status: u16,
    ) {
        // A backend may send any three digits; invalid statuses share one label.
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

    pub(super) fn count_lookup(
        &self,
        families: &RequestFamilies,
        tier: CacheTier,
        outcome: CacheOutcome,
    ) {
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

/// The series of one backend.
pub(super) struct BackendSeries {
    /// Indexed by [`AttemptOutcome`].
    attempts: Vec<IntCounter>,
    pub(super) duration: ExemplarHistogram,
    /// What else records the requests of this subject.
    pub(super) subject: Option<Arc<dyn Recorder>>,
}

impl BackendSeries {
    pub(super) fn new(
        families: &RequestFamilies,
        name: &str,
        subject: Option<Arc<dyn Recorder>>,
    ) -> Result<Self> {
        let attempts = AttemptOutcome::ALL
            .iter()
            .map(|outcome| families.upstream_attempts.series(&[name, outcome.as_str()]));
        Ok(BackendSeries {
            attempts: attempts.collect::<Result<_>>()?,
            duration: families.upstream_duration.series(&[name])?,
            subject,
        })
    }

    pub(super) fn count_attempt(&self, outcome: AttemptOutcome) {
        if let Some(counter) = self.attempts.get(outcome as usize) {
            counter.inc();
        }
    }
}

/// The series of one signature scheme, indexed by [`SignatureOutcome`].
pub(super) struct SignatureSeries(pub(super) Vec<IntCounter>);

impl SignatureSeries {
    pub(super) fn new(families: &RequestFamilies, scheme: &str) -> Result<Self> {
        let outcomes = SignatureOutcome::ALL.iter().map(|outcome| {
            families
                .signature_checks
                .series(&[scheme, outcome.as_str()])
        });
        Ok(SignatureSeries(outcomes.collect::<Result<_>>()?))
    }
}

/// The series of one rate limit policy.
pub(super) struct LimitSeries {
    admitted: IntCounter,
    limited: IntCounter,
}

impl LimitSeries {
    pub(super) fn new(families: &RequestFamilies, policy: &str) -> Result<Self> {
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

/// The series of one model.
pub(super) struct ModelSeries {
    tokens: TokenCounters,
    pub(super) time_to_first_token: ExemplarHistogram,
    pub(super) time_per_output_token: ExemplarHistogram,
    /// What else records the requests of this subject.
    pub(super) subject: Option<Arc<dyn Recorder>>,
    calls: BoundedTable<CallSeries>,
    label: String,
}

impl ModelSeries {
    pub(super) fn new(
        families: &RequestFamilies,
        label: &str,
        subject: Option<Arc<dyn Recorder>>,
    ) -> Result<Self> {
        Ok(ModelSeries {
            tokens: TokenCounters::new(families, label)?,
            time_to_first_token: families.time_to_first_token.series(&[label])?,
            time_per_output_token: families.time_per_output_token.series(&[label])?,
            subject,
            calls: BoundedTable::new(NAMES_MAX),
            label: label.to_owned(),
        })
    }

    pub(super) fn count_tokens(&self, usage: &Usage) {
        self.tokens.count(usage);
    }

    pub(super) fn count_call(
        &self,
        families: &RequestFamilies,
        backend: &str,
        outcome: CallOutcome,
    ) {
        self.calls.with_or_add(
            backend,
            || CallSeries::new(families, &self.label, backend),
            |calls| calls.of(outcome).inc(),
        );
    }
}

/// The tokens of one model.
struct TokenCounters {
    reported: [IntCounter; 2],
    estimated: [IntCounter; 2],
    cached: [IntCounter; 2],
    reasoning: IntCounter,
}

impl TokenCounters {
    fn new(families: &RequestFamilies, model: &str) -> Result<Self> {
        let pair = |family: &Family<IntCounter>, [first, second]: [&str; 2]| -> Result<_> {
            Ok([
                family.series(&[model, first])?,
                family.series(&[model, second])?,
            ])
        };
        let directions = ["input", "output"];
        Ok(TokenCounters {
            reported: pair(&families.tokens, directions)?,
            estimated: pair(&families.estimated_tokens, directions)?,
            cached: pair(&families.cached_tokens, ["read", "creation"])?,
            reasoning: families.reasoning_tokens.series(&[model])?,
        })
    }

    fn count(&self, usage: &Usage) {
        let [input, output] = match usage.origin {
            Origin::Reported => &self.reported,
            Origin::Estimated => &self.estimated,
        };
        let [read, creation] = &self.cached;
        for (counter, tokens) in [
            (input, usage.input_tokens),
            (output, usage.output_tokens),
            (read, usage.cache_read_tokens),
            (creation, usage.cache_creation_tokens),
            (&self.reasoning, usage.reasoning_tokens),
        ] {
            if let Some(tokens) = tokens {
                // Saturates: a wrapped counter would look like a restart.
                counter.inc_by(tokens.min(u64::MAX - counter.get()));
            }
        }
    }
}

/// The outcome of a model call.
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
    fn new(families: &RequestFamilies, model: &str, backend: &str) -> Result<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn token_counters_saturate() {
        let families =
            RequestFamilies::register(&Metrics::new().expect("metrics")).expect("families");
        let tokens = TokenCounters::new(&families, "m").expect("series");
        let usage = Usage {
            input_tokens: Some(u64::MAX - 1),
            ..Usage::default()
        };
        tokens.count(&usage);
        tokens.count(&usage);
        assert_eq!(tokens.reported[0].get(), u64::MAX);
    }
}
