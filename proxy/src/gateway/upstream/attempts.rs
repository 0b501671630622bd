//! The attempts of one request: which backend and which endpoint is next, and what follows a failure.

use std::sync::Arc;
use std::time::Instant;

use super::Call;
use super::outgoing::{self, OutgoingRequest};
use crate::backend::balance::BalancingPolicy;
use crate::backend::client::UsableConnections;
use crate::backend::endpoint::InFlightCall;
use crate::backend::request_body::RequestBody;
use crate::backend::retry::{
    AttemptFailure, AttemptState, BodyReplay, NextStep, Repeatable, RequestOrigin, RetryPermit,
};
use crate::backend::{Backend, EligibleEndpoints, TriedEndpoints, WhenAllOpen};
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::session::Session;
use crate::random;
use crate::refusal::Refusal;

/// The attempts of one request.
pub(super) struct Attempts<'a> {
    pub(super) pipeline: &'a RoutePipeline,
    pub(super) call: &'a Call<'a>,
    /// The backend in use, and its position: 0 is the route's own, the others are fallbacks.
    pub(super) backend: &'a Arc<Backend>,
    pub(super) position: usize,
    /// The endpoints of this backend that have been tried.
    pub(super) tried: TriedEndpoints,
    /// The attempts with this backend.
    pub(super) count: u32,
    pub(super) repeatable: Repeatable,
    origin: RequestOrigin,
    /// The hash of what consistent balancing goes by.
    key: Option<u64>,
    pub(super) connections: UsableConnections,
    /// While an attempt is a retry, or a retry is waited for.
    permit: Option<RetryPermit<'a>>,
    pub(super) outgoing: OutgoingRequest,
}

/// What follows a failed attempt.
pub(super) enum FollowUp {
    Attempt(InFlightCall),
    /// Another attempt with the same backend, at this time.
    AttemptAt(Instant),
    Deliver,
}

impl<'a> Attempts<'a> {
    pub(super) fn new(
        pipeline: &'a RoutePipeline,
        call: &'a Call<'a>,
        session: &Session,
        exchange: &Exchange,
        body: RequestBody,
    ) -> Self {
        let outgoing = OutgoingRequest::new(body);
        let is_consistent =
            |backend: &Arc<Backend>| backend.config().balancing == BalancingPolicy::Consistent;
        let key = pipeline.backends().any(is_consistent);
        let origin = outgoing::origin(pipeline, call.kind, exchange);
        let mut attempts = Attempts {
            pipeline,
            call,
            backend: &pipeline.backend,
            position: 0,
            tried: TriedEndpoints::new(),
            count: 0,
            repeatable: outgoing.repeatable(origin, session, exchange),
            origin,
            key: key.then(|| outgoing::balancing_key(pipeline, session, exchange)),
            connections: UsableConnections::PooledOrNew,
            permit: None,
            outgoing,
        };
        attempts.adapt(session, exchange);
        attempts
    }

    /// Adapts the request to the backend in use.
    fn adapt(&mut self, session: &Session, exchange: &Exchange) {
        let is_last = self.position == self.pipeline.fallbacks.len();
        self.outgoing
            .adapt(self.backend, session, exchange, is_last);
    }

