//! Binds the addresses, and configures TLS on them.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio_rustls::TlsAcceptor;

use super::ListenScheme;
use crate::alert::identity::instance;
use crate::config::Listen;
use crate::listener::tls::Certificates;

const BACKLOG: i32 = 4096;

/// Bound sockets, before connections are accepted on them.
pub(super) struct Sockets(Vec<(SocketAddr, ListenScheme, TcpListener)>);

impl Sockets {
    /// Binds every address.
    ///
    /// # Errors
    /// When an address is in use, or does not belong to this machine.
    pub(super) fn bind(listen: &[Listen]) -> anyhow::Result<Self> {
        let bound = listen.iter().map(|listen| {
            let socket = bind(listen.address)
                .with_context(|| format!("cannot listen on {}", listen.address))?;
            let scheme = match listen.tls {
                Some(_) => ListenScheme::Https,
                None => ListenScheme::Http,
            };
            Ok((socket.local_addr()?, scheme, socket))
        });
        Ok(Sockets(bound.collect::<anyhow::Result<_>>()?))
    }

    /// The addresses as bound: a port 0 is replaced by the assigned one.
    pub(super) fn addresses(&self) -> Vec<(SocketAddr, ListenScheme)> {
        self.0
            .iter()
            .map(|(address, scheme, _)| (*address, *scheme))
            .collect()
    }

    /// The name that distinguishes this process from its replicas: host and port of the first listener.
    pub(super) fn instance(&self) -> String {
        let first = self.addresses().into_iter().next();
        instance(first.map_or(0, |(address, _)| address.port()))
    }

    pub(super) fn into_listeners(self) -> impl Iterator<Item = TcpListener> {
        self.0.into_iter().map(|(_, _, socket)| socket)
    }
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
