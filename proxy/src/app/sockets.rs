//! Binds the addresses, unless the predecessor passes their sockets, and configures TLS on them.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_rustls::TlsAcceptor;

use super::ListenScheme;
use super::inherited::{InheritedSockets, SocketAddresses};
use super::upgrade::OfferedSocket;
use crate::admin::Admin;
use crate::alert::identity::instance;
use crate::config::Config;
use crate::listener::accept::BACKLOG;
use crate::listener::tls::Certificates;

/// Bound sockets, before connections are accepted on them.
pub(super) struct Sockets {
    pub(super) listeners: Vec<BoundListener>,
    pub(super) admin: TcpListener,
}

/// A socket for requests.
pub(super) struct BoundListener {
    pub(super) address: SocketAddr,
    pub(super) scheme: ListenScheme,
    pub(super) socket: TcpListener,
}

impl Sockets {
    /// Takes the sockets of the predecessor, and binds all addresses that it does not have.
    ///
    /// # Errors
    /// When an address is in use, or does not belong to this machine.
    pub(super) fn bind(config: &Config, inherited: &mut InheritedSockets) -> anyhow::Result<Self> {
        let listeners = config.listen.iter().map(|listen| {
            let address = listen.address;
            let socket = match inherited.take(address) {
                Some(socket) => Ok(socket),
                None => bind(address).map_err(in_use),
            };
            let socket = socket.with_context(|| format!("cannot listen on {address}"))?;
            let scheme = match listen.tls {
                Some(_) => ListenScheme::Https,
                None => ListenScheme::Http,
            };
            Ok(BoundListener {
                address: socket.local_addr()?,
                scheme,
                socket,
            })
        });
        let listeners = listeners.collect::<anyhow::Result<_>>()?;
        let admin = match inherited.take(config.admin.address) {
            Some(socket) => socket,
            None => Admin::bind(&config.admin).map_err(in_use)?,
        };
        Ok(Sockets { listeners, admin })
    }

    /// The addresses as bound: a port 0 is replaced by the assigned one.
    pub(super) fn addresses(&self) -> Vec<(SocketAddr, ListenScheme)> {
        let listeners = self.listeners.iter();
        listeners
            .map(|listener| (listener.address, listener.scheme))
            .collect()
    }

    /// All of them, for a successor: those for requests first, in their order.
    pub(super) fn offer(&self, config: &Config) -> anyhow::Result<Vec<OfferedSocket>> {
        let configured = config.listen.iter().map(|listen| listen.address);
        let configured = configured.chain([config.admin.address]);
        let sockets = self.listeners.iter().map(|listener| &listener.socket);
        let sockets = sockets.chain([&self.admin]);
        let offered = configured.zip(sockets).map(|(configured, socket)| {
            let bound = socket.local_addr()?;
            Ok(OfferedSocket {
                addresses: SocketAddresses { configured, bound },
                socket: socket.try_clone()?,
                is_passed_on: Arc::default(),
            })
        });
        offered.collect()
    }

    /// The name that distinguishes this process from its replicas: host and port of the first listener.
    pub(super) fn instance(&self) -> String {
        let first = self.listeners.first();
        instance(first.map_or(0, |listener| listener.address.port()))
    }
}

/// What to do when an address is in use.
fn in_use(error: io::Error) -> io::Error {
    if error.kind() != io::ErrorKind::AddrInUse {
        return error;
    }
    let message =
        format!("{error}; to replace a running weir without an interruption, use `weir upgrade`");
    io::Error::new(error.kind(), message)
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(address.ip() != std::net::Ipv6Addr::UNSPECIFIED)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1 by ALPN, with a certificate that can change.
pub(super) fn tls_acceptor(certificates: Arc<Certificates>) -> TlsAcceptor {
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_cert_resolver(certificates);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}
