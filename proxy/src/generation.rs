//! A generation: what a configuration builds, and what a reload replaces as a whole.
//!
//! The routes with their stages, and the settings that those share. A generation is immutable; the gateway
//! holds the current one in an `ArcSwap` and loads it once a request, in the route stage. A request keeps the
//! pipeline that it found: a swap changes nothing for requests in flight, and the previous generation is
//! freed with the last of them. What lives as long as the process (sockets, runtimes, metrics, recorders,
//! shippers, the admin API) is in `app`. Alert rules are evaluated by a thread of their own and no request meets
//! them: `app/installer.rs` passes them to the engine (`alert::engine`) when it installs the generation.
//!
//! Building a generation takes the previous one. State is carried over where the settings that it depends
//! on are equal: replay protection, keys of limits, requests in flight, stored responses, and the pools of
//! connections to backends.

use std::sync::Arc;

use crate::backend::Backend;
use crate::backend::snapshot::BackendSnapshot;
use crate::backend::tls::TlsClients;
use crate::cache::MemoryCounts;
use crate::cache::redis_tier::SharedTier;
use crate::clock;
use crate::config::{self, Config};
use crate::exchange::EventSampling;
use crate::route::Table;
use crate::route::path::EncodedSlash;
use crate::signature::shared_stores::{SeenElsewhere, SharedStores};
use crate::trace::TraceSampling;

pub mod occupancy;
pub(crate) mod pipeline;
mod purge;
mod shared_cache;

use occupancy::{Occupancy, OpenCircuitCount};
use pipeline::{GenerationSettings, Parts, RoutePipeline};

/// What a checked configuration builds.
pub struct Generation {
    pub(crate) table: Table,
    /// In the order of the routes.
    pub(crate) pipelines: Box<[Arc<RoutePipeline>]>,
    pub(crate) header_bytes: usize,
    pub(crate) trace_sampling: TraceSampling,
    pub(crate) event_sampling: EventSampling,
    pub(crate) encoded_slash: EncodedSlash,
    pub(crate) shared: Arc<GenerationSettings>,
    backends: Box<[Arc<Backend>]>,
    tls: TlsClients,
    replay_stores: SharedStores,
    redis: Option<Arc<SharedTier>>,
}

impl Generation {
    /// The first generation of a process.
    #[must_use]
    pub fn first(config: &Config) -> Arc<Self> {
        Generation::build(config, &TlsClients::with_system_roots(), None, None)
    }

    /// As [`Generation::first`], with what a predecessor of this process has seen.
    #[must_use]
    pub fn first_after(config: &Config, seen: &SeenElsewhere) -> Arc<Self> {
        let stores = seen.stores();
        Generation::build(
            config,
            &TlsClients::with_system_roots(),
            None,
            Some(&stores),
        )
    }

    /// The generation that follows this one.
    #[must_use]
    pub fn next(&self, config: &Config) -> Arc<Self> {
        let stores = Some(&self.replay_stores);
        Generation::build(config, &self.tls, Some(self), stores)
    }

    fn build(
        config: &Config,
        tls: &TlsClients,
        previous: Option<&Generation>,
        replay_stores: Option<&SharedStores>,
    ) -> Arc<Self> {
        let settings = config.backends.iter().map(|backend| backend.tls.as_ref());
        let tls = tls.next(settings);
        let backends = config.backends.iter().map(|backend| {
            let known = previous.and_then(|previous| previous.backend(&backend.name));
            match known.filter(|known| known.config() == backend) {
                Some(known) => known.clone(),
                None => {
                    let tls = tls.get(backend.tls.as_ref());
                    let known = known.map(|known| &**known);
                    Arc::new(Backend::replacing(known, backend.clone(), &tls))
                }
            }
        });
        let backends: Box<[_]> = backends.collect();
        let shared = Arc::new(GenerationSettings::new(config));
        let schemes = config.routes.iter().flat_map(|route| &route.signature);
        let replay_stores = match replay_stores {
            Some(previous) => previous.next(schemes),
            None => SharedStores::new(schemes),
        };
        let redis = config.redis.as_ref().map(|redis| {
            let known = previous.and_then(|previous| previous.redis.as_ref());
            match known.filter(|known| known.redis().config() == redis) {
                Some(known) => known.clone(),
                None => SharedTier::new(redis),
            }
        });
        let pipelines = config.routes.iter().map(|route| {
            let parts = Parts {
                backend: &backends[route.backend],
                fallbacks: fallbacks(&backends, route.backend),
                shared: &shared,
                replay_stores: &replay_stores,
                redis: redis.as_ref(),
                previous: previous.and_then(|previous| previous.pipeline(&route.name)),
            };
            Arc::new(RoutePipeline::new(route, &parts))
        });
        Arc::new(Generation {
            table: table(&config.routes),
            pipelines: pipelines.collect(),
            // The listener keeps the bound that it was started with, and HTTP/2 must not differ from it.
            header_bytes: previous
                .map_or(config.limits.header_bytes, |previous| previous.header_bytes),
            trace_sampling: config.trace_sampling,
            event_sampling: config.event_sampling,
            encoded_slash: config.encoded_slash,
            shared,
            backends,
            tls,
            replay_stores,
            redis,
        })
    }

