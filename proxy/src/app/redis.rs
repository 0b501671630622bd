//! Runs what belongs to the Redis in use, on a thread of its own: its connections, the writes behind answers, and the
//! purges of other replicas. A reload may replace it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use pingora_runtime::Runtime;
use prometheus::IntGauge;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::listening::each_worker;
use crate::cache::redis_tier::SharedTier;
use crate::cache::redis_tier::metrics::EntryMetrics;
use crate::gateway::Gateway;
use crate::metrics::Metrics;
use crate::redis::keeper;
use crate::redis::metrics::RedisMetrics;
use crate::worker::runtime::{RuntimeThread, StopSignal};

/// How soon after a reload another Redis is used: the generation is compared on a timer, as health checks do.
const INTERVAL: Duration = Duration::from_secs(1);

/// What a thread for a Redis needs.
struct RedisThreads {
    gateway: Arc<Gateway>,
    workers: Vec<Handle>,
    metrics: Arc<Metrics>,
    commands: RedisMetrics,
    entries: EntryMetrics,
}

/// The thread of the Redis in use.
struct RunningThread {
    tier: Arc<SharedTier>,
    up: IntGauge,
    /// Ends when it is dropped.
    _thread: RuntimeThread,
}

/// Starts it, and follows reloads until the proxy stops. Nothing waits for a connection.
///
/// # Errors
/// Only when the catalog has an invalid or a duplicate name, or a thread cannot be created.
pub(super) fn start(
    runtime: &Runtime,
    gateway: Arc<Gateway>,
    metrics: &Arc<Metrics>,
    mut shutdown: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let threads = RedisThreads {
        gateway,
        workers: each_worker(runtime),
        metrics: metrics.clone(),
        commands: RedisMetrics::register(metrics)?,
        entries: EntryMetrics::register(metrics)?,
    };
    let mut running = threads.next(None)?;
    runtime.get_handle().spawn(async move {
        let mut tick = tokio::time::interval(INTERVAL);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                _ = shutdown.wait_for(|begun| *begun) => break,
            }
            running = match threads.next(running) {
                Ok(running) => running,
                Err(error) => {
                    log::error!("redis is not used: {error}");
                    None
                }
            };
        }
        // Requests in flight still use it: it ends with the runtime.
        let _running = running;
        std::future::pending::<()>().await;
    });
    Ok(())
}

impl RedisThreads {
    /// The thread of the Redis of the current generation.
    fn next(&self, running: Option<RunningThread>) -> anyhow::Result<Option<RunningThread>> {
        let generation = self.gateway.generation();
        let wanted = generation.redis();
        let is_same = match (&running, wanted) {
            (Some(running), Some(wanted)) => Arc::ptr_eq(&running.tier, wanted),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        if is_same {
            return Ok(running);
        }
        if let Some(replaced) = running {
            // A Redis that is not used any more is not down.
            replaced.up.set(1);
        }
        wanted.map(|wanted| self.spawn(wanted)).transpose()
    }

    fn spawn(&self, tier: &Arc<SharedTier>) -> anyhow::Result<RunningThread> {
        tier.redis().expose(self.commands.clone());
        tier.expose(self.entries.clone());
        let up = self.metrics.dependency("redis")?;
        let (gateway, workers) = (self.gateway.clone(), self.workers.clone());
        let (shared, connected) = (tier.clone(), up.clone());
        let thread_worker = self.metrics.worker("redis")?;
        let worker = thread_worker.clone();
        let make = move |stop: StopSignal| {
            move || {
                let (gateway, tier) = (gateway.clone(), shared.clone());
                let connected = keeper::keep_connected(
                    tier.redis().clone(),
                    workers.clone(),
                    connected.clone(),
                    worker.clone(),
                );
                run(connected, gateway, tier, stop.clone())
            }
        };
        Ok(RunningThread {
            tier: tier.clone(),
            up,
            _thread: RuntimeThread::start(thread_worker, make)?,
        })
    }
}

async fn run(
    connected: impl Future<Output = ()>,
    gateway: Arc<Gateway>,
    tier: Arc<SharedTier>,
    mut stop: StopSignal,
) -> Result<(), Infallible> {
    let purges = tier.clone().follow_purges(|purge| {
        let (route, key) = (purge.route.as_deref(), purge.key.as_deref());
        let _ = gateway.generation().purge_memory(route, key);
    });
    tokio::select! {
        () = connected => {}
        () = tier.write_queued() => {}
        () = purges => {}
        _ = stop.wait_for(Option::is_some) => {}
    }
    Ok(())
}
