//! Adds one exchange to the series that it belongs to.

use std::borrow::Cow;
use std::time::Duration;

use super::RequestMetrics;
use super::series::{CallOutcome, LimitSeries, ModelSeries, RouteSeries, SignatureSeries};
use crate::exchange::{
    Attempt, Exchange, NO_PLATFORM, NO_ROUTE, SignatureOutcome, Stage, UpstreamNote,
};
use crate::metrics::exemplar::Exemplar;
use crate::record::event::method_name;

/// The maximum length of the label of a model.
const MODEL_LABEL_CHARACTERS_MAX: usize = 64;

impl RequestMetrics {
    pub(super) fn count_route(
        &self,
        exchange: &Exchange,
        duration: Duration,
        exemplar: Option<Exemplar>,
    ) {
        let (route, platform) = match &exchange.route {
            Some(route) => (&**route, &*exchange.platform),
            None => (NO_ROUTE, NO_PLATFORM),
        };
        let count = |series: &RouteSeries| {
            let method = method_name(&exchange.method);
            series.count_request(&self.families, method, exchange.status);
            series.duration.observe(duration.as_secs_f64(), exemplar);
            let overhead = exchange.timing.overhead().as_secs_f64();
            series.overhead.observe(overhead, exemplar);
            if exchange.failed() {
                series.failed.inc();
            }
            let error = exchange.error_code.map(|code| code as usize);
            if let Some(counter) = error.and_then(|code| series.errors.get(code)) {
                counter.inc();
            }
            if let Some(subject) = &series.subject {
                subject.record(exchange, duration);
            }
            if let Some(cache) = &exchange.cache {
                series.count_lookup(&self.families, cache.tier, cache.outcome);
            }
        };
        self.routes.with_or_add(
            route,
            || self.platforms(route, platform),
            |platforms| {
                platforms.with_or_add(platform, || self.route_series(route, platform), count);
            },
        );
    }

    pub(super) fn count_stages(
        &self,
        exchange: &Exchange,
        duration: Duration,
        exemplar: Option<Exemplar>,
    ) {
        if let Some(signature) = &exchange.signature {
            self.signatures.with_or_add(
                signature.scheme,
                || SignatureSeries::new(&self.families, signature.scheme),
                |series| {
                    if let Some(counter) = series.0.get(position(signature.outcome)) {
                        counter.inc();
                    }
                },
            );
        }
        if let Some(limit) = &exchange.limit {
            self.limits.with_or_add(
                &limit.policy,
                || LimitSeries::new(&self.families, &limit.policy),
                |series| series.of(limit.outcome).inc(),
            );
        }
        if let Some(upstream) = called(exchange) {
            self.backends.with_or_add(
                &upstream.backend,
                || self.backend_series(&upstream.backend),
                |series| {
                    if let Some(subject) = &series.subject {
                        subject.record(exchange, duration);
                    }
                    for attempt in upstream.attempts() {
                        if attempt.backend == upstream.backend {
                            series.count_attempt(attempt.outcome());
                        }
                    }
                    if let Some(spent) = exchange.timing.spent(Stage::Backend) {
                        series.duration.observe(spent.as_secs_f64(), exemplar);
                    }
                },
            );
            // Those with the backends that did not respond.
            self.count_attempts(upstream, |attempt| attempt.backend != upstream.backend);
        }
    }

    /// Counts some of the attempts.
    pub(super) fn count_attempts(
        &self,
        upstream: &UpstreamNote,
        is_counted: impl Fn(&Attempt) -> bool,
    ) {
        let attempts = upstream.attempts().iter();
        for attempt in attempts.filter(|attempt| is_counted(attempt)) {
            self.backends.with_or_add(
                &attempt.backend,
                || self.backend_series(&attempt.backend),
                |series| series.count_attempt(attempt.outcome()),
            );
        }
    }

