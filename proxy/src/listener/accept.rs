//! The accept loop: accepts connections while there is capacity for them.
//!
//! Each connection is served by one of pingora's runtimes, whose own events wake it. When file descriptors
//! run out, nothing is accepted (backpressure): clients wait in the kernel's backlog, and the admin listener
//! still responds.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener as TokioListener, TcpStream as TokioStream};
use tokio::runtime::Handle;
use tokio::task::coop::unconstrained;
use tokio_rustls::TlsAcceptor;

use super::Listener;
use super::descriptors::{Capacity, Descriptors, is_exhaustion};
use crate::clock;
use crate::handover_flag::HandoverFlag;
use crate::http::connections::{Admission, Connections};
use crate::http::head;
use crate::log_throttle::{LogDecision, LogThrottle};

/// The connections that may wait to be accepted.
pub(crate) const BACKLOG: i32 = 4096;
/// How long accepting pauses when there is no capacity, unless a connection is closed earlier.
const PAUSE: Duration = Duration::from_millis(50);
/// How often a lack of capacity is logged.
const LOG_EVERY: Duration = Duration::from_secs(60);

/// One listening socket and what serves its connections.
pub(crate) struct Accepting {
    pub(crate) socket: TcpListener,
    /// `None` without TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) descriptors: Descriptors,
    pub(crate) shutdown: ShutdownWatch,
    /// Set when another process accepts on the same socket.
    is_passed_on: Arc<HandoverFlag>,
    /// The runtimes of the workers, used in turn.
    workers: Arc<[Handle]>,
    next_worker: AtomicUsize,
    log_throttle: Mutex<LogThrottle>,
}

impl Accepting {
    pub(crate) fn new(
        (socket, is_passed_on): (TcpListener, Arc<HandoverFlag>),
        tls: Option<TlsAcceptor>,
        listener: Arc<Listener>,
        descriptors: Descriptors,
        shutdown: ShutdownWatch,
        workers: Arc<[Handle]>,
    ) -> Self {
        Accepting {
            socket,
            tls,
            connections: listener.connections.clone(),
            listener,
            descriptors,
            shutdown,
            is_passed_on,
            workers,
            next_worker: AtomicUsize::new(0),
            log_throttle: Mutex::new(LogThrottle::every(LOG_EVERY)),
        }
    }

    /// Accepts until the proxy drains. Clients that have connected by then are still served: here, or by the process that
    /// has taken over the socket.
    pub(crate) async fn run(self) {
        let listener = match self.socket.try_clone().and_then(TokioListener::from_std) {
            Ok(listener) => listener,
            Err(error) => return log::error!("cannot accept connections: {error}"),
        };
        let shutdown_begun = head::shutdown_begun(self.shutdown.clone());
        tokio::select! {
            () = self.accept(&listener) => {}
            () = shutdown_begun => if !self.is_passed_on.is_set() {
                self.drain_queue(&listener).await;
            },
        }
    }

    async fn accept(&self, listener: &TokioListener) {
        loop {
            self.wait_for_capacity().await;
            match listener.accept().await {
                Ok((client, peer)) => self.serve(client, peer),
                Err(error) if is_exhaustion(&error) => {
                    self.log_exhaustion();
                    pingora::time::sleep(PAUSE).await;
                }
                // The client has disconnected already (accept(2)); the next one may be waiting.
                Err(error) => log::debug!("a connection was lost before it was accepted: {error}"),
            }
        }
    }

    /// Accepts clients that have connected already: they may have sent requests.
    async fn drain_queue(&self, listener: &TokioListener) {
        for _ in 0..BACKLOG {
            if self.capacity() != Capacity::Free {
                return;
            }
            let accepted = poll_fn(|context| match listener.poll_accept(context) {
                Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
            });
            // Without the budget of the task, whose end looks like that of the queue.
            match unconstrained(accepted).await {
                Some((client, peer)) => self.serve(client, peer),
                None => return,
            }
        }
    }

    fn capacity(&self) -> Capacity {
        match self.connections.sockets() < self.descriptors.clients_max {
            true => self.descriptors.capacity(&self.socket),
            false => Capacity::Full,
        }
    }

    async fn wait_for_capacity(&self) {
        while self.capacity() == Capacity::Full {
            self.log_exhaustion();
            // Other parts free descriptors too, without a notification.
            tokio::select! {
                () = self.connections.wait_for_close() => {}
                () = pingora::time::sleep(PAUSE) => {}
            }
        }
    }

    fn log_exhaustion(&self) {
        if self.log_throttle.lock().failed(clock::now()) == LogDecision::Log {
            log::warn!(
                "no further connection is accepted until one is closed: {} are open, and the \
                 remaining file descriptors are reserved for backends and the admin listener",
                self.connections.sockets()
            );
        }
    }

    fn serve(&self, client: TokioStream, peer: SocketAddr) {
        let admission = self.connections.admit();
        if matches!(admission, Admission::Full) {
            return;
        }
        // Deregistered from this runtime: the runtime that serves the connection must receive its events.
        let Ok(client) = client.into_std() else {
            return;
        };
        let listener = self.listener.clone();
        let (tls, shutdown) = (self.tls.clone(), self.shutdown.clone());
        let turn = self.next_worker.fetch_add(1, Ordering::Relaxed);
        let Some(worker) = self.workers.get(turn % self.workers.len().max(1)) else {
            return;
        };
        worker.spawn(async move {
            listener
                .connection(client, peer, tls, admission, shutdown)
                .await;
        });
    }
}
