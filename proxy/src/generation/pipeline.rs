//! A route pipeline: one route with everything its requests meet, built once a generation.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use ipnet::IpNet;

use super::occupancy::RouteOccupancy;
use super::shared_cache;
use crate::backend::Backend;
use crate::cache::flight::Flights;
use crate::cache::http::HttpCache;
use crate::cache::purge::PurgeTarget;
use crate::cache::redis_tier::{RedisTier, SharedTier};
use crate::cache::{MemoryCounts, ResponseCache};
use crate::config::{self, Config};
use crate::content;
use crate::exchange::Exchange;
use crate::limit::RateLimits;
use crate::limit::concurrency::Concurrency;
use crate::signature::Verifier;
use crate::signature::shared_stores::SharedStores;

/// One route with its stages.
pub(crate) struct RoutePipeline {
    pub(crate) config: Arc<config::Route>,
    pub(crate) verifier: Option<Verifier>,
    pub(crate) limits: Arc<RateLimits>,
    pub(crate) concurrency: Option<Arc<Concurrency>>,
    pub(crate) cache: Option<Arc<ResponseCache>>,
    pub(crate) http_cache: Option<Arc<HttpCache>>,
    /// Where replicas share its responses; `None` without a cache or without Redis.
    pub(crate) redis_tier: Option<RedisTier>,
    pub(crate) backend: Arc<Backend>,
    /// The backends that are used when it fails, in their order.
    pub(crate) fallbacks: Box<[Arc<Backend>]>,
    pub(crate) shared: Arc<GenerationSettings>,
}

/// The settings that all pipelines of a generation share, for the stages behind the route.
#[derive(Debug)]
pub(crate) struct GenerationSettings {
    pub(crate) trusted_proxies: Box<[IpNet]>,
    pub(crate) content: content::Mode,
    /// How long an upgraded connection, or a gRPC stream, may be silent.
    pub(crate) upgrade_idle_timeout: Duration,
}

impl GenerationSettings {
    pub(super) fn new(config: &Config) -> Self {
        GenerationSettings {
            trusted_proxies: config.trusted_proxies.clone().into(),
            content: config.content,
            upgrade_idle_timeout: config.limits.upgrade_idle_timeout,
        }
    }
}

/// What a pipeline is built from, beside its own route.
pub(super) struct Parts<'a> {
    pub(super) backend: &'a Arc<Backend>,
    pub(super) fallbacks: Box<[Arc<Backend>]>,
    pub(super) shared: &'a Arc<GenerationSettings>,
    pub(super) replay_stores: &'a SharedStores,
    pub(super) redis: Option<&'a Arc<SharedTier>>,
    /// The pipeline of the route of that name in the previous generation.
    pub(super) previous: Option<&'a RoutePipeline>,
}

impl RoutePipeline {
    /// Builds the pipeline of `route`. State of the previous generation is carried over where the settings
    /// that it depends on are equal: keys of limits, requests in flight, stored responses.
    pub(super) fn new(route: &Arc<config::Route>, parts: &Parts<'_>) -> Self {
        let previous = parts.previous;
        let unchanged = |setting: fn(&RoutePipeline, &config::Route) -> bool| {
            previous.filter(|previous| setting(previous, route))
        };
        let limits = unchanged(|previous, route| previous.config.rate_limits == route.rate_limits);
        let concurrency =
            unchanged(|previous, route| previous.config.concurrency == route.concurrency);
        let cache_owner = unchanged(|previous, route| {
            previous.config.cache == route.cache
                && previous.config.http_cache == route.http_cache
                && previous.config.matching == route.matching
                && previous.config.platform == route.platform
        });
        // Another backend, or other headers for it, may respond differently. Responses of fallbacks are not stored.
        let cache_owner =
            cache_owner.filter(|previous| previous.backend.config() == parts.backend.config());
        RoutePipeline {
            verifier: Verifier::new(&route.signature, parts.replay_stores),
            limits: match limits {
                Some(previous) => previous.limits.clone(),
                None => Arc::new(RateLimits::new(&route.rate_limits)),
            },
            concurrency: match concurrency {
                Some(previous) => previous.concurrency.clone(),
                None => route.concurrency.map(|max| Arc::new(Concurrency::new(max))),
            },
            cache: match cache_owner {
                Some(previous) => previous.cache.clone(),
                None => route
                    .cache
                    .as_ref()
                    .map(|cache| Arc::new(ResponseCache::new(cache))),
            },
            http_cache: match cache_owner {
                Some(previous) => previous.http_cache.clone(),
                None => route
                    .http_cache
                    .as_ref()
                    .map(|cache| Arc::new(HttpCache::new(cache))),
            },
            redis_tier: shared_cache::tier(route, parts.backend, parts.redis),
            backend: parts.backend.clone(),
            fallbacks: parts.fallbacks.clone(),
            shared: parts.shared.clone(),
            config: route.clone(),
        }
    }