    /// A model call is counted only when a backend was called: a cache hit costs no tokens.
    pub(super) fn count_model(
        &self,
        exchange: &Exchange,
        duration: Duration,
        exemplar: Option<Exemplar>,
    ) {
        let model = &exchange.model;
        let Some(upstream) = called(exchange) else {
            return;
        };
        let name = model
            .request_model
            .as_ref()
            .or(model.response_model.as_ref());
        let Some(name) = name else {
            return;
        };
        let outcome = if exchange.error_code.is_some() || exchange.status >= 400 {
            CallOutcome::Failure
        } else {
            CallOutcome::Success
        };
        let label = model_label(name);
        let count = |series: &ModelSeries| {
            series.count_call(&self.families, &upstream.backend, outcome);
            if let Some(subject) = &series.subject {
                subject.record(exchange, duration);
            }
            series.count_tokens(&model.usage);
            if let Some(time) = model.time_to_first_chunk {
                let first = time.as_secs_f64();
                series.time_to_first_token.observe(first, exemplar);
            }
            if let Some(time) = time_per_output_token(exchange) {
                let each = time.as_secs_f64();
                series.time_per_output_token.observe(each, exemplar);
            }
        };
        if self.models.with(&label, count).is_some() {
            return;
        }
        // A name gets a label only after a success, so that clients cannot exhaust the labels with invented names.
        if outcome == CallOutcome::Success
            && self
                .models
                .add(&label, || self.model_series(&label))
                .is_ok()
            && self.models.with(&label, count).is_some()
        {
            return;
        }
        self.other_models
            .with_or_add("other", || self.model_series("other"), count);
    }
}

/// The upstream note, if a backend was called.
fn called(exchange: &Exchange) -> Option<&UpstreamNote> {
    let upstream = exchange.upstream.as_ref();
    upstream.filter(|upstream| !upstream.attempts().is_empty())
}

fn position(outcome: SignatureOutcome) -> usize {
    outcome as usize
}

/// The time of a streamed response after its first token, divided by the number of later tokens; only if the backend
/// reports their number.
fn time_per_output_token(exchange: &Exchange) -> Option<Duration> {
    if exchange.model.usage.is_estimated() {
        return None;
    }
    let later_tokens = exchange.model.usage.output_tokens?.checked_sub(1)?;
    let later_tokens = u32::try_from(later_tokens)
        .ok()
        .filter(|count| *count > 0)?;
    exchange.model.generation?.checked_div(later_tokens)
}

/// The name of a model as a label: short, and without characters that make labels hard to query.
fn model_label(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:/@+-".contains(&byte);
    if name.len() <= MODEL_LABEL_CHARACTERS_MAX && name.bytes().all(is_plain) {
        return Cow::Borrowed(name);
    }
    let plain = name.chars().take(MODEL_LABEL_CHARACTERS_MAX);
    let plain = plain.map(|character| match u8::try_from(character) {
        Ok(byte) if is_plain(byte) => character,
        _ => '_',
    });
    Cow::Owned(plain.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::usage::Origin;
    use crate::record::fixture::filled;

    #[test]
    fn model_labels_are_short_and_plain() {
        assert_eq!(model_label("qwen/qwen3:8b"), "qwen/qwen3:8b");
        assert_eq!(model_label("a \"b\"\nü"), "a__b___");
        assert_eq!(model_label(&"ü".repeat(1000)), "_".repeat(64));
        assert_eq!(model_label(""), "");
    }

    #[test]
    fn the_time_per_token_excludes_the_first_token() {
        let mut exchange = filled();
        exchange.model.generation = Some(Duration::from_millis(90));
        let mut time = |tokens| {
            exchange.model.usage.output_tokens = tokens;
            time_per_output_token(&exchange)
        };
        assert_eq!(time(Some(10)), Some(Duration::from_millis(10)));
        assert_eq!(time(Some(1)), None);
        assert_eq!(time(Some(0)), None);
        assert_eq!(time(None), None);
        assert_eq!(time(Some(u64::MAX)), None);
        exchange.model.usage.output_tokens = Some(10);
        exchange.model.usage.origin = Origin::Estimated;
        assert_eq!(time_per_output_token(&exchange), None);
    }
}