    /// In the order of the configuration.
    #[must_use]
    pub fn backends(&self) -> &[Arc<Backend>] {
        &self.backends
    }

    /// The state of the backends, in the order of the configuration.
    #[must_use]
    pub fn snapshots(&self) -> Vec<BackendSnapshot> {
        let (now, unix_now) = (clock::now(), clock::unix_now());
        let backends = self.backends.iter();
        backends
            .map(|backend| backend.snapshot(now, unix_now))
            .collect()
    }

    fn backend(&self, name: &str) -> Option<&Arc<Backend>> {
        let mut backends = self.backends.iter();
        backends.find(|backend| *backend.config().name == *name)
    }

    fn pipeline(&self, name: &str) -> Option<&RoutePipeline> {
        let pipelines = self.pipelines.iter().map(|pipeline| &**pipeline);
        pipelines
            .into_iter()
            .find(|pipeline| *pipeline.config.name == *name)
    }

    /// How many entries of the replay store were evicted before they expired.
    #[must_use]
    pub fn replay_dropped(&self) -> u64 {
        self.replay_stores.dropped()
    }

    /// Which requests are remembered against a replay.
    #[must_use]
    pub fn replay_stores(&self) -> &SharedStores {
        &self.replay_stores
    }

    /// What replicas share; `None` without Redis.
    #[must_use]
    pub fn redis(&self) -> Option<&Arc<SharedTier>> {
        self.redis.as_ref()
    }

    /// Removes idle limit keys and expired responses; called on a timer.
    pub fn forget_idle(&self) {
        let now = clock::unix_now();
        for pipeline in &self.pipelines {
            pipeline.limits.forget_idle();
            if let Some(cache) = &pipeline.cache {
                cache.remove_expired(now);
            }
            if let Some(cache) = &pipeline.http_cache {
                cache.remove_expired(now);
            }
        }
    }

    /// The endpoints with an open circuit, by backend.
    #[must_use]
    pub fn open_circuits(&self) -> Vec<OpenCircuitCount> {
        let now = clock::now();
        let backends = self.backends.iter();
        let counts = backends.map(|backend| OpenCircuitCount {
            backend: backend.config().name.clone(),
            endpoints: backend.open_circuits(now) as u64,
        });
        counts.collect()
    }

    /// What the cache of each route holds, and has removed since the last call.
    #[must_use]
    pub fn take_cache_counts(&self) -> Vec<(Arc<str>, MemoryCounts)> {
        let pipelines = self.pipelines.iter();
        let counts = pipelines.filter_map(|pipeline| {
            let counts = pipeline.take_cache_counts()?;
            Some((pipeline.config.name.clone(), counts))
        });
        counts.collect()
    }

    /// What the pipelines occupy now.
    #[must_use]
    pub fn occupancy(&self) -> Occupancy {
        let pipelines = self.pipelines.iter();
        Occupancy {
            routes: pipelines.map(|pipeline| pipeline.occupancy()).collect(),
            backends: self.open_circuits(),
            ..Occupancy::default()
        }
    }
}

impl std::fmt::Debug for Generation {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Generation")
            .field("routes", &self.pipelines.len())
            .finish_non_exhaustive()
    }
}

/// The fallback of a backend, the fallback of that, and so on.
fn fallbacks(backends: &[Arc<Backend>], of: usize) -> Box<[Arc<Backend>]> {
    let fallback = |backend: &Arc<Backend>| {
        let name = backend.config().fallback.as_ref()?;
        let mut backends = backends.iter();
        backends.find(|other| other.config().name == *name).cloned()
    };
    let first = backends.get(of).and_then(fallback);
    // A checked configuration has no loop; this bound holds for any.
    std::iter::successors(first, fallback)
        .take(backends.len())
        .collect()
}

fn table(routes: &[Arc<config::Route>]) -> Table {
    let matching = routes.iter().map(|route| route.matching.clone());
    Table::new(matching.collect(), config::Route::requirements(routes))
}
