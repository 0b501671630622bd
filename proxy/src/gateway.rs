//! START HERE: the request pipeline, from top to bottom.
//!
//! ```text
//! listener -> route -> body -> signature -> limit -> cache -> backend -> answer -> record
//! ```
//!
//! `Gateway::serve` takes a request through it in three steps; the comments in each step name the stages:
//!
//! - **admit**: route, body, signature, limit. Finds the route, reads the body, verifies the signature and
//!   checks the limits. Each of these stages can reject the request; no backend has seen any of it yet.
//! - **forward**: cache, backend. Determines where the response comes from (`ResponseSource`): the cache, or
//!   a backend whose response head has arrived. Until then nothing final has been written to the
//!   client, so this is the step in which a failed attempt can be followed by another.
//! - **deliver**: answer. Writes the response to the client, and copies it for the cache. Only this step
//!   writes responses: a backend's, a stored one, or weir's own, such as a rejection.
//!
//! The record stage is not a call: everything known about a request is collected in its [`Exchange`], and dropping
//! that counts the request and writes its event, exactly once, even if the client disconnects or the task of
//! the request is cancelled.
//!
//! A body is *buffered* (read whole before anything is forwarded) or *passed through* (forwarded as it
//! arrives, where no stage reads it: upgrades, gRPC, large uploads). The pipeline is the same for both.
//!
//! Stages never call each other: they are combined here and share the [`Exchange`]. The files of `gateway/` apply the
//! stages to a real request: `routing.rs`, `inbound.rs` (body), `checks.rs` (signature, limit), `cached.rs` (cache),
//! `upstream.rs` (backend), `downstream.rs` (answer). `generation/pipeline.rs` builds the stages of each route once.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use pingora::server::ShutdownWatch;
use prometheus::IntGauge;

use crate::answer::ResponseOutcome;
use crate::answer::local::{self, LocalResponse};
use crate::backend::Backend;
use crate::backend::loops::LoopToken;
use crate::cache::CachedResponse;
use crate::cache::copy::SharedHead;
use crate::cache::http::HttpHead;
use crate::clock;
use crate::exchange::{Exchange, NO_PLATFORM, Recorder, Stage};
use crate::generation::Generation;
use crate::generation::occupancy::Occupancy;
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::budget::Budget;
use crate::http::session::Session;
use crate::limit::concurrency::Permit;
use crate::metrics::InUse;
use crate::random;
use crate::signature::delivery::Delivery;

mod ask_usage;
mod cache_copy;
mod cache_metrics;
mod cached;
mod checks;
mod coalesce;
mod downstream;
mod followed;
mod http_cache;
mod http_coalesce;
mod http_copy;
mod inbound;
pub mod metrics;
mod mode;
mod model_request;
mod model_response;
mod outcome;
mod redis_lookup;
mod reused;
mod revalidation;
mod routing;
#[cfg(test)]
mod tests;
mod tunnel;
mod upstream;

use cached::CacheFound;
use followed::Followed;
use http_cache::HttpFetch;
use inbound::{ForwardedBody, InboundBody};
use mode::RequestKind;
use outcome::{finish, is_accepted, is_unread};
use reused::Reused;
use upstream::{Call, Upstream};

pub(crate) use outcome::{Served, Stop};

/// Up to this many requests in flight, requests do not yield to each other.
const UNCONTENDED_REQUESTS_MAX: i64 = 4;

/// The request pipeline: built once from a checked configuration.
pub struct Gateway {
    /// The current one; a reload replaces it.
    generation: ArcSwap<Generation>,
    loop_token: LoopToken,
    default_platform: Arc<str>,
    budget: Arc<Budget>,
    recorder: Arc<dyn Recorder>,
    in_flight: IntGauge,
}

/// What a request holds until it has been served.
#[derive(Default)]
struct Claims {
    /// A platform's delivery: redeliveries wait for its outcome.
    delivery: Option<Delivery>,
    /// A permit of the route's concurrency limit.
    permit: Option<Permit>,
}

/// A request that has been admitted by every stage.
struct Prepared {
    pipeline: Arc<RoutePipeline>,
    kind: RequestKind,
    body: InboundBody,
}

