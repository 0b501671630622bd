//! The cache stage of a route with an HTTP cache: a stored response, the response to an equal request in flight, or the
//! backend's.
//!
//! A request joins those with the same key before anything is known of the response. Once the head has arrived that their
//! leader gets, it may turn out not to be shared, or to be for other requests (`Vary`): all that follow then go on alone
//! at once, and the key is remembered, so that the next ones do not wait at all.

use std::sync::Arc;

use super::coalesce::{self, Followed};
use super::followed::FollowedBody;
use super::http_cache::{self, Found, HttpFetch};
use super::mode::RequestKind;
use super::reused::Reused;
use super::{ResponseSource, Stop, revalidation};
use crate::cache::flight::{FollowerStart, Joined};
use crate::cache::http::HttpHead;
use crate::clock;
use crate::exchange::Exchange;
use crate::generation::pipeline::RoutePipeline;
use crate::http::Connection;
use crate::http::session::Session;

/// What the cache stage decided for a request.
#[expect(
    clippy::large_enum_variant,
    reason = "it is moved once, and boxing it costs each request an allocation"
)]
pub(super) enum HttpFound {
    Served(ResponseSource),
    /// It is sent to the backend; with what the cache does with the response, if anything.
    Forward(Option<Box<HttpFetch>>),
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
    let mut now = exchange.received_at;
    loop {
        let marked = cache.flights().map(|flights| (flights, flights.mark()));
        let mut fetch = match http_cache::look_up(cache, pipeline, session, exchange, now)? {
            Found::Serve(reused) => {
                return Ok(HttpFound::Served(ResponseSource::Reused(reused)));
            }
            Found::ServeStale(reused, fetch) => {
                revalidation::start(pipeline.clone(), session, exchange, connection, fetch);
                return Ok(HttpFound::Served(ResponseSource::Reused(reused)));
            }
            Found::Forward(Some(fetch)) => fetch,
            Found::Forward(None) => return Ok(HttpFound::Forward(None)),
        };
        let flight = fetch.flight(now);
        let (Some((flights, mark)), Some(key)) = (marked, flight) else {
            return Ok(HttpFound::Forward(Some(fetch)));
        };
        let lead = match flights.join(key, mark) {
            Joined::Leader(lead) => lead,
            Joined::LookAgain => continue,
            Joined::Alone => return Ok(HttpFound::Forward(Some(fetch))),
            Joined::Follower(follower) => {
                let started = coalesce::start(pipeline, session, exchange, follower);
                let started = Box::pin(started).await?;
                now = exchange.at(clock::now());
                match started {
                    FollowerStart::Head(head, follower) => {
                        let body = FollowedBody::new(follower);
                        return Ok(follow(pipeline, session, exchange, fetch, (head, body)));
                    }
                    FollowerStart::Leader(lead) => lead,
                    FollowerStart::Stored => continue,
                    FollowerStart::Alone => return Ok(HttpFound::Forward(Some(fetch))),
                    FollowerStart::Failed(failure) => {
                        coalesce::note_collapsed(exchange);
                        let stop = failure.refusal().into();
                        let source = http_cache::of_failure(Some(fetch), exchange, stop);
                        return source.map(HttpFound::Served);
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
    (head, body): (HttpHead, FollowedBody<HttpHead>),
) -> HttpFound {
    let request = &session.head().headers;
    if !fetch.is_served_by(&head, request) {
        return HttpFound::Forward(Some(fetch));
    }
    coalesce::note_collapsed(exchange);
    HttpFound::Served(match head.if_unmodified(request) {
        Some(response) => {
            let reused = Reused::new(Arc::new(response), exchange.at(clock::now()));
            ResponseSource::Reused(reused)
        }
        None => {
            let followed = Box::new(Followed { head, body });
            ResponseSource::HttpFollowed(followed, pipeline.backend.clone())
        }
    })
}
