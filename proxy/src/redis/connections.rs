//! The connections: one for each worker, opened together.

use std::future::Future;
use std::thread::ThreadId;
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::io::tcp::TcpSettings;
use ::redis::{Client, IntoConnectionInfo as _, RedisError, RedisResult, cmd};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use super::Config;
use super::reason::{ConnectError, Severity, severity};

/// How long an attempt to connect may take; a command has a shorter deadline of its own.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// How many commands may wait to be written to one connection.
const PIPELINE_COMMANDS: usize = 256;

/// The connections by the thread whose runtime drives them.
#[derive(Default)]
pub(crate) struct WorkerConnections(Vec<(ThreadId, ConnectionManager)>);

impl WorkerConnections {
    /// Opens one for the current thread, which is probed first, and one for each of the runtimes of `workers`.
    pub(super) async fn open(config: &Config, workers: &[Handle]) -> Result<Self, ConnectError> {
        let own = within(probed(config)).await?;
        let mut opening = JoinSet::new();
        for worker in workers {
            let config = config.clone();
            opening.spawn_on(async move { connected(&config).await }, worker);
        }
        let opened = within(async {
            let mut opened = vec![own];
            while let Some(joined) = opening.join_next().await {
                // A worker that has ended needs no connection.
                if let Ok(connection) = joined {
                    opened.push(connection?);
                }
            }
            Ok::<_, RedisError>(opened)
        });
        opened.await.map(WorkerConnections)
    }

    /// The connection of this thread; for a thread without one, that of another.
    pub(super) fn of_this_worker(&self) -> Option<ConnectionManager> {
        let this = std::thread::current().id();
        let mut connections = self.0.iter();
        let own = connections.find(|(thread, _)| *thread == this);
        own.or(self.0.first())
            .map(|(_, connection)| connection.clone())
    }
}

async fn within<T, E>(opening: impl Future<Output = Result<T, E>>) -> Result<T, ConnectError>
where
    ConnectError: From<E>,
{
    match tokio::time::timeout(CONNECT_MAX, opening).await {
        Ok(opened) => Ok(opened?),
        Err(_) => Err(ConnectError::TimedOut),
    }
}

/// A connection to a server that accepts writes: after a failover, the address may still be that of a replica.
async fn probed(config: &Config) -> RedisResult<(ThreadId, ConnectionManager)> {
    let (thread, mut connection) = connected(config).await?;
    let _: () = cmd("PING").query_async(&mut connection).await?;
    let mut write = cmd("SET");
    write.arg("weir:probe").arg(1).arg("PX").arg(1);
    let written: RedisResult<()> = write.query_async(&mut connection).await;
    match written {
        // Such as a full memory, or a missing permission: stored entries can still be read.
        Err(error) if severity(&error) == Severity::Command => {}
        written => written?,
    }
    Ok((thread, connection))
}

async fn connected(config: &Config) -> RedisResult<(ThreadId, ConnectionManager)> {
    let limits = ConnectionManagerConfig::new()
        .set_number_of_retries(0)
        .set_connection_timeout(Some(CONNECT_MAX))
        // Each command has its own deadline.
        .set_response_timeout(None)
        .set_pipeline_buffer_size(PIPELINE_COMMANDS);
    let connection = ConnectionManager::new_with_config(client(config)?, limits).await?;
    Ok((std::thread::current().id(), connection))
}

fn client(config: &Config) -> RedisResult<Client> {
    // A command must not wait for the acknowledgement of the one before it.
    let without_delay = TcpSettings::default().set_nodelay(true);
    let info = config.url.expose_secret().into_connection_info()?;
    let info = info.set_tcp_settings(without_delay);
    // TLS trusts the system's roots, or those of `SSL_CERT_FILE`.
    Client::open(info)
}