    /// The backend at a position.
    fn backend_at(&self, position: usize) -> Option<&'a Arc<Backend>> {
        match position.checked_sub(1) {
            None => Some(&self.pipeline.backend),
            Some(fallback) => self.pipeline.fallbacks.get(fallback),
        }
    }

    /// The end of the time that a backend has for the request: `total_timeout` after its start.
    pub(super) fn deadline(&self, backend: &Backend) -> Instant {
        self.call.started_at + backend.config().total_timeout
    }

    /// Picks an endpoint of the backend at position `from`, or of the first fallback after it that has one available. If
    /// there is none, an unhealthy one is used; if the circuits of all are open, an open one, where the configuration
    /// allows it.
    pub(super) fn pick(
        &mut self,
        from: usize,
        session: &Session,
        exchange: &Exchange,
        now: Instant,
    ) -> Result<InFlightCall, Refusal> {
        let mut reason = None;
        for eligible in [
            EligibleEndpoints::Available,
            EligibleEndpoints::Unhealthy,
            EligibleEndpoints::All,
        ] {
            for position in from.. {
                let Some(backend) = self.backend_at(position) else {
                    break;
                };
                let may_be_open = backend.config().when_all_open == WhenAllOpen::Try;
                if eligible == EligibleEndpoints::All && !may_be_open
                    || self.deadline(backend) <= now
                {
                    continue;
                }
                let tried = match position == self.position {
                    true => &*self.tried,
                    false => &[],
                };
                match backend.pick(tried, self.key, eligible, now) {
                    Ok(picked) => {
                        self.use_backend(position, backend, session, exchange);
                        return Ok(picked);
                    }
                    Err(why) => {
                        reason.get_or_insert((backend, why));
                    }
                }
            }
        }
        Err(match reason {
            Some((backend, why)) => backend.no_endpoint(why),
            // There is no time left for any.
            None => self.backend.no_first_byte(),
        })
    }

    fn use_backend(
        &mut self,
        position: usize,
        backend: &'a Arc<Backend>,
        session: &Session,
        exchange: &Exchange,
    ) {
        if self.position != position {
            self.position = position;
            self.backend = backend;
            // The permit is part of the budget of the previous backend.
            self.permit = None;
            self.tried.clear();
            self.count = 0;
            self.connections = UsableConnections::PooledOrNew;
            self.adapt(session, exchange);
        }
    }

    /// Whether a request whose pooled connection broke is sent once over a new one. That is no retry: the endpoint has
    /// most likely closed the connection before it saw the request.
    pub(super) fn replaces_connection(&mut self, failure: AttemptFailure) -> bool {
        let replaces = self.connections == UsableConnections::PooledOrNew
            && self.outgoing.body() == BodyReplay::Whole
            && self.origin.is_sent_again(failure);
        self.connections = UsableConnections::New;
        // It is not counted.
        self.count -= u32::from(replaces);
        replaces
    }

    /// What follows an attempt that failed.
    pub(super) fn follow_up(
        &mut self,
        failure: AttemptFailure,
        session: &Session,
        exchange: &Exchange,
        now: Instant,
    ) -> FollowUp {
        self.permit = None;
        let state = AttemptState {
            attempts: self.count,
            repeatable: self.repeatable,
            body: self.outgoing.body(),
            has_other_endpoint: self.backend.has_untried(&self.tried, now),
            now,
            deadline: self.deadline(self.backend),
        };
        let random = random::bits() as u32;
        let step = self.backend.config().retry.next(failure, &state, random);
        let position = match step {
            NextStep::Deliver => return FollowUp::Deliver,
            NextStep::Failover => self.position + 1,
            // There is nothing to wait for.
            NextStep::Wait(_) if self.has_fallback() && !self.backend.has_available(now) => {
                self.position + 1
            }
            NextStep::OtherEndpoint | NextStep::Wait(_) if !self.may_retry(step, failure) => {
                self.position + 1
            }
            NextStep::OtherEndpoint => self.position,
            NextStep::Wait(wait) => return FollowUp::AttemptAt(now + wait),
        };
        match self.pick(position, session, exchange, now) {
            Ok(picked) => FollowUp::Attempt(picked),
            Err(_) => FollowUp::Deliver,
        }
    }

    /// Whether the budget allows a retry.
    fn may_retry(&mut self, step: NextStep, failure: AttemptFailure) -> bool {
        if !step.is_budgeted(failure) {
            return true;
        }
        self.permit = self.backend.begin_retry();
        self.permit.is_some()
    }

    /// Whether another endpoint or backend could follow an attempt.
    pub(super) fn has_alternative(&self) -> bool {
        self.has_fallback() || self.may_follow() && self.backend.endpoints().len() > 1
    }

    /// Whether another attempt could follow.
    pub(super) fn may_follow(&self) -> bool {
        self.has_fallback() || self.count < self.backend.config().retry.attempts
    }

    fn has_fallback(&self) -> bool {
        self.position < self.pipeline.fallbacks.len()
    }
}