/// Where a response comes from.
enum ResponseSource {
    /// A backend; with what the HTTP cache does with its response, if anything.
    Upstream(Box<Upstream>, Option<Box<HttpFetch>>),
    /// The cache; with the age of the response in seconds.
    Stored(Arc<CachedResponse>, u64),
    /// The HTTP cache: an equal request; with the backend that it was sent to.
    HttpFollowed(Box<Followed<HttpHead>>, Arc<Backend>),
    /// The HTTP cache.
    Reused(Reused),
    /// An equal request; with the backend that it was sent to.
    Followed(Box<Followed<SharedHead>>, Arc<Backend>),
    Local(LocalResponse),
}

impl Gateway {
    #[must_use]
    pub fn new(
        generation: Arc<Generation>,
        budget: Arc<Budget>,
        recorder: Arc<dyn Recorder>,
        in_flight: IntGauge,
    ) -> Self {
        Gateway {
            generation: ArcSwap::new(generation),
            loop_token: LoopToken::new(random::bits() as u64),
            default_platform: Arc::from(NO_PLATFORM),
            budget,
            recorder,
            in_flight,
        }
    }

    /// The current generation.
    #[must_use]
    pub fn generation(&self) -> Arc<Generation> {
        self.generation.load_full()
    }

    /// Replaces the generation: requests that arrive from now on use `next`, those in flight are not
    /// affected.
    pub fn install(&self, next: Arc<Generation>) {
        self.generation.store(next);
    }