    /// The backends of the route: its own, then the fallbacks.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &Arc<Backend>> {
        std::iter::once(&self.backend).chain(&self.fallbacks)
    }

    /// What its cache holds, and has removed since the last call; `None` without a cache.
    pub(super) fn take_cache_counts(&self) -> Option<MemoryCounts> {
        let http = self.http_cache.as_ref();
        self.cache
            .as_ref()
            .map(|cache| cache.take_counts())
            .or_else(|| http.map(|cache| cache.take_counts()))
    }

    /// Removes responses from its cache. Returns their number; `None` without a cache.
    pub(super) fn purge_memory(&self, target: &PurgeTarget) -> Option<u64> {
        let http = self.http_cache.as_ref();
        self.cache
            .as_ref()
            .map(|cache| cache.purge(target))
            .or_else(|| http.map(|cache| cache.purge(target)))
    }

    /// Whether responses are stored.
    pub(crate) fn has_cache(&self) -> bool {
        self.cache.is_some() || self.http_cache.is_some()
    }

    fn followers(&self) -> Option<usize> {
        let answers = self.cache.as_ref().and_then(|cache| cache.flights());
        let http = self.http_cache.as_ref().and_then(|cache| cache.flights());
        answers
            .map(Flights::followers)
            .or_else(|| http.map(Flights::followers))
    }

    pub(super) fn occupancy(&self) -> RouteOccupancy {
        let limited = !self.config.rate_limits.is_empty();
        let in_use = self.concurrency.as_ref().map(|places| places.in_use());
        RouteOccupancy {
            route: self.config.name.clone(),
            limit_keys: limited.then(|| self.limits.keys() as u64),
            followers: self.followers().map(|followers| followers as u64),
            in_use: in_use.map(|in_use| in_use as u64),
        }
    }

    /// The headers of the verified signature: those that are stripped from what the backend gets, and those
    /// that are forwarded and no part of a cache key.
    pub(crate) fn signature_headers(&self, exchange: &Exchange) -> (&[HeaderName], &[HeaderName]) {
        match (&self.verifier, &exchange.signature) {
            (Some(verifier), Some(signature)) => (
                verifier.stripped_headers(signature.scheme),
                verifier.verified_headers(signature.scheme),
            ),
            _ => (&[], &[]),
        }
    }

    /// Whether a request that may be repeated is sent again where an attempt has failed.
    pub(crate) fn repeats_requests(&self) -> bool {
        !self.fallbacks.is_empty() || self.backend.config().retry.repeats()
    }

    /// Whether a request is the delivery of a platform: its scheme is one of those that platforms sign with.
    pub(crate) fn is_delivery(&self, exchange: &Exchange) -> bool {
        exchange.signature.as_ref().is_some_and(|signature| {
            let mut schemes = self.config.signature.iter();
            schemes.any(|scheme| scheme.scheme() == signature.scheme && scheme.platform().is_some())
        })
    }

    /// Whether a stage reads the body: the signature stage or the cache.
    pub(crate) fn reads_body(&self) -> bool {
        self.verifies_body() || self.cache.is_some()
    }

    /// Whether the signature covers the body.
    pub(crate) fn verifies_body(&self) -> bool {
        self.verifier.as_ref().is_some_and(Verifier::reads_body)
    }
}
