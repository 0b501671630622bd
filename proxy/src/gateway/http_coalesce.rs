//! The part of the cache stage for routes with an HTTP cache: a stored response, the response to an equal request in flight,
//! or the backend's.
//!
//! A request joins those with the same key before anything is known of the response. Once the head has arrived that their
//! leader gets, it may turn out not to be shared, or to be for other requests (`Vary`): all that follow then go on alone
//! at once, and the key is remembered, so that the next ones do not wait at all.

use std::sync::Arc;
use std::time::Duration;

use super::coalesce;
use super::followed::Followed;
use super::http_cache::{self, Found, HttpFetch};
use super::mode::RequestKind;
use super::reused::Reused;
use super::{Stop, revalidation};
use crate::backend::Backend;
use crate::cache::CacheKey;
use crate::cache::flight::{FlightMark, Follower, FollowerStart, Joined, MayLead};
use crate::cache::http::{FollowedAs, HttpCache, HttpHead};
use crate::clock;
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::session::Session;

/// What the cache stage decided for a request.
pub(super) enum HttpFound {
    Reused(Reused),
    /// The response to an equal request; with the backend that it was sent to.
    Followed(Box<Followed<HttpHead>>, Arc<Backend>),
    /// It is sent to the backend; with what the cache does with the response, if anything.
    Forward(Option<Box<HttpFetch>>),
}

/// The result of one lookup.
enum HttpStep {
    Found(HttpFound),
    /// The request may be equal to one in flight.
    Join(Box<HttpFetch>, (CacheKey, MayLead), FlightMark),
}

/// Looks for a stored response, or an equal request in flight. A body could change the response, and is no part of the
/// key: a `GET` that has one is not for the cache.
///
/// # Errors
/// The client left, the equal request failed, or the client accepts a stored response only.
pub(super) async fn find(
    pipeline: &Arc<RoutePipeline>,
    session: &mut Session,
    exchange: &mut Exchange,
    connection: &Connection,
    (kind, body): (RequestKind, Option<&[u8]>),
) -> Result<HttpFound, Stop> {
    let Some(cache) = &pipeline.http_cache else {
        return Ok(HttpFound::Forward(None));
    };
    let has_no_body = body.is_some_and(<[u8]>::is_empty);
    if kind != RequestKind::Plain || exchange.method.is_safe() && !has_no_body {
        http_cache::bypass(exchange);
        return Ok(HttpFound::Forward(None));
    }
    let now = exchange.received_at;
    let request = (pipeline, connection);
    match look_up(cache, request, session, exchange, now)? {
        HttpStep::Found(found) => Ok(found),
        // Boxed, because most requests are hits.
        step => Box::pin(join(cache, request, session, exchange, step)).await,
    }
}

fn look_up(
    cache: &Arc<HttpCache>,
    (pipeline, connection): (&Arc<RoutePipeline>, &Connection),
    session: &Session,
    exchange: &mut Exchange,
    now: Duration,
) -> Result<HttpStep, Stop> {
    let mark = cache.flights().map(|flights| flights.mark());
    let fetch = match http_cache::look_up(cache, pipeline, session, exchange, now)? {
        Found::Serve(reused) => return Ok(HttpStep::Found(HttpFound::Reused(reused))),
        Found::ServeStale(reused, fetch) => {
            revalidation::start(pipeline.clone(), session, exchange, connection, fetch);
            return Ok(HttpStep::Found(HttpFound::Reused(reused)));
        }
        Found::Forward(Some(fetch)) => fetch,
        Found::Forward(None) => return Ok(HttpStep::Found(HttpFound::Forward(None))),
    };
    Ok(match (fetch.flight(now), mark) {
        (Some(flight), Some(mark)) => HttpStep::Join(fetch, flight, mark),
        _ => HttpStep::Found(HttpFound::Forward(Some(fetch))),
    })
}

/// Joins the equal requests in flight, or leads those that come.
async fn join(
    cache: &Arc<HttpCache>,
    request: (&Arc<RoutePipeline>, &Connection),
    session: &mut Session,
    exchange: &mut Exchange,
    mut step: HttpStep,
) -> Result<HttpFound, Stop> {
    let (pipeline, connection) = request;
    loop {
        let (mut fetch, (key, may_lead), mark) = match step {
            HttpStep::Found(found) => return Ok(found),
            HttpStep::Join(fetch, flight, mark) => (fetch, flight, mark),
        };
        let joined = cache.flights();
        let joined = joined.map(|flights| flights.join(key, mark, may_lead));
        let lead = match joined {
            Some(Joined::Leader(lead)) => lead,
            Some(Joined::LookAgain) => {
                let now = exchange.at(clock::now());
                step = look_up(cache, request, session, exchange, now)?;
                continue;
            }
            Some(Joined::Alone) | None => return Ok(HttpFound::Forward(Some(fetch))),
            Some(Joined::Follower(follower)) => {
                match coalesce::start(pipeline, session, exchange, follower).await? {
                    FollowerStart::Head(head, follower) => {
                        let response = (head, follower);
                        return Ok(follow(pipeline, session, exchange, fetch, response));
                    }
                    FollowerStart::Leader(lead) => lead,
                    FollowerStart::Stored => {
                        let now = exchange.at(clock::now());
                        step = look_up(cache, request, session, exchange, now)?;
                        continue;
                    }
                    FollowerStart::Alone => return Ok(HttpFound::Forward(Some(fetch))),
                    FollowerStart::Failed(failure) => {
                        coalesce::note_collapsed(exchange);
                        let stop = failure.into();
                        let reused = http_cache::of_failure(Some(fetch), exchange, stop);
                        return reused.map(HttpFound::Reused);
                    }
                }
            }
        };
        session.continue_for(lead.continuation(), connection);
        fetch.set_lead(lead);
        return Ok(HttpFound::Forward(Some(fetch)));
    }
}

/// The response to the equal request, if it serves this one.
fn follow(
    pipeline: &RoutePipeline,
    session: &Session,
    exchange: &mut Exchange,
    fetch: Box<HttpFetch>,
    (head, follower): (HttpHead, Follower<HttpHead>),
) -> HttpFound {
    let request = &session.head().headers;
    if !fetch.is_served_by(&head, request) {
        return HttpFound::Forward(Some(fetch));
    }
    let followed = match head.served_as(request) {
        FollowedAs::Unserved => return HttpFound::Forward(Some(fetch)),
        FollowedAs::NotModified(response) => {
            coalesce::note_collapsed(exchange);
            let now = exchange.at(clock::now());
            return HttpFound::Reused(Reused::new(Arc::from(response), now));
        }
        FollowedAs::Whole => Followed::new(head, follower),
        FollowedAs::Part(part) => Followed::part(head, follower, &part),
    };
    coalesce::note_collapsed(exchange);
    HttpFound::Followed(Box::new(followed), pipeline.backend.clone())
}