    /// What requests and stores occupy now.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        Occupancy {
            buffered_bytes: self.budget.held(),
            ..self.generation.load().occupancy()
        }
    }

    /// Serves one request whose head has been read. It is recorded when its exchange is dropped, whatever
    /// its outcome.
    pub(crate) async fn serve(
        &self,
        session: &mut Session,
        connection: &Connection,
        started: Instant,
        shutdown: &ShutdownWatch,
    ) -> Served {
        let _in_flight = InUse::count(&self.in_flight);
        let mut exchange = self.begin(connection.peer, started);
        let mut claims = Claims::default();

        let admitted = self.admit(session, &mut exchange, connection, &mut claims);
        let source = match admitted.await {
            Ok(prepared) => {
                let delivery = claims.delivery.as_ref();
                self.forward(session, &mut exchange, connection, prepared, delivery)
                    .await
            }
            Err(stop) => Err(stop),
        };
        let outcome = match source {
            Ok(mut source) => {
                self.deliver(session, &mut exchange, &mut source, shutdown)
                    .await
            }
            Err(stop) => {
                claims.permit = None;
                self.respond_to_stop(session, &mut exchange, stop, shutdown)
                    .await
            }
        };

        drop(claims.permit);
        if let Some(delivery) = claims.delivery
            && is_accepted(outcome, exchange.status)
        {
            delivery.accepted(clock::unix_now()).await;
        }
        let served = match session.is_detached() {
            // The outcome of the backend call is recorded in its attempt.
            true => finish(session, &mut exchange, ResponseOutcome::ClientLeft),
            false => finish(session, &mut exchange, outcome),
        };
        match served {
            Served::Whole if is_unread(session, exchange.error_code) => Served::Unread,
            served => served,
        }
    }

    /// Step one: the stages that can reject a request.
    async fn admit(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        connection: &Connection,
        claims: &mut Claims,
    ) -> Result<Prepared, Stop> {
        // route
        let pipeline = self.route(&self.generation.load(), session, exchange, connection)?;
        checks::check_address_limits(&pipeline, session, exchange).await?;

        // body
        exchange.timing.enter(Stage::Body, clock::now());
        let kind = pipeline.kind(session);
        let body = inbound::read(&pipeline, kind, session, exchange, &self.budget).await?;

        // signature
        match body {
            InboundBody::Buffered(_) => exchange.timing.enter(Stage::Signature, clock::now()),
            InboundBody::PassThrough => exchange.timing.skip_to(Stage::Signature),
        }
        claims.delivery = checks::verify(&pipeline, session, exchange, body.bytes()).await?;

        // limit
        match pipeline.verifier {
            Some(_) => exchange.timing.enter(Stage::Limit, clock::now()),
            None => exchange.timing.skip_to(Stage::Limit),
        }
        checks::check_rate_limits(&pipeline, session, exchange).await?;
        claims.permit = checks::take_permit(&pipeline)?;

        Ok(Prepared {
            pipeline,
            kind,
            body,
        })
    }

    /// Step two: determines where the response comes from.
    async fn forward(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        connection: &Connection,
        prepared: Prepared,
        delivery: Option<&Delivery>,
    ) -> Result<ResponseSource, Stop> {
        let Prepared {
            pipeline,
            kind,
            body,
        } = prepared;

        // cache
        match pipeline.limits.any_by_request() || pipeline.concurrency.is_some() {
            true => exchange.timing.enter(Stage::Cache, clock::now()),
            false => exchange.timing.skip_to(Stage::Cache),
        }
        let (buffered, budget) = (body.buffered(), &self.budget);
        let read = model_request::read_and_decide(&pipeline, exchange, session, buffered, budget)?;
        let reader = model_request::read_rest(exchange, read.reader, buffered).await?;
        let headers = &session.head().headers;
        model_request::record_text(exchange, pipeline.shared.content, headers, body.bytes());
        let found = match pipeline.has_cache() {
            true => {
                let request = (read.decision, kind, buffered, delivery);
                cached::find(&pipeline, session, exchange, connection, request).await?
            }
            false => CacheFound::nothing(),
        };
        let (waited_for, fetch) = match found {
            CacheFound::Source(source) => return Ok(source),
            CacheFound::Forward(waited_for, fetch) => (waited_for, fetch),
        };

        // backend
        self.yield_to_batch_writes().await;
        let started_at = clock::now();
        exchange.timing.enter(Stage::Backend, started_at);
        let call = Call {
            connection,
            kind,
            started_at,
            validators: fetch.as_ref().and_then(|fetch| fetch.validators()),
        };
        let idle = pipeline.shared.upgrade_idle_timeout;
        let forwarded = inbound::forward(&pipeline, kind, body, reader, session, idle);
        let ForwardedBody {
            body,
            mut relay,
            booking,
        } = forwarded.await?;
        let body = inbound::outlive_client(delivery, body, session, connection);
        let calling = upstream::call(&pipeline, session, exchange, &call, body, &mut relay);
        // Boxed: it is the largest part of the future, and the response may take hours.
        let called = Box::pin(calling).await;
        drop(booking);
        model_request::note_relayed(exchange, &relay);
        let response = match called {
            Ok(response) => response,
            Err(stop) => {
                coalesce::fail(waited_for.1.lead, &stop);
                return http_cache::of_failure(fetch, exchange, stop).map(ResponseSource::Reused);
            }
        };
        let upstream = Box::new(Upstream::new(pipeline, &call, waited_for, response, relay));
        self.yield_to_batch_writes().await;
        Ok(match fetch {
            Some(fetch) => http_cache::of_response(session, exchange, upstream, fetch),
            None => ResponseSource::Upstream(upstream, None),
        })
    }

    /// Step three: writes the response, whatever its source.
    async fn deliver(
        &self,
        session: &mut Session,
        exchange: &mut Exchange,
        source: &mut ResponseSource,
        shutdown: &ShutdownWatch,
    ) -> ResponseOutcome {
        if *shutdown.borrow() {
            // While the proxy is stopping, clients must not reuse their connections.
            session.close_after_response();
        }
        match source {
            // answer
            ResponseSource::Upstream(upstream, fetch) => {
                let now = clock::now();
                exchange.timing.enter(Stage::Answer, now);
                let idle = upstream.pipeline.shared.upgrade_idle_timeout;
                let outcome =
                    downstream::deliver(session, exchange, upstream, fetch.take(), idle, now).await;
                upstream.report(exchange);
                outcome
            }
            ResponseSource::Stored(stored, age_s) => {
                downstream::deliver_stored(session, exchange, stored, *age_s).await
            }
            ResponseSource::HttpFollowed(followed, backend) => {
                let config = backend.config();
                let delivery = downstream::deliver_followed(session, exchange, followed, config);
                Box::pin(delivery).await
            }
            ResponseSource::Reused(reused) => reused::deliver(session, exchange, reused).await,
            ResponseSource::Followed(followed, backend) => {
                let config = backend.config();
                let delivery = downstream::deliver_followed(session, exchange, followed, config);
                Box::pin(delivery).await
            }
            ResponseSource::Local(response) => local::write(session, exchange, response).await,
        }
    }

    /// Lets the other requests of this worker run, if there are any: responses that are written together
    /// wake their reader once, which saves an eighth of the cost of a request under load.
    async fn yield_to_batch_writes(&self) {
        if self.in_flight.get() > UNCONTENDED_REQUESTS_MAX {
            tokio::task::yield_now().await;
        }
    }
}
