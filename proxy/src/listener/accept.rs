//! The accept loop: takes connections while there is room for them.
//!
//! Each connection is served by one of pingora's runtimes, whose own events wake it. Where descriptors
//! run out, nothing is accepted: clients wait in the kernel's queue, and the admin side answers.

use std::future::poll_fn;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener as TokioListener, TcpStream as TokioStream};
use tokio_rustls::TlsAcceptor;

use super::Listener;
use super::descriptors::{Descriptors, Room, is_want};
use crate::clock;
use crate::http::connections::{Connections, Entry};
use crate::http::head;
use crate::log_throttle::{LogDecision, LogThrottle};

/// How long nothing is accepted when there is no room, unless a connection is closed before.
const PAUSE: Duration = Duration::from_millis(50);
/// A lack of room is told so often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// One listening socket, and what is done with its connections.
pub(crate) struct Accepting {
    pub(crate) socket: TcpListener,
    /// With TLS.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) listener: Arc<Listener>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) descriptors: Descriptors,
    pub(crate) stopping: ShutdownWatch,
    complaint: Mutex<LogThrottle>,
}

impl Accepting {
    pub(crate) fn new(
        socket: TcpListener,
        tls: Option<TlsAcceptor>,
        listener: Arc<Listener>,
        descriptors: Descriptors,
        stopping: ShutdownWatch,
    ) -> Self {
        Accepting {
            socket,
            tls,
            connections: listener.connections.clone(),
            listener,
            descriptors,
            stopping,
            complaint: Mutex::new(LogThrottle::every(COMPLAIN_EVERY)),
        }
    }

    /// Accepts until the proxy stops; whoever has connected by then is still served.
    pub(crate) async fn run(self) {
        let listener = match self.socket.try_clone().and_then(TokioListener::from_std) {
            Ok(listener) => listener,
            Err(error) => return log::error!("cannot accept connections: {error}"),
        };
        let stopping = head::stop(self.stopping.clone());
        tokio::select! {
            () = self.accept(&listener) => {}
            () = stopping => self.empty_queue(&listener).await,
        }
    }

    async fn accept(&self, listener: &TokioListener) {
        loop {
            self.wait_for_room().await;
            match listener.accept().await {
                Ok((client, peer)) => self.serve(client, peer),
                Err(error) if is_want(&error) => {
                    self.complain();
                    pingora::time::sleep(PAUSE).await;
                }
                // The client is gone already (accept(2)); the next one may be there.
                Err(error) => log::debug!("a connection was lost before it was accepted: {error}"),
            }
        }
    }

    /// Takes whoever has connected already: its request may be under way.
    async fn empty_queue(&self, listener: &TokioListener) {
        while self.room() == Room::Free {
            let accepted = poll_fn(|context| match listener.poll_accept(context) {
                Poll::Ready(Ok(accepted)) => Poll::Ready(Some(accepted)),
                Poll::Ready(Err(_)) | Poll::Pending => Poll::Ready(None),
            });
            match accepted.await {
                Some((client, peer)) => self.serve(client, peer),
                None => return,
            }
        }
    }

    fn room(&self) -> Room {
        match self.connections.sockets() < self.descriptors.clients_max {
            true => self.descriptors.room(&self.socket),
            false => Room::Full,
        }
    }

    async fn wait_for_room(&self) {
        while self.room() == Room::Full {
            self.complain();
            // Descriptors are given back by others, too, who say nothing.
            tokio::select! {
                () = self.connections.wait_for_close() => {}
                () = pingora::time::sleep(PAUSE) => {}
            }
        }
    }

    fn complain(&self) {
        if self.complaint.lock().failed(clock::now()) == LogDecision::Log {
            log::warn!(
                "no connection is accepted until one is closed: {} are open, and the file \
                 descriptors that are left are kept for backends and the admin side",
                self.connections.sockets()
            );
        }
    }

    fn serve(&self, client: TokioStream, peer: SocketAddr) {
        let entry = self.connections.enter();
        if matches!(entry, Entry::Full) {
            return;
        }
        // Without this runtime's events: those of the one that serves it are to wake it.
        let Ok(client) = client.into_std() else {
            return;
        };
        let listener = self.listener.clone();
        let (tls, stopping) = (self.tls.clone(), self.stopping.clone());
        pingora_runtime::current_handle().spawn(async move {
            listener
                .connection(client, peer, tls, entry, stopping)
                .await;
        });
    }
}
