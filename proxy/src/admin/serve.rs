//! The accept loop: a bounded number of connections, none of which can starve the others (slowloris).

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use crate::listener::descriptors::is_exhaustion;
use crate::system::memory;
use crate::worker::Worker;
use crate::worker::runtime::StopSignal;

/// Beyond so many connections the oldest is closed for a new one: a client that only holds connections open
/// cannot keep out a probe or a scrape.
pub(super) const CONNECTIONS_MAX: usize = 64;
/// For a whole request head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
const HEADER_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// After this a connection is closed once its response is sent.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(600);
/// How long a response in flight has when its connection must end.
const GRACE: Duration = Duration::from_secs(1);
/// How long a connection without a request yet is kept at the stop.
const FIRST_REQUEST: Duration = Duration::from_millis(200);
/// How many file descriptors are reserved for the admin API.
const SPARE_DESCRIPTORS: usize = 8;
/// The pause after an accept that failed, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The address of the client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

/// Serves until the stop.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    mut stop: StopSignal,
    worker: &Worker,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut tasks = JoinSet::new();
    let mut oldest_first: VecDeque<AbortHandle> = VecDeque::new();
    let mut is_used = false;
    let mut spare = Vec::new();
    reserve(&listener, &mut spare);
    loop {
        let accepted = tokio::select! {
            _ = stop.wait_for(Option::is_some) => break,
            accepted = listener.accept() => accepted,
            () = sleep(memory::INTERVAL), if is_used => {
                // Idle for a while.
                memory::return_unused();
                reserve(&listener, &mut spare);
                is_used = false;
                continue;
            }
        };
        is_used = true;
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // All descriptors are in use but the reserved ones.
            Err(error) if is_exhaustion(&error) && !spare.is_empty() => {
                spare.clear();
                continue;
            }
            Err(error) => {
                log::warn!("the admin listener cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        worker.fault_point();
        while tasks.try_join_next().is_some() {}
        oldest_first.retain(|task| !task.is_finished());
        if oldest_first.len() >= CONNECTIONS_MAX
            && let Some(oldest) = oldest_first.pop_front()
        {
            oldest.abort();
        }
        let router = router.clone().layer(Extension(Peer(peer.ip())));
        oldest_first.push_back(tasks.spawn(connection(stream, router, stop.clone())));
    }
    drop(listener);
    // Each connection has seen the stop as well, and ends within its grace period.
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Reserves file descriptors: one for a connection, and some for what its response reads.
fn reserve(listener: &tokio::net::TcpListener, spare: &mut Vec<OwnedFd>) {
    while spare.len() < SPARE_DESCRIPTORS
        && let Ok(one) = rustix::io::fcntl_dupfd_cloexec(listener, 0)
    {
        spare.push(one);
    }
}

async fn connection(stream: TcpStream, router: Router, mut stop: StopSignal) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let (router, requested) = (TowerToHyperService::new(router), Arc::new(Notify::new()));
    let notified = requested.clone();
    let service = service_fn(move |request| {
        notified.notify_one();
        router.call(request)
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // How a connection ends is up to its client: a reset or a timeout is not logged.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = sleep(CONNECTION_AGE_MAX) => {}
        _ = stop.wait_for(Option::is_some) => {}
    }
    // A client that has just connected may have sent its request.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = requested.notified() => {}
        () = sleep(FIRST_REQUEST) => {}
    }
    connection.as_mut().graceful_shutdown();
    drop(timeout(GRACE, connection).await);
}
